"""What a watched loop leaves behind: a run folder, log lines, and a diagnosis as it goes."""

import contextlib
import logging
from pathlib import Path
from typing import Any

import yaml

from counterpoise.errors import UserError
from counterpoise.folder_lock import FolderLock
from counterpoise.game.live_diagnosis import LiveDiagnosis
from counterpoise.json_lines import read_json_lines
from counterpoise.records import StepRecord
from counterpoise.run_folder import BEGAN, CLOSED, RESUMED, RunFolder, software
from counterpoise.run_writer import RunWriter, loss_line

# What `logging` users switch on and off; findings are warnings, log lines are informational.
LOGGER = logging.getLogger("counterpoise")

# The first diagnosis is made after so many steps, the next ones at intervals that grow with the
# run, so that their cost stays a fixed share of it.
FIRST_DIAGNOSIS = 100
DIAGNOSIS_GROWTH = 1.2


class Journal:
    """Writes the run folder, if there is one, logs, and judges the run. Only one process writes.

    The folder is made at the first step, so that `load_state_dict` can come before; a folder that
    has a run in it is continued only after that.
    """

    def __init__(
        self, run_dir: str | Path | None, policy: str, options: dict[str, Any], log_every: int
    ) -> None:
        self._run = None if run_dir is None else RunFolder(Path(run_dir))
        self._policy, self._options, self._log_every = policy, options, log_every
        self._writer: RunWriter | None = None  # None before the first step
        self._lock: FolderLock | None = None
        self.diagnosis = LiveDiagnosis(policy, str(run_dir or ""))
        self._waiting: list[tuple[int, str, str]] = []
        self._speaks = True
        self._last_step = self._judged_step = 0
        self._next_diagnosis = FIRST_DIAGNOSIS

    @property
    def has_begun(self) -> bool:
        """Whether a turn has begun."""
        return self._writer is not None

    def begin(self, step: int, writes: bool) -> None:
        """Make or reopen the folder; `step` is the last one that was done before."""
        if self._writer is not None:
            return
        self._speaks, self._last_step, self._judged_step = writes, step, step
        self._next_diagnosis = step + FIRST_DIAGNOSIS
        if self._run is None or not writes:
            self._writer = RunWriter(None)
            return
        run = self._run
        goes_on = step > 0 and run.is_used()
        if goes_on:
            RunFolder.open(run.path)
        elif run.is_used():
            raise UserError(
                f"{run.path}: has files in it already; choose another run_dir, or call "
                "balance.load_state_dict(...) with the state it was saved with to go on"
            )
        self._lock = run.lock()
        try:
            # Of a resumed run too: its policy's options may be others now.
            run.save_config(self._config())
            self._writer = RunWriter(run, resumed_step=step if goes_on else None)
        except BaseException:
            self._release()
            raise
        if goes_on:
            self.diagnosis.load_rows(read_json_lines(run.signals)[0])
        what = f"goes on after step {step}" if step else "the loop begins"
        self._writer.event(step, RESUMED if goes_on else BEGAN, f"{what}, with {software()}")
        if self._lock.note:
            self.event(step, "note", self._lock.note)
        for note in self._writer.notes:
            self.event(step, "torn-line", note)
        for waiting in self._waiting:
            self._write_event(*waiting)
        self._waiting.clear()

    def set_objective(self, name: str, d: str = "") -> None:
        if self.diagnosis.objectives.get(d) == name:
            return
        self.diagnosis.objectives[d] = name
        if self._run is not None and self._lock is not None:
            self._run.save_config(self._config())

    def event(self, step: int, kind: str, message: str, level: int = logging.INFO) -> None:
        if self._speaks:
            LOGGER.log(level, "%s", message)
        self._write_event(step, kind, message)

    def step(self, record: StepRecord) -> None:
        """Write down a step, and judge the run where that is due."""
        assert self._writer is not None, "a turn has begun"
        row = record.to_json()
        self._last_step = record.step
        self.diagnosis.add(row)
        if note := self._writer.step(record, row):
            self.event(record.step, "note", note)
        if record.step % self._log_every == 0:
            line = f"Step: {record.step}  {loss_line(record)}"
            if self._speaks:
                LOGGER.info("%s", line)
            self._writer.log(line)
        if record.step >= self._next_diagnosis:
            self._judge()

    def _judge(self) -> None:
        """Say what is new of the diagnosis."""
        step = self._judged_step = self._last_step
        self._next_diagnosis = max(step + FIRST_DIAGNOSIS, int(step * DIAGNOSIS_GROWTH))
        said = set()  # Several Ds mostly need the same.
        for news in self.diagnosis.news(latest=False):
            remedies = news.finding.remedies if news.finding else ()
            first = ""
            if remedies and remedies[0] not in said:
                said.add(remedies[0])
                # Its first sentence: a terminal is narrow, and the page has the whole.
                first = f". What to change first: {remedies[0].text.partition('. ')[0]}"
            level = logging.WARNING if news.finding else logging.INFO
            self.event(step, "finding", f"step {step}: {news.text}{first}", level)

    def close(self) -> None:
        """Judge what was not, close the files, and say so in them."""
        if self._writer is not None:
            # A full disk was reported already, and closing may come at any time, even at the exit.
            with contextlib.suppress(UserError):
                if self._judged_step < self._last_step:
                    self._judge()
                closed = f"closed after step {self._last_step}"
                self._writer.event(self._last_step, CLOSED, closed)
            self._writer.close()
            self._writer = None
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _write_event(self, step: int, kind: str, message: str) -> None:
        if self._writer is None:
            # The folder is made at the first step.
            self._waiting.append((step, kind, message))
            return
        self._writer.event(step, kind, message)
        self._writer.log(message)

    def _config(self) -> str:
        """The part of a run's configuration that there is: what reads a run finds it here."""
        tree: dict[str, Any] = {"balance": {"policy": self._policy, "options": self._options}}
        forms = {d: {"form": name} for d, name in self.diagnosis.objectives.items()}
        if forms:
            tree["loss"] = {"adversarial": forms.get("", {"discriminators": forms})}
        return yaml.safe_dump(tree, sort_keys=False)
