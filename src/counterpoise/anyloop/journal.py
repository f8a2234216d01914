"""What a watched loop leaves behind: a run folder, log lines, and a diagnosis as it goes."""

import contextlib
import datetime
import logging
from pathlib import Path
from typing import Any

import yaml

from counterpoise.anyloop.loop_bugs import LoopFinding
from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.diagnosis.finding import Diagnosis
from counterpoise.diagnosis.news import FindingNews
from counterpoise.errors import UserError
from counterpoise.folder_lock import FolderLock
from counterpoise.json_lines import JsonLines, drop_rows_after
from counterpoise.plain_files import append_text
from counterpoise.records import StepRecord, compact, is_written, rows_every
from counterpoise.run_folder import BEGAN, CLOSED, RESUMED, RunFolder, software
from counterpoise.trace import TraceBuilder, signals_row_values

# What `logging` users switch on and off; findings are warnings, log lines are informational.
LOGGER = logging.getLogger("counterpoise")

# The first diagnosis is made after so many steps, the next ones at intervals that grow with the
# run, so that their cost stays a fixed share of it.
FIRST_DIAGNOSIS = 100
DIAGNOSIS_GROWTH = 1.2


class Journal:
    """Writes the run folder, if there is one, and judges the run. Only one process writes.

    The folder is made at the first step, so that `load_state_dict` can come before; a folder that
    has a run in it is gone on with only after that.
    """

    def __init__(
        self, run_dir: str | Path | None, policy: str, options: dict[str, Any], log_every: int
    ) -> None:
        self._run = None if run_dir is None else RunFolder(Path(run_dir))
        self._policy, self._options, self._log_every = policy, options, log_every
        self._signals: JsonLines | None = None
        self._events: JsonLines | None = None
        self._lock: FolderLock | None = None
        self._trace = TraceBuilder(source=str(run_dir or ""), policy=policy)
        self._next_diagnosis = FIRST_DIAGNOSIS
        self._news = FindingNews()
        self._waiting: list[tuple[int, str, str]] = []
        self._speaks = True
        self._last_step = 0
        self.objective: str | None = None

    def begin(self, step: int, writes: bool) -> None:
        """Make or reopen the folder; `step` is the last one that was done before."""
        if not writes:
            self._run, self._speaks = None, False
        if self._run is None or self._signals is not None:
            return
        run = self._run
        if step:
            RunFolder.open(run.path)
        elif run.is_used():
            raise UserError(
                f"{run.path}: has files in it already; choose another run_dir, or call "
                "balance.load_state_dict(...) with the state it was saved with to go on"
            )
        self._lock = run.lock()
        try:
            notes = [self._lock.note] if self._lock.note else []
            if step:
                notes += drop_rows_after(run.signals, step)
            # Of a run that is gone on with too: its policy's options may be others now.
            run.save_config(self._config())
            self._signals, self._events = JsonLines(run.signals), JsonLines(run.events)
        except BaseException:
            self._let_go()
            raise
        notes += [file.note for file in (self._signals, self._events) if file.note]
        self._last_step = step
        if step:
            self._append_event(step, RESUMED, f"goes on after step {step}, with {software()}")
        else:
            self._append_event(0, BEGAN, f"the loop begins, with {software()}")
        for note in notes:
            self.event(step, "torn-line", note)
        for waiting in self._waiting:
            self._write_event(*waiting)
        self._waiting.clear()

    def set_objective(self, name: str) -> None:
        """Write down the objective, once it is known."""
        if name == self.objective:
            return
        self.objective = self._trace.objective = name
        if self._run is not None and self._signals is not None:
            self._run.save_config(self._config())

    def event(self, step: int, kind: str, message: str, level: int = logging.INFO) -> None:
        """Record something that happened, and log it."""
        if self._speaks:
            LOGGER.log(level, "%s", message)
        self._write_event(step, kind, message)

    def loop_bug(self, finding: LoopFinding) -> None:
        """Record and log a bug of the loop."""
        self.event(finding.step, "loop-bug", str(finding), logging.WARNING)

    def step(self, record: StepRecord) -> None:
        """Write down a step, and judge the run where that is due."""
        row = record.to_json()
        self._last_step = record.step
        self._trace.add(record.step, signals_row_values(row))
        if self._signals is not None and is_written(record):
            self._signals.append(compact(row))
        if (thinner := rows_every(record.step + 1)) > rows_every(record.step):
            message = f"from here on signals.jsonl has one step of {thinner}"
            self.event(record.step, "note", message)
        if record.step % self._log_every == 0:
            line = log_line(record)
            if self._speaks:
                LOGGER.info("%s", line)
            self._write_log(line)
        if record.step >= self._next_diagnosis:
            self._next_diagnosis = max(
                record.step + FIRST_DIAGNOSIS, int(record.step * DIAGNOSIS_GROWTH)
            )
            self._report(record.step)

    def diagnosis(self) -> Diagnosis:
        """What can be said about the steps that this process has seen."""
        return diagnose(self._trace.build(), self.objective)

    def close(self) -> None:
        """Close the files, and say so in them."""
        # A full disk has been said already, and closing may come at any time, even at the exit.
        with contextlib.suppress(UserError):
            self._append_event(self._last_step, CLOSED, f"closed after step {self._last_step}")
        self._let_go()

    def _let_go(self) -> None:
        """Close what is open; others may write to the folder."""
        for file in (self._signals, self._events):
            if file is not None:
                file.close()
        if self._lock is not None:
            self._lock.release()
        self._signals = self._events = self._lock = None

    def _report(self, step: int) -> None:
        """Say what was not said before."""
        for news in self._news.of(self.diagnosis().findings):
            remedies = news.finding.remedies if news.finding else ()
            first = f". What to change first: {remedies[0].text}" if remedies else ""
            level = logging.WARNING if news.finding else logging.INFO
            self.event(step, "finding", f"step {step}: {news.text}{first}", level)

    def _write_event(self, step: int, kind: str, message: str) -> None:
        if self._run is None:
            return
        if self._events is None:
            # The folder is made at the first step.
            self._waiting.append((step, kind, message))
            return
        self._append_event(step, kind, message)
        self._write_log(message)

    def _append_event(self, step: int, kind: str, message: str) -> None:
        if self._events is not None:
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            self._events.append({"time": now, "step": step, "kind": kind, "message": message})

    def _write_log(self, text: str) -> None:
        if self._run is not None and self._events is not None:
            append_text(self._run.log, text)

    def _config(self) -> str:
        """The part of a run's configuration that there is: what reads a run finds it here."""
        tree: dict[str, Any] = {
            "balance": {"policy": self._policy, "options": self._options},
        }
        if self.objective is not None:
            tree["loss"] = {"adversarial": {"form": self.objective}}
        return yaml.safe_dump(tree, sort_keys=False)


def log_line(record: StepRecord) -> str:
    """A step in the form that GAN users and their scripts know."""
    text = f"Step: {record.step}  Loss G: {record.g_loss:.6f}"
    if record.signals is not None:
        text += f"  Loss D: {record.d_loss:.6f}  D(x): {record.signals.d_real:.6f}"
        text += f"  D(G(z)): {record.signals.d_fake:.6f}"
        if record.d_fake_after is not None:
            text += f" / {record.d_fake_after:.6f}"
    return text
