"""What is watched: a run folder, or a log of any program."""

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from time import time

from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.errors import UserError, refusing
from counterpoise.logs.read import is_event_file, logs_in, read_log, text_encoding
from counterpoise.run_folder import RunFolder
from counterpoise.run_rows import RowHandler, RunReader
from counterpoise.run_status import GONE, UNKNOWN, UNREADABLE, Status, status_of
from counterpoise.trace import Trace
from counterpoise.watching.state import JudgedTraining, State, facts_of

# The pace is that of the latest arrivals; what was seen in less time says little.
ARRIVALS, LEAST_SECONDS = 60, 10.0


@dataclass(frozen=True)
class WatchOptions:
    """What a person says of what is watched."""

    objective: str | None = None  # what the losses are, where the files do not say it
    # Names of a log's numbers, as `names.checked_mapping` gives them.
    mapping: Mapping[str, str] = field(default_factory=dict)
    d_loss_is_mean: bool = False  # of a log: see `diagnose`
    # Of a run: whether it is judged by all rows of its stage, not by the latest.
    judge_all: bool = False
    # Makes what else handles the rows of a run, such as the charts of a page: see `RunReader`.
    begin: Callable[[], RowHandler] | None = None
    clock: Callable[[], float] = time  # seconds since the epoch, as the times of files are


class Arrivals:
    """When which step was seen last; times in seconds of any clock."""

    def __init__(self) -> None:
        self.seen: deque[tuple[float, int]] = deque(maxlen=ARRIVALS)

    def add(self, seconds: float, step: int) -> None:
        """Step `step` is there at this time. A step before the last one begins anew."""
        if self.seen and step < self.seen[-1][1]:
            self.seen.clear()
        if not self.seen or step > self.seen[-1][1]:
            self.seen.append((seconds, step))

    def steps_per_second(self, step_seconds: Sequence[float] = ()) -> float | None:
        """The pace as it was seen, or by the times that the latest steps took, as they say; None
        where too little is known."""
        if self.seen and self.seen[-1][0] - self.seen[0][0] >= LEAST_SECONDS:
            (first, first_step), (last, last_step) = self.seen[0], self.seen[-1]
            return (last_step - first_step) / (last - first)
        return len(step_seconds) / sum(step_seconds) if step_seconds else None

    def longest_gap_seconds(self) -> float:
        """The longest time without a step; 0 where there was none."""
        return max((later - earlier for (earlier, _), (later, _) in pairwise(self.seen)), default=0)


class _Source:
    """Something that is looked at again and again: its pace, and its games as judged last."""

    def __init__(self, path: Path, options: WatchOptions) -> None:
        self.path, self.options = path, options
        self._arrivals = Arrivals()
        self._games: tuple[JudgedTraining, ...] = ()
        self._outdated = True

    def _arrived(self, step: int | None, changed_at: float) -> None:
        if step is not None:
            # The steps that are there already are of the time when the last one was written.
            self._arrivals.add(self.options.clock() if self._arrivals.seen else changed_at, step)

    def _quiet_seconds(self, changed_at: float) -> float:
        return self.options.clock() - changed_at if changed_at else 0.0

    def _judge(
        self, traces: Callable[[], Iterable[Trace]], *, has_d: bool = True
    ) -> tuple[JudgedTraining, ...]:
        """The games, judged anew where there is something new."""
        if self._outdated:
            games = []
            for whole in traces():
                judged = whole if self.options.judge_all else whole.latest()
                d_loss_is_mean = self.options.d_loss_is_mean
                found = diagnose(judged, d_loss_is_mean=d_loss_is_mean) if has_d else None
                games.append(JudgedTraining(whole, found))
            self._games, self._outdated = tuple(games), False
        return self._games


