"""Rows into training runs: one trace for each time that a file's steps begin anew."""

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from counterpoise.logs.names import plain
from counterpoise.trace import GAME_COLUMNS, NO_EPOCH_LENGTH, Trace, TraceBuilder

NO_STEPS = "some lines do not say their step: they are counted on from the line before"
BARS_ARE_EPOCHS = (
    "a counter or a progress bar that begins anew after a full one is taken for the next epoch"
)
FIRST_OF_LIST = "of several numbers behind a name the first is read"
TAKE_TURNS = "lines of several trainings take turns in this file: each is judged by itself"

LARGEST_STEP = 1 << 60  # steps fit into 64 bits, whatever a log says
# Runs that begin and end alike, before one that begins so too is the next epoch.
ALIKE = 3
MANY = 10_000  # more than anybody's epochs
# A progress bar is full where its last line is this far: not every state of it is printed.
FULL_BAR = 0.9
# Runs of a file that are kept, the latest: a log whose steps fall all the time has no end of them.
RUNS_KEPT = 16
# TensorBoard keeps so many rows of a curve, drawn by lot; a gap is so many times wider than most.
EXPORTED_ROWS, GAP = 1000, 3
# Beside it an AUC is that of a detector which is evaluated, not of D on its batches.
OF_DETECTOR = frozenset(("max_auc", "best_auc", "val_auc", "test_auc", "auc_max", "auc_best"))
UNKNOWN_KEPT = 32  # names of numbers that are no column
# Of runs that take turns: how many rows of others may come between two of one, and how much nearer
# than to the one under way a row must be to another.
TURN_ROWS = 12
# Of the first so many rows, those that fall, but not to the begin of their epoch (a share of it),
# may show that batches are shuffled.
LOOKED_AT, NEAR_BEGIN = 24, 0.05
FAR_SMALLER = 4


class Position(NamedTuple):
    """Where in a training a line is, as far as it says. Steps count from 0 or 1 as in the log."""

    step: int | None = None  # within the epoch, or over the whole training
    epoch: int | None = None  # None: `step` counts over the whole training
    epoch_steps: int | None = None  # length of the epoch
    bar_steps: int | None = None  # length of a progress bar that does not say whose it is


NOWHERE = Position()


class _Run:
    """One training run: its rows, and where it is."""

    def __init__(self, number: int) -> None:
        self.number = number  # of the file's runs, from 1
        self.builder = TraceBuilder()
        self.first = self.last = -1  # the steps of the first and the latest row
        self.line = 0  # which row of the file that was
        self.position = NOWHERE  # as it says
        self._epoch: int | None = None
        self._first_epoch = 0
        self._offset = 0  # steps of earlier epochs, where their length is not printed
        self._in_epoch = self._began_epoch = -1
        self._over_epochs = False  # steps with a total that is that of the whole training
        self._counted = False  # rows of one epoch that do not say their step
        self.counts_batches = False  # rows say their step beside their epoch, or of very many
        # Of progress bars: how far the one under way is, how long, and how many are full.
        self._in_bar, self._bar_steps, self._full_bars = -1, 0, 0

    def _bars_before(self, step: int, length: int) -> int:
        """How many full bars a step of a bar has before it: after a full one, another of its length
        is the next epoch."""
        was_full = self._in_bar >= FULL_BAR * length - 1 and length == self._bar_steps
        return self._full_bars + (was_full and step < self._in_bar)

    def go_on(self, epochs: Sequence["_Run"]) -> int:
        """Take further runs, alike, for the next epochs of this one; the length of an epoch."""
        length = self.last + (self.first == 0)
        for place, run in enumerate(epochs, start=1):
            self.builder.extend(run.builder, place * length)
            self.line = run.line
        self._in_bar, self._bar_steps, self._full_bars = self.last, length, len(epochs)
        self.last += len(epochs) * length
        return length

    def advance(self, position: Position) -> tuple[int, int] | None:
        """How far on it a position is, in epochs and in steps; None where it is before the end."""
        step, epoch = position.step, position.epoch
        if not self.line or (step is None and epoch is None):
            return 0, 0
        if position.bar_steps and step is not None:
            step += self._bars_before(step, position.bar_steps) * position.bar_steps
        if epoch is None:
            return None if step is not None and step < self.last else (0, (step or 0) - self.last)
        if self._epoch is None or epoch != self._epoch:
            epochs = 0 if self._epoch is None else epoch - self._epoch
            return None if epochs < 0 else (epochs, 0)
        steps = 0 if step is None else step - self._in_epoch
        return None if steps < 0 else (0, steps)

    def add(
        self, position: Position, values: Mapping[str, float], line: int, guesses: set[str]
    ) -> None:
        """Add a row that is the `line`th of the file."""
        if position.bar_steps and position.step is not None:
            in_bar, length = position.step, position.bar_steps
            if (full_bars := self._bars_before(in_bar, length)) > self._full_bars:
                guesses.add(BARS_ARE_EPOCHS)
            self._in_bar, self._bar_steps, self._full_bars = in_bar, length, full_bars
            position = position._replace(step=in_bar + full_bars * length)
        if not self.counts_batches and position.step is not None:
            of_many = (position.epoch_steps or position.bar_steps or 0) > MANY
            self.counts_batches = of_many or (position.epoch is not None and position.step > 0)
        # Whatever a log says, steps do not fall within a run.
        if (step := self._step(position, guesses)) > self.last:
            self.last = min(step, LARGEST_STEP)
        self.builder.add(self.last, values)
        if not self.line:
            self.first = self.last
        self.line, self.position = line, position

    def _step(self, position: Position, guesses: set[str]) -> int:
        if position.step is None and (
            position.epoch is None or position.epoch == self._epoch or self._counted
        ):
            guesses.add(NO_STEPS)
            self._counted = position.epoch is not None
            self._epoch = position.epoch if self._counted else self._epoch
            return self.last + 1
        step = position.step if position.step is not None else 0
        if position.epoch is None:
            return step
        if self._epoch is None:
            # Epochs that count from 1 begin at step 0 all the same.
            self._first_epoch = min(position.epoch, 1)
            self._epoch = position.epoch
            if not position.epoch_steps and step <= self.last:
                self._offset = self.last + 1  # lines before the first that says its epoch
            self._began_epoch = step
        elif passed := position.epoch - self._epoch:
            self._epoch = position.epoch
            if step > self._in_epoch > self._began_epoch:
                self._over_epochs = True
            self._began_epoch = step
            # Steps that go on over the end of an epoch count over the whole training.
            if not position.epoch_steps and step <= self._in_epoch:
                self._offset = self.last + (1 if self._in_epoch else passed)
                if self._in_epoch:  # else there is a line for each epoch
                    guesses.add(NO_EPOCH_LENGTH)
        self._in_epoch = step if position.step is not None else -1
        if position.epoch_steps and not self._over_epochs:
            return (position.epoch - self._first_epoch) * position.epoch_steps + step
        if position.step is None:
            return position.epoch
        return self._offset + step


