"""Curves of a training for the charts of a page, in bounded memory, so that no spike is lost."""

import itertools
import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from counterpoise.records import Action
from counterpoise.trace import COLUMNS, DISCRIMINATORS, Trace, as_float

# A curve has at most so many cells, each drawn by its least and its largest value.
CELLS = 1000
# Known values that are further apart than this many usual distances have a gap between them.
GAP_FACTOR = 4
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


class Bucket(NamedTuple):
    """Neighbouring values of one curve."""

    first_step: int
    last_step: int
    values: int
    total: float
    low: tuple[float, int]  # the least value, and its first step
    high: tuple[float, int]  # the largest

    @classmethod
    def of(cls, values: list[tuple[float, int]]) -> "Bucket":
        """The cell of some values, each with its step, in order."""
        total = sum(value for value, _ in values)
        low, high = min(values, key=itemgetter(0)), max(values, key=itemgetter(0))
        return cls(values[0][1], values[-1][1], len(values), total, low, high)

    def joined(self, later: "Bucket") -> "Bucket":
        """This cell and the one after it as one."""
        return Bucket(
            self.first_step,
            later.last_step,
            self.values + later.values,
            self.total + later.total,
            min(self.low, later.low, key=itemgetter(0)),
            max(self.high, later.high, key=itemgetter(0)),
        )


@dataclass
class Curve:
    """The values of one column over the steps. Neighbouring cells join where there are too many."""

    non_finite: list[int] = field(default_factory=list)  # the first `MARKS` steps
    non_finite_count: int = 0
    per_cell: int = 1  # values of a cell
    _closed: list[Bucket] = field(default_factory=list)
    _open: list[tuple[float, int]] = field(default_factory=list)  # values of the next cell
    _last_step: float = -math.inf

    def add(self, step: int, value: float) -> None:
        """Take the value of a step; one that is not past the last takes the place of those after
        it."""
        if not math.isfinite(value):
            self.mark(step)
            return
        if step <= self._last_step:
            self._open = [one for one in self._open if one[1] < step]
            while self._closed and self._closed[-1].first_step >= step:
                self._closed.pop()
            self.non_finite = [at for at in self.non_finite if at < step]
            self.non_finite_count = min(self.non_finite_count, len(self.non_finite))
        self._last_step = step
        self._open.append((value, step))
        if len(self._open) >= self.per_cell:
            self._closed.append(Bucket.of(self._open))
            self._open = []
            if len(self._closed) >= CELLS:
                self._closed, self.per_cell = _pairs(self._closed), 2 * self.per_cell

    @property
    def cells(self) -> list[Bucket]:
        """All values, in order."""
        return [*self._closed, Bucket.of(self._open)] if self._open else self._closed

    def mark(self, step: int) -> None:
        """There was a NaN or an infinity at this step."""
        self.non_finite_count += 1
        if len(self.non_finite) < MARKS:
            self.non_finite.append(step)

    @property
    def mean(self) -> float:
        """Of all values."""
        cells = self.cells
        return sum(c.total for c in cells) / max(1, sum(c.values for c in cells))

    def is_always(self, value: float) -> bool:
        """Whether there is no other value."""
        return all(cell.low[0] == cell.high[0] == value for cell in self.cells)

    def to_json(self, breaks: list[int], most: int = CELLS) -> dict[str, list[float | None]]:
        """Steps `x` and values `y`, through the least and the largest value of every cell, and
        their means `m`. None is a gap: values are missing, or one of `breaks`, where a stage
        begins."""
        cells = self.cells
        while len(cells) > most:
            cells = _pairs(cells)
        usual, holes = _usual_distance(cells), sorted(self.non_finite)
        rows: list[tuple[float | None, ...]] = []
        before: Bucket | None = None
        for cell in cells:
            if before is not None and (
                not 0 <= cell.first_step - before.last_step <= GAP_FACTOR * usual
                or bisect_right(holes, before.last_step) < bisect_right(holes, cell.first_step)
                or bisect_right(breaks, before.last_step) < bisect_right(breaks, cell.first_step)
            ):
                rows.append((None, None, None))
            points = {cell.low[::-1], cell.high[::-1]}
            mean = _short(cell.total / cell.values)
            rows += [(step, _short(value), mean) for step, value in sorted(points)]
            before = cell
        steps, values, means = map(list, zip(*rows, strict=True)) if rows else ([], [], [])
        return {"x": steps, "y": values, "m": means}


def _pairs(cells: list[Bucket]) -> list[Bucket]:
    """One cell of every two."""
    joined = [a.joined(b) for a, b in zip(cells[::2], cells[1::2], strict=False)]
    return joined + cells[2 * len(joined) :]


def _usual_distance(cells: list[Bucket]) -> float:
    """Steps between two known values of a curve, in the median."""
    distances = [(c.last_step - c.first_step) / (c.values - 1) for c in cells if c.values > 1] or [
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

    def __init__(self) -> None:
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
            self.add(step, dict(_values(own)), game)
            named = own.get("non_finite")
            for name in named if isinstance(named, list) else ():
                if not (game and isinstance(of_g, list) and name in of_g):
                    self.named("d_fake_before" if name == "d_fake" else str(name), game).mark(step)

    def add(self, step: int, values: Mapping[str, float], game: str = "") -> None:
        """Take the values of a step."""
        self.first_step = step if self.first_step is None else min(self.first_step, step)
        self.last_step = step if self.last_step is None else max(self.last_step, step)
        for name, value in values.items():
            self.named(name, game).add(step, value)

    def add_trace(self, trace: Trace, game: str = "") -> None:
        """Take all that a trace has."""
        steps = trace.steps.tolist()
        for name, values in trace.columns.items():
            for place in np.flatnonzero(np.isfinite(values)):
                self.named(name, game).add(steps[place], float(values[place]))
        for step, name in trace.non_finite:
            self.named(name, game).mark(step)
        for step in {*steps[:1], *steps[-1:]}:
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
        """The curves that have a value; of what a policy may set, those that it ever changed."""
        return {
            (game, name): curve
            for (game, name), curve in self.curves.items()
            if curve.cells
            and not curve.is_always(ACTION_DEFAULTS.get(name.removeprefix(ACTION), math.nan))
        }


def _values(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in row.items():
        if (name in COLUMNS or name == "seconds") and isinstance(value, int | float):
            yield name, as_float(value)
    for term, value in _mapping(row, "g_terms").items():
        if isinstance(value, int | float):
            yield TERM + term, as_float(value)
    real, fake = row.get("d_accuracy_real"), row.get("d_accuracy_fake")
    if isinstance(real, int | float) and isinstance(fake, int | float):
        yield ACCURACY, (as_float(real) + as_float(fake)) / 2
    adversarial, content = row.get("g_gradient_adversarial"), row.get("g_gradient_content")
    if isinstance(adversarial, int | float) and isinstance(content, int | float):
        both = as_float(adversarial) + as_float(content)
        if both > 0 and math.isfinite(both):
            yield ADVERSARIAL_SHARE, as_float(adversarial) / both
    if isinstance(row.get("action"), dict):
        for name, value in (ACTION_DEFAULTS | row["action"]).items():
            if name in ACTION_DEFAULTS and isinstance(value, int | float):
                yield ACTION + name, as_float(value)


def _mapping(row: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = row.get(name)
    return value if isinstance(value, dict) else {}
