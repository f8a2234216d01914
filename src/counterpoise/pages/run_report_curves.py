"""The curves of a run, read row by row in bounded memory, so that no spike is lost."""

import bisect
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from counterpoise.balance.smoothing import Average
from counterpoise.records import Action
from counterpoise.trace import COLUMNS, as_float

# A curve has at most so many buckets, each drawn by its least and its largest value.
MOST_BUCKETS = 1000
# Known values that are further apart than this many usual distances have a gap between them.
GAP_FACTOR = 4
# Steps of non-finite values that are marked one by one, for each name; the others are counted.
MOST_MARKED = 200
# Names of loss terms that are taken from a file; more are those of a file that is not ours.
MOST_TERMS = 40

TERM, ACTION = "g_terms.", "action."
# Counts the steps in which a policy was asked; it is not drawn.
_ASKED = ACTION
ACCURACY, SMOOTHED_ACCURACY = "accuracy", "accuracy_smoothed"
ADVERSARIAL_SHARE = "adversarial_share"
# The numbers that a policy may set, with what they are where it does not.
ACTION_DEFAULTS = {
    name: float(default)
    for name, kind in Action.__annotations__.items()
    if kind in (int, float, "int", "float")
    and isinstance(default := getattr(Action(), name), int | float)
}


@dataclass(slots=True)
class Cell:
    """The values of one curve in one bucket of rows."""

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
        low, high = (later if later.low < self.low else self), self
        if later.high > self.high:
            high = later
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


@dataclass(frozen=True)
class Curve:
    """What is drawn of one curve. A `None` in all three lists is a gap.

    `steps` and `values` run through the least and the largest value of every bucket, in their
    order; `means` has the bucket's mean at the same places, twice where there are two.
    """

    steps: list[int | None]
    values: list[float | None]
    means: list[float | None]
    count: int  # values that it stands for
    first: tuple[int, float]
    last: tuple[int, float]
    low: float
    high: float
    mean: float


@dataclass
class Curves:
    """Everything that `signals.jsonl` holds for the charts."""

    curves: dict[str, Curve]
    # Steps of NaN and infinity by name, at most `MOST_MARKED` each, and how many there are.
    non_finite: dict[str, list[int]]
    non_finite_count: dict[str, int]
    rows: int
    first_step: int | None
    last_step: int | None
    rows_per_bucket: int
    torn_lines: int
    rows_without_step: int
    restarts: int  # how often the steps fall, as where two trainings wrote into one folder
    stages: dict[str, tuple[int, int]]  # first and last step of each