@dataclass
class RunCollector:
    """Collects the rows of a file, run by run: one ends where the epoch falls, or where a step
    falls that counts over the whole training (or within the same epoch). Runs whose lines take
    turns go on side by side."""

    format: str = ""
    program: str = ""  # that printed it, where it is known
    suffix: str = ""  # of a file that logs several pairs of networks
    d_loss_is_mean: bool = False
    first_epoch: int = 1  # what the log calls its first epoch, or the second of those from 0
    notes: list[str] = field(default_factory=list)
    is_export: bool = False  # of TensorBoard
    # Steps from which on numbers that are no column are NaN, with their names, of the latest run.
    broken: Sequence[tuple[int, str]] = ()

    def __post_init__(self) -> None:
        self._run = _Run(1)  # the one under way
        self._runs = deque([self._run], maxlen=RUNS_KEPT)
        self._begun = 1
        self._rows = 0
        self._guesses: set[str] = set()
        self._epoch_steps: int | None = None  # where it was found that each run is an epoch
        self._latest: deque[tuple[Position, Mapping[str, float]]] = deque(maxlen=LOOKED_AT)
        self._falls = 0  # of the first rows, within an epoch and not to its begin
        self._is_shuffled = False  # batches are numbered, but come in no order

    def add(self, position: Position, values: Mapping[str, float]) -> None:
        """A line's numbers."""
        before, _ = row = self._latest[-1] if self._latest else (NOWHERE, {})
        if not values or (position.step is not None and row == (position, values)):
            return  # or printed twice
        self._latest.append((position, values))
        self._falls += self._rows < LOOKED_AT and _falls_far(before, position)
        if self._falls > ALIKE <= self._begun and not self._is_shuffled:
            self._is_shuffled, self._run, self._begun, self._rows = True, _Run(1), 1, 0
            self._runs = deque([self._run], maxlen=RUNS_KEPT)
            for _, earlier in [*self._latest][:-1]:
                self._add(NOWHERE, earlier)
        self._add(NOWHERE if self._is_shuffled else position, values)

    def _add(self, position: Position, values: Mapping[str, float]) -> None:
        """Add a row to the run that it belongs to."""
        if self._epoch_steps and position.epoch is None:
            position = position._replace(bar_steps=self._epoch_steps)
        advance = self._run.advance(position)
        if advance is None and self._are_epochs(position):
            first, *others = self._runs
            self._epoch_steps = first.go_on(others)
            self._run, self._begun = first, 1
            self._runs = deque([first], maxlen=RUNS_KEPT)
            self._add(position, values)
            return
        if self._begun > 1 or advance is None:
            self._choose(position, advance)
        self._rows += 1
        self._run.add(position, values, self._rows, self._guesses)

    def _are_epochs(self, position: Position) -> bool:
        """Whether the runs so far are the epochs of one, of which this row begins the next."""
        if self._epoch_steps or position.epoch is not None or position.bar_steps:
            return False
        enough = len(self._runs) == self._begun >= ALIKE
        ends = {(run.first, run.last, run.position.epoch) for run in self._runs}
        return enough and len(ends) == 1 and position.step == self._run.first

    def note(self, note: str) -> None:
        """Say something of the reading, once."""
        if note not in self.notes:
            self.notes.append(note)

    def add_to_latest(self, values: Mapping[str, float]) -> None:
        """Numbers that stand below a line and are of its step."""
        self._run.builder.add_to_latest(values)

    def _choose(self, position: Position, advance: tuple[int, int] | None) -> None:
        """The run that a row belongs to: another that was just written, where it goes on there by
        a far smaller step, else the one under way, or a new one where it is before its end."""
        of_late = [run for run in self._runs if self._rows - run.line <= TURN_ROWS]
        for run in () if position.bar_steps else of_late:
            other = run.advance(position)
            if other is None or not any(other):
                continue
            if advance is None or (other[0], FAR_SMALLER * other[1]) < advance:
                self._run, advance = run, other
                self._guesses.add(TAKE_TURNS)
        if advance is None:
            self._begun += 1
            self._run = _Run(self._begun)
            self._runs.append(self._run)

    def traces(self) -> list[Trace]:
        """The runs that have any rows."""
        return [self._trace(run) for run in self._runs if run.line]

    @property
    def last_step(self) -> int | None:
        """The step of the latest row; None before a row."""
        return self._run.last if self._rows else None

    def _trace(self, run: _Run) -> Trace:
        """A run with what is to be said of its reading."""
        builder, at = run.builder, run.position
        if at.epoch is not None and at.step == 0 and not (run.counts_batches or at.epoch_steps):
            (builder := TraceBuilder()).extend(run.builder, at.epoch - run.last)
        trace = builder.build()
        goes_on = TAKE_TURNS in self._guesses and self._rows - run.line <= TURN_ROWS
        is_latest = run is self._run or goes_on
        parts = [self.suffix] if self.suffix else []
        notes = [*sorted(self._guesses), *self.notes]
        if self.is_export and len(trace) < EXPORTED_ROWS:
            notes += _gaps(trace.steps)
        kept = len(self._runs)
        if kept < self._begun:
            notes.append(f"steps begin anew {self._begun:,} times: only the last {kept} are judged")
        if at.epoch_steps and at.epoch is not None and at.step not in (None, run.last):
            where = f"step {at.step} of epoch {at.epoch - 1 + self.first_epoch}"
            notes.append(f"steps are counted over all epochs: the last one, {run.last}, is {where}")
        if self._begun > 1:
            parts.append(f"run {run.number} of {self._begun}")
        return replace(
            trace,
            format=self.format,
            title=", ".join(parts),
            program=self.program,
            d_loss_is_mean=self.d_loss_is_mean,
            is_latest=is_latest,
            non_finite=(*trace.non_finite, *(self.broken if is_latest else ())),
            counts_batches=run.counts_batches,
            notes=tuple(notes),
        )