class RunSource(_Source):
    """A run folder of ours, of a training or of a `Balance`."""

    def __init__(self, path: Path, options: WatchOptions) -> None:
        super().__init__(path, options)
        self.reader = RunReader(RunFolder(path), options.begin)

    def look(self) -> State:
        """Read a portion of what is new, and say what there is."""
        reader = self.reader
        self._outdated |= reader.look()
        if not reader.unread_bytes:
            self._arrived(reader.signals.step, reader.changed_at)
        return self.state()

    def state(self) -> State:
        """What is known; judged once all of it is read."""
        reader, signals = self.reader, self.reader.signals
        step_seconds = reader.step_seconds()
        games: tuple[JudgedTraining, ...] = ()
        if not reader.unread_bytes:
            games = self._judge(partial(reader.traces, self.options.objective), has_d=signals.has_d)
        return State(
            source=str(self.path),
            status=self._status(step_seconds),
            stage=signals.stage,
            step=signals.step,
            planned_steps=reader.planned_steps,
            steps_per_second=self._arrivals.steps_per_second(step_seconds),
            policy=reader.policy,
            facts=tuple(facts_of(reader)),
            games=games,
            sample=max(reader.run.sample_files(), default=None),
            events=tuple(reader.events),
            notes=tuple(reader.notes()),
            unread_bytes=reader.unread_bytes,
            reader=reader,
        )

    def _status(self, step_seconds: Sequence[float]) -> Status:
        reader = self.reader
        if reader.problem:
            return Status(UNREADABLE, f"signals.jsonl {reader.problem}")
        if not os.path.isdir(self.path):  # It never raises, unlike that of a `Path`.
            return Status(GONE, "the folder is gone: waits for it to come back")
        return status_of(
            str(self.path),
            reader.events,
            step=reader.signals.step,
            planned_steps=reader.planned_steps,
            quiet_seconds=self._quiet_seconds(reader.changed_at),
            step_seconds=step_seconds,
            longest_gap_seconds=self._arrivals.longest_gap_seconds(),
            has_checkpoint=bool(reader.run.checkpoint_files()),
        )


class LogSource(_Source):
    """A log of another program, in any format that `logs` reads: read anew whenever it changed."""

    def __init__(self, path: Path, options: WatchOptions) -> None:
        super().__init__(path, options)
        self._seen: tuple[int, int] | None = None  # its time of modification, and its size
        self._traces: list[Trace] = []
        self._problem = ""  # why nothing can be read in it

    def look(self) -> State:
        """Read it where there is something new, and say what there is."""
        changed_at = 0.0
        seen: tuple[int, int] | None = None
        with contextlib.suppress(OSError):
            file = self.path.stat()
            changed_at, seen = file.st_mtime, (file.st_mtime_ns, file.st_size)
        if seen != self._seen:
            self._seen = seen
            self._read(is_empty=seen is None or not seen[1])
        step = max((int(trace.steps[-1]) for trace in self._traces), default=None)
        self._arrived(step, changed_at)
        games = self._judge(lambda: self._traces)
        notes = {note for game in games for note in (game.diagnosis or game.whole).notes}
        status = status_of(
            str(self.path),
            step=step,
            quiet_seconds=self._quiet_seconds(changed_at),
            longest_gap_seconds=self._arrivals.longest_gap_seconds(),
            own_run=False,
        )
        if self._problem:
            status = Status(UNKNOWN, self._problem)
        if seen is None:
            status = Status(GONE, "the file is gone: waits for it to come back")
        return State(
            source=str(self.path),
            status=status,
            step=step,
            steps_per_second=self._arrivals.steps_per_second(),
            games=games,
            notes=tuple(sorted(notes)),
        )

    def _read(self, *, is_empty: bool) -> None:
        self._outdated, self._problem, self._traces = True, "", []
        if is_empty:
            return
        said = self.options.objective
        try:
            found = read_log(self.path, mapping=self.options.mapping, objective=said, growing=True)
        except UserError as error:
            self._problem = str(error).removeprefix(f"{self.path}: ")
        else:
            self._traces = [trace for trace in found if trace.is_latest and len(trace)]


Source = RunSource | LogSource


def open_source(path: Path, options: WatchOptions) -> Source:
    """What is at a path, to be watched; `UserError` where there is nothing that can be."""
    with refusing(f"{path}: cannot be read", OSError):
        if path.is_dir():
            if any((path / name).is_file() for name in ("config.yaml", "signals.jsonl")):
                if options.mapping or options.d_loss_is_mean:
                    what = "--map" if options.mapping else "--d-loss-is-mean"
                    raise UserError(f"{path}: {what} is for logs of other programs, not for runs")
                return RunSource(path, options)
            path = max(logs_in(path), key=lambda log: log.stat().st_mtime)
        if not path.exists():
            raise UserError(f"{path}: no such file or folder; give a run folder or a log file")
        if not path.is_file():
            raise UserError(f"{path}: not a file that can be followed; pipe it into `diagnose -`")
        if not is_event_file(path):
            with path.open("rb") as file:
                text_encoding(file, str(path))
        return LogSource(path, options)
