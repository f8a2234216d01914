"""Rows into training runs: one trace for each time that a file's steps begin anew."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from counterpoise.trace import Trace, TraceBuilder, Unread

NO_STEPS = "some lines do not say their step: they are counted on from the line before"
NO_EPOCH_LENGTH = (
    "the length of an epoch is not printed: the steps of the next are counted on from its last line"
)
BARS_ARE_EPOCHS = "a progress bar that begins anew after a full one is taken for the next epoch"

MOST_STEPS = 1 << 60
# A progress bar is full where its last line is this far: not every state of it is printed.
FULL_BAR = 0.9
# Runs of a file that are kept, the latest.
MOST_RUNS = 64


@dataclass(frozen=True, slots=True)
class Position:
    """Where in a training a line is, as far as it says. Steps count from 0 or 1 as in the log."""

    step: int | None = None  # within the epoch, or over the whole training
    epoch: int | None = None  # None: `step` counts over the whole training
    epoch_steps: int | None = None  # length of the epoch
    bar_steps: int | None = None  # length of a progress bar that does not say whose it is


@dataclass
class RunCollector:
    """Collects the rows of a file, run by run.

    A run ends where the epoch falls, or where a step falls that counts over the whole training (or
    within the same epoch).
    """

    source: str
    format: str
    objective: str | None = None
    suffix: str = ""  # of a file that logs several pairs of networks
    policy: str | None = None
    d_loss_is_mean: bool = False
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._builders: list[TraceBuilder] = []
        self._guesses: set[str] = set()
        self._dropped = 0
        self._begin()

    def _begin(self) -> None:
        builder = TraceBuilder(
            source=self.source,
            format=self.format,
            objective=self.objective,
            policy=self.policy,
            d_loss_is_mean=self.d_loss_is_mean,
        )
        self._builders.append(builder)
        if len(self._builders) > MOST_RUNS:
            del self._builders[0]
            self._dropped += 1
        self._epoch: int | None = None
        self._first_epoch = 0
        self._offset = 0  # steps of earlier epochs, where their length is not printed
        self._in_epoch = self._began_epoch = -1
        self._over_epochs = False  # steps with a total that is that of the whole training
        self._last = -1
        # Of progress bars: how far the one under way is, how long, and how many are full.
        self._in_bar, self._bar_steps, self._full_bars = -1, 0, 0

    def add(self, position: Position, values: Mapping[str, float]) -> None:
        """A line's numbers."""
        if values:
            step = self._place(position)
            self._builders[-1].add(step, values)

    def keeps(self, step: int) -> bool:
        """Whether a trace keeps a row of this step over the whole training: one of many, and the
        first of a run."""
        return self._builders[-1].keeps_next or step < self._last

    def pass_over(self, step: int, read: Unread) -> None:
        """Take a row of finite values without reading it; one that a trace does not keep."""
        self._last = min(step, MOST_STEPS)
        self._builders[-1].add_unread(self._last, read)

    def _place(self, position: Position) -> int:
        """The step of a row, in a new run where it begins one."""
        position = self._over_bars(position)
        if self._starts_anew(position):
            self._begin()
        # Whatever a log says, steps do not fall within a run, and fit into 64 bits.
        self._last = min(max(self._step(position), self._last), MOST_STEPS)
        return self._last

    def _over_bars(self, position: Position) -> Position:
        """The position over all bars: after a full one, another of its length is the next epoch."""
        step, length = position.step, position.bar_steps
        if step is None or not length:
            return position
        was_full = self._in_bar >= FULL_BAR * length and length == self._bar_steps
        if self._builders[-1].rows_read and step < self._in_bar and was_full:
            self._full_bars += 1
            self._guesses.add(BARS_ARE_EPOCHS)
        self._in_bar, self._bar_steps = step, length
        return replace(position, step=step + self._full_bars * length)

    def _starts_anew(self, position: Position) -> bool:
        if self._builders[-1].rows_read == 0:
            return False
        if position.epoch is not None and self._epoch is not None:
            if position.epoch != self._epoch:
                return position.epoch < self._epoch
            return position.step is not None and position.step < self._in_epoch
        if position.epoch is None and position.step is not None:
            return position.step < self._last
        return False

    def _step(self, position: Position) -> int:
        if position.step is None and position.epoch is None:
            self._guesses.add(NO_STEPS)
            return self._last + 1
        step = position.step if position.step is not None else 0
        if position.epoch is None:
            return step
        if self._epoch is None:
            # Epochs that count from 1 begin at step 0 all the same.
            self._first_epoch = min(position.epoch, 1)
            self._epoch = position.epoch
            if not position.epoch_steps and step <= self._last:
                self._offset = self._last + 1  # lines before the first that says its epoch
            self._began_epoch = step
        elif position.epoch != self._epoch:
            self._epoch = position.epoch
            if step > self._in_epoch > self._began_epoch:
                self._over_epochs = True
            self._began_epoch = step
            # Steps that go on over the end of an epoch count over the whole training.
            if not position.epoch_steps and step <= self._in_epoch:
                self._offset = self._last + 1
                self._guesses.add(NO_EPOCH_LENGTH)
        self._in_epoch = step if position.step is not None else -1
        if position.epoch_steps and not self._over_epochs:
            return (position.epoch - self._first_epoch) * position.epoch_steps + step
        if position.step is None:
            return position.epoch
        return self._offset + step

    def traces(self) -> list[Trace]:
        """The runs that have any rows."""
        runs = self._runs()
        return [self._named(run.build(), place, len(runs)) for place, run in enumerate(runs, 1)]

    @property
    def last_step(self) -> int | None:
        """The step of the latest row; None before a row."""
        return self._last if self._runs() else None

    def drop_earlier(self) -> None:
        """Forget all runs but the last: for whoever follows a log, which may begin ever anew."""
        self._dropped += len(self._builders) - 1
        del self._builders[:-1]

    def newest(self) -> tuple[Trace, Trace] | None:
        """The run that the file ends with: all of it, and its latest rows; None before a row."""
        runs = self._runs()
        if not runs:
            return None
        place = len(runs)
        whole, latest = runs[-1].build(), runs[-1].latest()
        return self._named(whole, place, place), self._named(latest, place, place)

    def _runs(self) -> list[TraceBuilder]:
        return [builder for builder in self._builders if builder.rows_read]

    def _named(self, trace: Trace, place: int, count: int) -> Trace:
        """A run as the `place`th of `count`, with what is to be said of its reading."""
        parts = [self.suffix] if self.suffix else []
        notes = [*trace.notes, *sorted(self._guesses), *self.notes]
        if self._dropped:
            place, count = place + self._dropped, count + self._dropped
            judged = (
                "only the last is" if len(self._builders) == 1 else f"only the last {MOST_RUNS} are"
            )
            notes.append(f"steps begin anew {count:,} times: {judged} judged")
        if count > 1:
            parts.append(f"run {place} of {count}")
        return replace(trace, title=", ".join(parts), notes=tuple(notes))


class FormatReader(Protocol):
    """Reads lines of one kind into runs; lines may come in portions."""

    def feed(self, lines: Iterable[str]) -> None: ...
    def finish(self) -> None: ...
    def collectors(self) -> list[RunCollector]: ...
    @property
    def unknown_names(self) -> tuple[str, ...]: ...


def traces_of(collectors: Iterable[RunCollector]) -> list[Trace]:
    """All runs of all pairs of networks."""
    return [trace for collector in collectors for trace in collector.traces()]