def _falls_far(before: Position, after: Position) -> bool:
    """Whether a step falls within an epoch, and not to its begin as that of a restart does."""
    begin = NEAR_BEGIN * (after.epoch_steps or math.inf)
    return before.epoch == after.epoch and begin < (after.step or 0) < (before.step or 0)


def _gaps(steps: np.ndarray) -> list[str]:
    """A note on the widest gap between rows, where there is one."""
    between = np.diff(steps)
    if not len(between) or between.max() < GAP * np.median(between):
        return []
    before, after = steps[between.argmax() :][:2]
    where = f"no rows between steps {before} and {after}"
    return [
        f"{where}: TensorBoard's exports leave out NaN, so look there in the training's own log"
    ]


class FormatReader:
    """Reads lines of one kind into runs."""

    def __init__(self, mapping: Mapping[str, str]) -> None:
        """`mapping`: columns by plain names, as `names.checked_mapping` makes it."""
        self._mapping = mapping
        # The first names of numbers that are no column, for who may name them.
        self.unknown_names: list[str] = []
        self.advice = ""  # where to look, if there are no losses

    def note_unknown(self, name: str) -> None:
        """Remember the name of a number that is no column."""
        if name not in self.unknown_names and len(self.unknown_names) < UNKNOWN_KEPT:
            self.unknown_names.append(name)

    def feed(self, lines: Iterable[str]) -> None:
        """Read lines."""
        raise NotImplementedError

    def collectors(self) -> list[RunCollector]:
        """The runs in the lines, one for each pair of networks."""
        raise NotImplementedError

    def traces(self) -> list[Trace]:
        """All runs of all pairs of networks."""
        traces = [trace for collector in self.collectors() for trace in collector.traces()]
        of_detector = not OF_DETECTOR.isdisjoint(map(plain, self.unknown_names))
        for trace in () if "auc" in self._mapping else traces:
            # An AUC without anything else of a game is nobody's.
            if of_detector or trace.columns.keys() & GAME_COLUMNS == {"auc"}:
                trace.columns.pop("auc", None)
                self.note_unknown("AUC")
        return traces
