"""Rows into training runs: one trace for each time that a file's steps begin anew."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from counterpoise.trace import Trace, TraceBuilder

NO_STEPS = "some lines do not say their step: they are counted on from the line before"
NO_EPOCH_LENGTH = (
    "the length of an epoch is not printed: the steps of the next are counted on from its last line"
)
BARS_ARE_EPOCHS = "a progress bar that begins anew after a full one is taken for the next epoch"

LARGEST_STEP = 1 << 60  # steps fit into 64 bits, whatever a log says
# A progress bar is full where its last line is this far: not every state of it is printed.
FULL_BAR = 0.9
# Runs of a file that are kept, the latest: a log whose steps fall all the time has no end of them.
RUNS_KEPT = 64


@dataclass(frozen=True, slots=True)
class Position:
    """Where in a training a line is, as far as it says. Steps count from 0 or 1 as in the log."""

    step: int | None = None  # within the epoch, or over the whole training
    epoch: int | None = None  # None: `step` counts over the whole training
    epoch_steps: int | None = None  # length of the epoch
    bar_steps: int | None = None  # length of a progress bar that does not say whose it is


@dataclass
class RunCollector:
    """Collects the rows of a file, run by run: one ends where the epoch falls, or where a step
    falls that counts over the whole training (or within the same epoch)."""

    format: str = ""
    objective: str | None = None  # where the format says it
    suffix: str = ""  # of a file that logs several pairs of networks
    d_loss_is_mean: bool = False
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._builders: deque[TraceBuilder] = deque(maxlen=RUNS_KEPT)
        self._begun = 0
        self._guesses: set[str] = set()
        self._begin()

    def _begin(self) -> None:
        self._builders.append(TraceBuilder())
        self._begun += 1
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

    def _place(self, position: Position) -> int:
        """The step of a row, in a new run where it begins one."""
        position = self._over_bars(position)
        if self._starts_anew(position):
            self._begin()
        # Whatever a log says, steps do not fall within a run.
        self._last = min(max(self._step(position), self._last), LARGEST_STEP)
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
        step, epoch = position.step, position.epoch
        if epoch is None:
            return step is not None and step < self._last
        if self._epoch is None or epoch != self._epoch:
            return self._epoch is not None and epoch < self._epoch
        return step is not None and step < self._in_epoch

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
        if not self._builders[-1].rows_read:
            return []
        first = self._begun - len(self._builders) + 1
        return [self._named(run.build(), place) for place, run in enumerate(self._builders, first)]

    @property
    def last_step(self) -> int | None:
        """The step of the latest row; None before a row."""
        return self._last if self._builders[-1].rows_read else None

    def drop_earlier(self) -> None:
        """Forget all runs but the last: for whoever follows a log, which may begin ever anew."""
        self._builders = deque([self._builders[-1]], maxlen=RUNS_KEPT)

    def newest(self) -> tuple[Trace, Trace] | None:
        """The run that the file ends with: all of it, and its latest rows; None before a row."""
        run = self._builders[-1]
        if not run.rows_read:
            return None
        return self._named(run.build(), self._begun), self._named(run.latest(), self._begun)

    def _named(self, trace: Trace, place: int) -> Trace:
        """A run, the `place`th that was begun, with what is to be said of its reading."""
        parts = [self.suffix] if self.suffix else []
        notes = [*trace.notes, *sorted(self._guesses), *self.notes]
        kept = len(self._builders)
        if kept < self._begun:
            judged = "only the last is" if kept == 1 else f"only the last {RUNS_KEPT} are"
            notes.append(f"steps begin anew {self._begun:,} times: {judged} judged")
        if self._begun > 1:
            parts.append(f"run {place} of {self._begun}")
        return replace(
            trace,
            format=self.format,
            title=", ".join(parts),
            objective=self.objective,
            d_loss_is_mean=self.d_loss_is_mean,
            notes=tuple(notes),
        )


class FormatReader:
    """Reads lines of one kind into runs; lines may come in portions."""

    def __init__(self, mapping: Mapping[str, str]) -> None:
        """`mapping`: columns by plain names, as `names.checked_mapping` makes it."""
        self._mapping = mapping
        # The first names of numbers that are no column, for who may name them.
        self.unknown_names: list[str] = []

    def feed(self, lines: Iterable[str]) -> None:
        """Read further lines; `UserError` for a file that cannot be understood."""
        raise NotImplementedError

    def finish(self) -> None:
        """No line will come."""

    def collectors(self) -> list[RunCollector]:
        """The runs in the lines so far, one for each pair of networks."""
        raise NotImplementedError

    def traces(self) -> list[Trace]:
        """All runs of all pairs of networks."""
        return [trace for collector in self.collectors() for trace in collector.traces()]