@dataclass
class CurveBuilder:
    """Collects rows of `signals.jsonl`. Neighbouring buckets join where there are too many."""

    accuracy_decay: float | None = None  # of the controller that steers by it
    most_buckets: int = MOST_BUCKETS
    _buckets: list[dict[str, Cell]] = field(default_factory=list, init=False)
    _spans: list[tuple[int, int]] = field(default_factory=list, init=False)
    _every: int = field(default=1, init=False)
    _rows: int = field(default=0, init=False)
    _last_step: int | None = field(default=None, init=False)
    _torn: int = field(default=0, init=False)
    _without_step: int = field(default=0, init=False)
    _restarts: list[int] = field(default_factory=list, init=False)
    _non_finite: dict[str, list[int]] = field(default_factory=dict, init=False)
    _non_finite_count: dict[str, int] = field(default_factory=dict, init=False)
    _breaks: list[int] = field(default_factory=list, init=False)  # where a stage begins
    _stages: dict[str, tuple[int, int]] = field(default_factory=dict, init=False)
    _actions: set[str] = field(default_factory=set, init=False)
    _terms: set[str] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        decay = self.accuracy_decay
        self._accuracy = None if decay is None else Average(decay)

    def add(self, row: Mapping[str, Any] | None) -> int | None:
        """Take a row, None for a torn line; its step, None where it has none."""
        if row is None:
            self._torn += 1
            return None
        step = row.get("step")
        if not isinstance(step, int) or isinstance(step, bool) or abs(step) >= 1 << 53:
            self._without_step += 1
            return None
        if self._last_step is not None and step < self._last_step:
            self._restarts.append(self._rows)
        self._last_step = step
        if self._rows % self._every == 0 and len(self._buckets) >= self.most_buckets:
            self._join()
        if self._rows % self._every == 0:
            self._buckets.append({})
            self._spans.append((step, step))
        self._rows += 1
        first, last = self._spans[-1]
        self._spans[-1] = (min(first, step), max(last, step))
        stage = row.get("stage")
        if isinstance(stage, str) and (stage in self._stages or len(self._stages) < MOST_TERMS):
            if self._stages and stage not in self._stages:
                self._breaks.append(step)
            self._stages[stage] = (self._stages.get(stage, (step, step))[0], step)
        bucket = self._buckets[-1]
        for name, value in self._values(row):
            if value - value != 0:  # NaN or infinite
                self._mark(name, step)
            elif (cell := bucket.get(name)) is None:
                bucket[name] = Cell(step, step, 1, value, value, step, value, step)
            else:
                cell.add(step, value)
        named = row.get("non_finite")
        for name in named if isinstance(named, list) else ():
            self._mark(str(name), step)
        return step

    def build(self) -> Curves:
        """The curves of the rows so far."""
        names = dict.fromkeys(name for bucket in self._buckets for name in bucket)
        names.pop(_ASKED, None)
        return Curves(
            curves={name: self._curve(name) for name in names},
            non_finite=self._non_finite,
            non_finite_count=self._non_finite_count,
            rows=self._rows,
            first_step=min((first for first, _ in self._spans), default=None),
            last_step=max((last for _, last in self._spans), default=None),
            rows_per_bucket=self._every,
            torn_lines=self._torn,
            rows_without_step=self._without_step,
            restarts=len(self._restarts),
            stages=dict(self._stages),
        )

    def _values(self, row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
        for name, value in row.items():
            if (name in COLUMNS or name == "seconds") and isinstance(value, int | float):
                yield name, as_float(value)
        terms = row.get("g_terms")
        if isinstance(terms, dict):
            for term, value in terms.items():
                if isinstance(value, int | float) and self._known_term(term):
                    yield TERM + term, as_float(value)
        yield from self._derived(row)
        action = row.get("action")
        if isinstance(action, dict):
            for name in action.keys() & ACTION_DEFAULTS.keys() - self._actions:
                self._begin_action(name)
            for name in self._actions:
                value = action.get(name, ACTION_DEFAULTS[name])
                if isinstance(value, int | float):
                    yield ACTION + name, as_float(value)
            yield _ASKED, 0.0

    def _derived(self, row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
        real, fake = row.get("d_accuracy_real"), row.get("d_accuracy_fake")
        if isinstance(real, int | float) and isinstance(fake, int | float):
            accuracy = (as_float(real) + as_float(fake)) / 2
            yield ACCURACY, accuracy
            if self._accuracy is not None:
                smoothed = self._accuracy.update(accuracy)
                if smoothed is not None:
                    yield SMOOTHED_ACCURACY, smoothed
        adversarial, content = row.get("g_gradient_adversarial"), row.get("g_gradient_content")
        if isinstance(adversarial, int | float) and isinstance(content, int | float):
            both = as_float(adversarial) + as_float(content)
            if both > 0 and math.isfinite(both):
                yield ADVERSARIAL_SHARE, as_float(adversarial) / both

    def _known_term(self, term: str) -> bool:
        if term not in self._terms and len(self._terms) < MOST_TERMS:
            self._terms.add(term)
        return term in self._terms

    def _begin_action(self, name: str) -> None:
        """A policy sets this for the first time: until now it was as configured."""
        self._actions.add(name)
        default = ACTION_DEFAULTS[name]
        for bucket in self._buckets:
            asked = bucket.get(_ASKED)
            if asked is not None:
                first, last, count = asked.first_step, asked.last_step, asked.count
                bucket[ACTION + name] = Cell(
                    first, last, count, count * default, default, first, default, last
                )

    def _mark(self, name: str, step: int) -> None:
        if name not in self._non_finite_count and len(self._non_finite_count) >= 4 * MOST_TERMS:
            name = "other values"
        name = "d_fake_before" if name == "d_fake" else name
        self._non_finite_count[name] = self._non_finite_count.get(name, 0) + 1
        steps = self._non_finite.setdefault(name, [])
        if len(steps) < MOST_MARKED:
            steps.append(step)

    def _join(self) -> None:
        """Make one bucket of every two."""
        buckets, spans = self._buckets, self._spans
        self._buckets, self._spans = [], []
        for place in range(0, len(buckets), 2):
            joined = dict(buckets[place])
            span = spans[place]
            if place + 1 < len(buckets):
                for name, cell in buckets[place + 1].items():
                    before = joined.get(name)
                    joined[name] = cell if before is None else before.joined(cell)
                first, last = spans[place + 1]
                span = (min(span[0], first), max(span[1], last))
            self._buckets.append(joined)
            self._spans.append(span)
        self._every *= 2

    def _curve(self, name: str) -> Curve:
        cells = [bucket[name] for bucket in self._buckets if name in bucket]
        usual = _usual_distance(cells)
        marked, breaks = sorted(self._non_finite.get(name, ())), sorted(self._breaks)
        steps: list[int | None] = []
        values: list[float | None] = []
        means: list[float | None] = []
        before: Cell | None = None
        for cell in cells:
            if before is not None and _is_gap(before, cell, usual, marked, breaks):
                steps.append(None)
                values.append(None)
                means.append(None)
            points = [(cell.low_step, cell.low)]
            if cell.high_step != cell.low_step:
                points = sorted([*points, (cell.high_step, cell.high)])
            for step, value in points:
                steps.append(step)
                values.append(value)
                means.append(cell.total / cell.count)
            before = cell
        first, last = cells[0], cells[-1]
        return Curve(
            steps=steps,
            values=values,
            means=means,
            count=sum(cell.count for cell in cells),
            first=(first.first_step, first.total / first.count),
            last=(last.last_step, last.total / last.count),
            low=min(cell.low for cell in cells),
            high=max(cell.high for cell in cells),
            mean=sum(cell.total for cell in cells) / sum(cell.count for cell in cells),
        )


def _is_gap(before: Cell, cell: Cell, usual: float, marked: list[int], breaks: list[int]) -> bool:
    """Whether there is no line between two cells: values are missing, or a stage begins.

    `marked` are the steps of non-finite values, `breaks` the first ones of stages, both sorted.
    """
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
    distances = [
        (cell.last_step - cell.first_step) / (cell.count - 1) for cell in cells if cell.count > 1
    ]
    if not distances:
        distances = [
            float(later.first_step - earlier.last_step)
            for earlier, later in itertools.pairwise(cells)
            if later.first_step > earlier.last_step
        ]
    return sorted(distances)[len(distances) // 2] if distances else math.inf
