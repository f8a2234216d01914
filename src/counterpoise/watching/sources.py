"""What is watched: a run folder, or a log of any program."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from time import time

from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.errors import UserError
from counterpoise.file_tail import FileTail, Portion
from counterpoise.logs.folders import EventFile, logs_in
from counterpoise.logs.lines import LOOK_BYTES, LineReader, encoding_of, refuse_binary
from counterpoise.logs.read import tells
from counterpoise.logs.runs import RunCollector
from counterpoise.run_folder import RunFolder
from counterpoise.run_rows import RowHandler, RunReader
from counterpoise.run_status import GONE, UNKNOWN, UNREADABLE, Status, status_of
from counterpoise.trace import Trace
from counterpoise.watching.state import JudgedTraining, State, facts_of

# All of a training, and the rows that it is judged by; None where there is no D.
Traces = tuple[Trace, Trace | None]
# The pace is that of the latest arrivals; what was seen in less time says little.
ARRIVALS, LEAST_SECONDS = 60, 10.0
NOTHING_KNOWN = (
    "nothing in it yet that is known: no losses, no outputs of D; where they have other names, say "
    "so, e.g. --map errD=d_loss"
)


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

    def _judge(self, traces: Iterable[Traces]) -> tuple[JudgedTraining, ...]:
        """The games, judged anew where there is something new."""
        if self._outdated:
            judge = partial(diagnose, d_loss_is_mean=self.options.d_loss_is_mean)
            self._games = tuple(
                JudgedTraining(whole, None if judged is None else judge(judged))
                for whole, judged in traces
            )
            self._outdated = False
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

    def _traces(self) -> Iterator[Traces]:
        reader, said = self.reader, self.options.objective
        latest = reader.traces(said, latest=not self.options.judge_all)
        for whole, judged in zip(reader.traces(said), latest, strict=True):
            yield whole, judged if reader.signals.has_d else None

    def state(self) -> State:
        """What is known; judged once all of it is read."""
        reader, signals = self.reader, self.reader.signals
        step_seconds = reader.step_seconds()
        return State(
            source=str(self.path),
            status=self._status(step_seconds),
            stage=signals.stage,
            step=signals.step,
            planned_steps=reader.planned_steps,
            steps_per_second=self._arrivals.steps_per_second(step_seconds),
            policy=reader.policy,
            facts=tuple(facts_of(reader)),
            games=() if reader.unread_bytes else self._judge(self._traces()),
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
        )


class LogSource(_Source):
    """A text log, in any format that `logs` reads."""

    def __init__(self, path: Path, options: WatchOptions) -> None:
        super().__init__(path, options)
        self._tail = FileTail(path, encoding_of)
        self._begin()

    def _begin(self) -> None:
        """What is watched begins (anew)."""
        self._outdated = True
        self._problem = ""  # what keeps it from being read
        self._collected: list[RunCollector] = []
        self._reader = LineReader(self.options.mapping)

    def look(self) -> State:
        """Read a portion of what is new, and say what there is; judged once all of it is read."""
        portion = self._read()
        unread_bytes = portion.unread_bytes
        steps = (collector.last_step for collector in self._collected)
        step = max((step for step in steps if step is not None), default=None)
        if not unread_bytes:
            self._arrived(step, portion.changed_at)
        games = () if unread_bytes else self._judge(self._traces())
        notes = {note for game in games for note in (game.diagnosis or game.whole).notes}
        tells_nothing = not (games or unread_bytes or self._reader.is_empty)
        return State(
            source=str(self.path),
            status=Status(UNKNOWN, NOTHING_KNOWN) if tells_nothing else self._status(portion, step),
            step=step,
            steps_per_second=self._arrivals.steps_per_second(),
            games=games,
            notes=tuple(sorted(notes)),
            unread_bytes=unread_bytes,
        )

    def _read(self) -> Portion:
        portion = self._tail.poll()
        if portion.anew:
            self._begin()
        self._outdated |= bool(portion.lines)
        try:
            self._reader.feed(portion.lines)
            self._collected = self._reader.collectors()
        except UserError as error:
            self._collected, self._problem = [], str(error).removeprefix(f"{self.path}: ")
        for collector in self._collected:
            collector.drop_earlier()
        return portion

    def _traces(self) -> Iterator[Traces]:
        for collector in self._collected:
            found = collector.newest()
            if found is not None and tells(found[0]):
                source, said = str(self.path), self.options.objective
                whole, latest = (
                    replace(trace, source=source, objective=said or trace.objective)
                    for trace in found
                )
                yield whole, latest

    def _status(self, portion: Portion, step: int | None) -> Status:
        if problem := portion.problem or self._problem:
            return Status(UNREADABLE, problem)
        if not portion.exists:
            return Status(GONE, "the file is gone: waits for it to come back")
        return status_of(
            str(self.path),
            step=step,
            quiet_seconds=self._quiet_seconds(portion.changed_at),
            longest_gap_seconds=self._arrivals.longest_gap_seconds(),
            own_run=False,
        )


class EventFileSource(LogSource):
    """A TensorBoard event file."""

    def _begin(self) -> None:
        super()._begin()
        self._file: EventFile | None = None

    def _read(self) -> Portion:
        try:
            changed_at = self.path.stat().st_mtime
            self._file = self._file or EventFile(self.path, self.options.mapping)
            if self._file.feed():
                self._collected, self._outdated = [self._file.collector()], True
            return Portion(changed_at=changed_at)
        except FileNotFoundError:
            self._begin()
            return Portion(exists=False)
        except OSError as error:
            self._begin()
            return Portion(problem=f"cannot be read ({error.strerror or error})")


Source = RunSource | LogSource


def open_source(path: Path, options: WatchOptions) -> Source:
    """What is at a path, to be watched; `UserError` where there is nothing that can be."""
    try:
        if path.is_dir():
            if any((path / name).is_file() for name in ("config.yaml", "signals.jsonl")):
                if options.mapping:
                    raise UserError(f"{path}: --map is for logs of other programs, not for runs")
                return RunSource(path, options)
            path = max(logs_in(path), key=lambda log: log.stat().st_mtime)
        if not path.exists():
            raise UserError(f"{path}: no such file or folder; give a run folder or a log file")
        if not path.is_file():
            raise UserError(f"{path}: not a file that can be followed; pipe it into `diagnose -`")
        if ".tfevents." in path.name:
            return EventFileSource(path, options)
        with path.open("rb") as file:
            refuse_binary(file.read(LOOK_BYTES), str(path))
        return LogSource(path, options)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
