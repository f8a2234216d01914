"""Curves of a training for the charts of a page, in bounded memory, so that no spike is lost."""

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

from counterpoise.records import DISCRIMINATORS, Action
from counterpoise.run_rows import RowHandler
from counterpoise.trace import COLUMNS, Trace, as_float

# A curve has at most so many cells, each drawn by its least and its largest value.
CELLS = 1000
# Steps of NaN and infinity that are marked one by one, for each curve; the others are counted.
MARKS = 200

TERM, ACTION = "g_terms.", "action."
ACCURACY, ADVERSARIAL_SHARE = "accuracy", "adversarial_share"
# The numbers that a policy may set, with what they are where it does not.
ACTION_DEFAULTS = {
    name: float(default)
    for name in Action.__annotations__
    if isinstance(default := getattr(Action(), name), int | float) and not isinstance(default, bool)
}


class Cell(NamedTuple):
    """Neighbouring values of one curve."""

    first_step: int
    last_step: int
    values: int
    total: float
    low: tuple[float, int]  # the least value, and its first step
    high: tuple[float, int]  # the largest, and that of its steps with a minus

    def joined(self, later: "Cell") -> "Cell":
        """With the cell after this one."""
        values, total = self.values + later.values, self.total + later.total
        low, high = min(self.low, later.low), max(self.high, later.high)
        return Cell(self.first_step, later.last_step, values, total, low, high)


class Curve:
    """The values of one column over the steps. Neighbouring cells join where there are too many."""

    def __init__(self) -> None:
        self.cells: list[Cell] = []
        self.per_cell = 1  # values of a cell
        self.non_finite: list[int] = []  # the first `MARKS` steps
        self.non_finite_count = 0

    def add(self, step: int, value: float) -> None:
        """Take the value of a step; one not past the last takes the place of those after it."""
        if not math.isfinite(value):
            self.mark(step)
            return
        cells = self.cells
        if cells and step <= cells[-1].last_step:
            while cells and cells[-1].first_step >= step:
                cells.pop()
            self.non_finite = [at for at in self.non_finite if at < step]
            self.non_finite_count = min(self.non_finite_count, len(self.non_finite))
        cell = Cell(step, step, 1, value, (value, step), (value, -step))
        if cells and cells[-1].values < self.per_cell:
            cell = cells.pop().joined(cell)
        cells.append(cell)
        if len(cells) > CELLS:
            self.cells, self.per_cell = halved(cells), 2 * self.per_cell

    def mark(self, step: int) -> None:
        """There was a NaN or an infinity at this step."""
        self.non_finite_count += 1
        if len(self.non_finite) < MARKS:
            self.non_finite.append(step)

    @property
    def mean(self) -> float:
        """Of all values."""
        return sum(c.total for c in self.cells) / max(1, sum(c.values for c in self.cells))

    def to_json(self, breaks: list[int], most: int = CELLS) -> dict[str, Any]:
        """Steps `x` and values `y`, through the least and the largest value of every cell, and
        their means `m`; and what is not finite. None is a gap: a value that is not finite, or
        one of `breaks`, where a stage begins."""
        cells = self.cells
        while len(cells) > most:
            cells = halved(cells)
        ends = sorted([*breaks, *self.non_finite])
        rows: list[tuple[float | None, ...]] = []
        behind = None  # so many ends lie behind where the last cell begins
        for cell in cells:
            # A cell that runs over an end stands alone: no mean is joined to its.
            if behind is not None and behind < bisect_right(ends, cell.last_step):
                rows.append((None, None, None))
            behind = bisect_right(ends, cell.first_step)
            mean = _short(cell.total / cell.values)
            points = {cell.low[::-1], (-cell.high[1], cell.high[0])}
            rows += [(step, _short(value), mean) for step, value in sorted(points)]
        drawn = {key: [row[place] for row in rows] for place, key in enumerate("xym")}
        return drawn | {"nonFinite": self.non_finite, "nonFiniteCount": self.non_finite_count}


