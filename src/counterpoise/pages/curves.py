"""Curves of a training for the charts of a page, in bounded memory, so that no spike is lost."""

import bisect
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from counterpoise.balance.smoothing import Average
from counterpoise.records import Action
from counterpoise.trace import COLUMNS, DISCRIMINATORS, Trace, as_float

# A curve has at most so many cells, each drawn by its least and its largest value.
CELLS = 1000
# Known values that are further apart than this many usual distances have a gap between them.
GAP_FACTOR = 4
# Steps of NaN and infinity that are marked one by one, for each curve; the others are counted.
MARKS = 200

TERM, ACTION = "g_terms.", "action."
ACCURACY, SMOOTHED_ACCURACY = "accuracy", "accuracy_smoothed"
ADVERSARIAL_SHARE = "adversarial_share"
# Counts the steps in which a policy was asked; it is not drawn.
_ASKED = ACTION
# The numbers that a policy may set, with what they are where it does not.
ACTION_DEFAULTS = {
    name: float(default)
    for name in Action.__annotations__
    if isinstance(default := getattr(Action(), name), int | float) and not isinstance(default, bool)
}


@dataclass(slots=True)
class Cell:
    """Neighbouring values of one curve."""

    first_step: int
    last_step: int
    count: int
    total: float
    low: float
    low_step: int
    high: float
    high_step: int

    def add(self, step: int, value: float) -> None:
        self.last_step = step
        self.count += 1
        self.total += value
        if value < self.low:
            self.low, self.low_step = value, step
        elif value > self.high:
            self.high, self.high_step = value, step

    def joined(self, later: "Cell") -> "Cell":
        """This cell and the one after it as one."""
        low = later if later.low < self.low else self
        high = later if later.high > self.high else self
        return Cell(
            self.first_step,
            later.last_step,
            self.count + later.count,
            self.total + later.total,
            low.low,
            low.low_step,
            high.high,
            high.high_step,
        )


@dataclass
class Curve:
    """The values of one column over the steps. Neighbouring cells join where there are too many."""

    cells: list[Cell] = field(default_factory=list)
    non_finite: list[int] = field(default_factory=list)  # the first `MARKS` steps
    non_finite_count: int = 0
    per_cell: int = 1  # values of a cell

    def add(self, step: int, value: float) -> None:
        if value - value != 0:  # NaN or infinite
            self.mark(step)
            return
        if self.cells and step <= self.cells[-1].last_step:
            self._go_back(step)
        if self.cells and self.cells[-1].count < self.per_cell:
            self.cells[-1].add(step, value)
            return
        if len(self.cells) >= CELLS:
            self.cells, self.per_cell = _pairs(self.cells), 2 * self.per_cell
        self.cells.append(Cell(step, step, 1, value, value, step, value, step))

    def mark(self, step: int) -> None:
        """There was a NaN or an infinity at this step."""
        self.non_finite_count += 1
        if len(self.non_finite) < MARKS:
            self.non_finite.append(step)

    def _go_back(self, step: int) -> None:
        """Forget what is past a step, but for a cell that it is within."""
        while self.cells and self.cells[-1].first_step >= step:
            self.cells.pop()
        self.non_finite = [at for at in self.non_finite if at < step]
        self.non_finite_count = min(self.non_finite_count, len(self.non_finite))

    @property
    def mean(self) -> float:
        return sum(c.total for c in self.cells) / max(1, sum(c.count for c in self.cells))

    def to_json(self, breaks: list[int], most: int = CELLS) -> dict[str, Any]:
        """Steps `x` and values `y`, through the least and the largest value of every cell, and
        their means `m` where these differ. None is a gap: values are missing, or one of `breaks`,
        where a stage begins."""
        cells = self.cells
        while len(cells) > most:
            cells = _pairs(cells)
        usual, marked = _usual_distance(cells), sorted(self.non_finite)
        steps: list[int | None] = []
        values: list[float | None] = []
        means: list[float | None] = []
        before: Cell | None = None
        for cell in cells:
            if before is not None and _is_gap(before, cell, usual, marked, breaks):
                for column in (steps, values, means):
                    column.append(None)
            points = {(cell.low_step, cell.low), (cell.high_step, cell.high)}
            for step, value in sorted(points):
                steps.append(step)
                values.append(_short(value))
                means.append(_short(cell.total / cell.count))
            before = cell
        return {"x": steps, "y": values} | ({"m": means} if means != values else {})


def _pairs(cells: list[Cell]) -> list[Cell]:
    """One cell of every two."""
    joined = [a.joined(b) for a, b in zip(cells[::2], cells[1::2], strict=False)]
    return joined + cells[2 * len(joined) :]


def _is_gap(before: Cell, cell: Cell, usual: float, marked: list[int], breaks: list[int]) -> bool:
    """Whether there is no line between two cells."""
    distance = cell.first_step - before.last_step
    if distance < 0 or distance > GAP_FACTOR * usual:
        return True
    # A NaN between two values is a hole, however near they are.
    place = bisect.bisect_right(marked, before.last_step)
    if place < len(marked) and marked[place] < cell.first_step:
        return True
    place = bisect.bisect_right(breaks, before.last_step)
    return place < len(breaks) and breaks[place] <= cell.first_step


