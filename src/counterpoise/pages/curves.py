"""Curves of a training for the charts of a page, of few points, so that no spike is lost."""

import math
from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from counterpoise.records import DISCRIMINATORS, Action
from counterpoise.run_rows import RowHandler
from counterpoise.trace import COLUMNS, Trace, as_float

# A curve is drawn as at most so many cells, each by its least and its largest value.
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


class Curve:
    """The values of one column over the steps."""

    def __init__(self) -> None:
        self.steps, self.values = array("q"), array("d")
        self.non_finite: list[int] = []  # steps with a NaN or an infinity

    def add(self, step: int, value: float) -> None:
        """Take the value of a step; one not past the last takes the place of those after it."""
        if not math.isfinite(value):
            self.non_finite.append(step)
            return
        if self.steps and step <= self.steps[-1]:
            kept = bisect_left(self.steps, step)
            del self.steps[kept:], self.values[kept:]
            self.non_finite = [at for at in self.non_finite if at < step]
        self.steps.append(step)
        self.values.append(value)

    @property
    def mean(self) -> float:
        """Of all values."""
        return float(np.mean(self.values)) if self.values else 0.0

    def to_json(self, breaks: list[int], most: int = CELLS) -> dict[str, Any]:
        """Steps `x` and values `y`, through the least and the largest value of each of at most so
        many cells of neighbours, and their means `m`; and what is not finite. None is a gap: a
        value that is not finite, or one of `breaks`, where a stage begins."""
        steps, values = np.array(self.steps), np.array(self.values)
        size = max(1, math.ceil(len(values) / most))
        starts = np.arange(0, len(values), size)
        cells = np.array_split(values, starts[1:])
        passed = np.searchsorted(sorted([*breaks, *self.non_finite]), steps, side="right")
        rows: list[tuple[float | None, ...]] = []
        for start, cell in zip(starts.tolist(), cells, strict=False):
            # A cell that runs over an end stands alone: no mean is joined to its.
            if start and passed[start + len(cell) - 1] > passed[start - size]:
                rows.append((None, None, None))
            with np.errstate(over="ignore"):
                mean = _short(float(cell.mean()))
            places = sorted({start + int(cell.argmin()), start + int(cell.argmax())})
            rows += [(int(steps[at]), _short(float(values[at])), mean) for at in places]
        drawn = {key: [row[place] for row in rows] for place, key in enumerate("xym")}
        marked = {"nonFinite": self.non_finite[:MARKS], "nonFiniteCount": len(self.non_finite)}
        return drawn | marked


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
                    self.curves[game, column].add(step, math.nan)

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
            self.curves[game, name].add(step, math.nan)

    @property
    def breaks(self) -> list[int]:
        """The steps with which a further stage begins."""
        return sorted(self._stages.values())[1:]

    def drawn(self) -> dict[tuple[str, str], Curve]:
        """The curves that have a value; of what a policy may set, those that it ever changed."""
        return {
            (game, name): curve
            for (game, name), curve in self.curves.items()
            if curve.values.count(ACTION_DEFAULTS.get(name.removeprefix(ACTION), math.nan))
            < len(curve.values)
        }


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