def halved(cells: list[Cell]) -> list[Cell]:
    """One cell of every two."""
    pairs = zip(cells[::2], cells[1::2], strict=False)
    return [cell.joined(later) for cell, later in pairs] + cells[len(cells) // 2 * 2 :]


def _short(value: float) -> float | None:
    """A number with as many digits as a chart can show; None where it is none."""
    short = float(f"{value:.5g}")  # of the largest floats, infinity
    return short if math.isfinite(short) else None


class Curves:
    """The curves of a training, from rows of a run or from a trace, by discriminator ("" where
    there is one alone, and for what belongs to G) and column."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> RowHandler:
        """Forget all; what handles the rows of `signals.jsonl`, which begin (anew)."""
        self.curves: defaultdict[tuple[str, str], Curve] = defaultdict(Curve)
        self._stages: dict[str, int] = {}  # the first step of each
        return self.add_row

    def add_row(self, step: int, row: Mapping[str, Any]) -> None:
        """Take a row of `signals.jsonl`."""
        stage = row.get("stage")
        if isinstance(stage, str):
            self._stages.setdefault(stage, step)
        each = row.get(DISCRIMINATORS)
        games = {"": row}
        if isinstance(each, Mapping):
            games |= {str(name): own for name, own in each.items() if isinstance(own, Mapping)}
        # A discriminator's row names what of G is not finite, too.
        of_g = row.get("non_finite")
        for game, own in games.items():
            self.add(step, _values(own), game)
            named = own.get("non_finite")
            for name in named if isinstance(named, list) else ():
                if not (game and isinstance(of_g, list) and name in of_g):
                    column = "d_fake_before" if name == "d_fake" else str(name)
                    self.curves[game, column].mark(step)

    def add(self, step: int, values: Mapping[str, float], game: str = "") -> None:
        """Take the values of a step."""
        for name, value in values.items():
            self.curves[game, name].add(step, value)

    def add_trace(self, trace: Trace, game: str = "") -> None:
        """Take all that a trace has."""
        for place, step in enumerate(trace.steps.tolist()):
            known = {name: float(values[place]) for name, values in trace.columns.items()}
            self.add(step, {name: value for name, value in known.items() if value == value}, game)
        for step, name in trace.non_finite:
            self.curves[game, name].mark(step)

    @property
    def breaks(self) -> list[int]:
        """The steps with which a further stage begins."""
        return sorted(self._stages.values())[1:]

    def drawn(self) -> dict[tuple[str, str], Curve]:
        """The curves that have a value; of what a policy may set, those that it ever changed."""
        found = {}
        for (game, name), curve in self.curves.items():
            asked = ACTION_DEFAULTS.get(name.removeprefix(ACTION))
            if not all(cell.low[0] == cell.high[0] == asked for cell in curve.cells):
                found[game, name] = curve
        return found


def _values(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a row by column, and what is drawn of several."""
    own = numbers(row)
    found = {name: v for name, v in own.items() if name in COLUMNS or name == "seconds"}
    found |= {TERM + name: v for name, v in numbers(row.get("g_terms")).items()}
    if "d_accuracy_real" in own and "d_accuracy_fake" in own:
        found[ACCURACY] = (own["d_accuracy_real"] + own["d_accuracy_fake"]) / 2
    if "g_gradient_adversarial" in own and "g_gradient_content" in own:
        both = own["g_gradient_adversarial"] + own["g_gradient_content"]
        if both > 0 and math.isfinite(both):
            found[ADVERSARIAL_SHARE] = own["g_gradient_adversarial"] / both
    if isinstance(row.get("action"), dict):
        asked = ACTION_DEFAULTS | numbers(row["action"])
        found |= {ACTION + name: asked[name] for name in ACTION_DEFAULTS}
    return found


def numbers(row: object) -> dict[str, float]:
    """What is a number in a row, by name."""
    items = row.items() if isinstance(row, Mapping) else ()
    return {name: as_float(value) for name, value in items if isinstance(value, int | float)}