def _usual_distance(cells: list[Cell]) -> float:
    """Steps between two known values of a curve, in the median."""
    distances = [(c.last_step - c.first_step) / (c.count - 1) for c in cells if c.count > 1] or [
        float(later.first_step - earlier.last_step) for earlier, later in itertools.pairwise(cells)
    ]
    return sorted(distances)[len(distances) // 2] if distances else math.inf


def _short(value: float) -> float | None:
    """A number with as many digits as a chart can show; None where it is none."""
    short = float(f"{value:.5g}")  # of the largest floats, infinity
    return short if math.isfinite(short) else None


class Curves:
    """The curves of a training, from rows of a run or from a trace, by discriminator and column.

    With one discriminator, and for what belongs to G, its name is "".
    """

    def __init__(self, accuracy_decay: float | None = None) -> None:
        """`accuracy_decay`: of the controller that steers by D's smoothed accuracy."""
        self._decay = accuracy_decay
        self._averages: dict[str, Average] = {}
        self.curves: dict[tuple[str, str], Curve] = {}
        self.stages: dict[str, tuple[int, int]] = {}  # first and last step of each
        self.first_step: int | None = None
        self.last_step: int | None = None

    def add_row(self, step: int, row: Mapping[str, Any]) -> None:
        """Take a row of `signals.jsonl`."""
        stage = row.get("stage")
        if isinstance(stage, str):
            self.stages[stage] = (self.stages.get(stage, (step, step))[0], step)
        each = row.get(DISCRIMINATORS)
        games = {"": row}
        if isinstance(each, Mapping):
            games |= {str(name): own for name, own in each.items() if isinstance(own, Mapping)}
        # A discriminator's row names what of G is not finite, too.
        of_g = row.get("non_finite")
        for game, own in games.items():
            self.add(step, dict(self._values(own, game)), game)
            named = own.get("non_finite")
            for name in named if isinstance(named, list) else ():
                if game and isinstance(of_g, list) and name in of_g:
                    continue
                column = "d_fake_before" if name == "d_fake" else str(name)
                self.named(column, game).mark(step)

    def add(self, step: int, values: Mapping[str, float], game: str = "") -> None:
        """Take the values of a step."""
        self.first_step = step if self.first_step is None else min(self.first_step, step)
        self.last_step = step if self.last_step is None else max(self.last_step, step)
        for name, value in values.items():
            self.named(name, game).add(step, value)

    def add_trace(self, trace: Trace, game: str = "") -> None:
        """Take all that a trace has."""
        if not len(trace):
            return
        for name, values in trace.columns.items():
            curve = self.named(name, game)
            known = np.isfinite(values)
            for step, value in zip(
                trace.steps[known].tolist(), values[known].tolist(), strict=True
            ):
                curve.add(step, value)
        for step, name in trace.non_finite:
            self.named(name, game).mark(step)
        ends = int(trace.steps[0]), int(trace.steps[-1])
        for step in ends:
            self.add(step, {})

    def named(self, name: str, game: str = "") -> Curve:
        """The curve of a column, for a discriminator; an empty one where it is new."""
        curve = self.curves.get((game, name))
        if curve is None:
            curve = self.curves[game, name] = Curve()
        return curve

    @property
    def breaks(self) -> list[int]:
        """The steps with which a further stage begins."""
        return sorted(first for first, _ in self.stages.values())[1:]

    def drawn(self) -> dict[tuple[str, str], Curve]:
        """The curves that have a value."""
        return {key: c for key, c in self.curves.items() if c.cells and key[1] != _ASKED}

    def _values(self, row: Mapping[str, Any], game: str) -> Iterator[tuple[str, float]]:
        for name, value in row.items():
            if (name in COLUMNS or name == "seconds") and isinstance(value, int | float):
                yield name, as_float(value)
        terms = row.get("g_terms")
        for term, value in terms.items() if isinstance(terms, dict) else ():
            if isinstance(value, int | float):
                yield TERM + term, as_float(value)
        real, fake = row.get("d_accuracy_real"), row.get("d_accuracy_fake")
        if isinstance(real, int | float) and isinstance(fake, int | float):
            accuracy = (as_float(real) + as_float(fake)) / 2
            yield ACCURACY, accuracy
            if self._decay is not None:
                average = self._averages.setdefault(game, Average(self._decay))
                smoothed = average.update(accuracy)
                if smoothed is not None:
                    yield SMOOTHED_ACCURACY, smoothed
        adversarial, content = row.get("g_gradient_adversarial"), row.get("g_gradient_content")
        if isinstance(adversarial, int | float) and isinstance(content, int | float):
            both = as_float(adversarial) + as_float(content)
            if both > 0 and math.isfinite(both):
                yield ADVERSARIAL_SHARE, as_float(adversarial) / both
        action = row.get("action")
        if isinstance(action, dict):
            yield _ASKED, 0.0
            for name, default in ACTION_DEFAULTS.items():
                known = (game, ACTION + name) in self.curves
                if name in action and not known:
                    self._begin_action(name, game)
                value = action.get(name, default)
                if (known or name in action) and isinstance(value, int | float):
                    yield ACTION + name, as_float(value)

    def _begin_action(self, name: str, game: str) -> None:
        """A policy sets this for the first time: until now it was as configured."""
        default, asked = ACTION_DEFAULTS[name], self.named(_ASKED, game)
        cells = [
            Cell(c.first_step, c.last_step, c.count, c.count * default, default, c.first_step,
                 default, c.last_step)
            for c in asked.cells
        ]  # fmt: skip
        self.curves[game, ACTION + name] = Curve(cells, per_cell=asked.per_cell)
