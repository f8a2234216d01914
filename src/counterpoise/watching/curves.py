"""Curves of a trace for little room: which ones first, and braille charts of several rows."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from counterpoise.pages.series import SHOWN, buckets
from counterpoise.trace import Trace

# What is looked at first where there is no room for all.
FIRST = (
    "d_real",
    "d_fake_before",
    "d_loss",
    "g_loss",
    "auc",
    "d_accuracy",
    "d_fake_after",
    "g_adversarial",
    "g_gradient_adversarial",
    "g_gradient_content",
    "d_learning_rate",
)
# What is beyond is drawn there: sums and differences of it would be infinite.
LARGEST = 1e300
# Dots of a braille character, from the top: left and right column.
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_BLANK = 0x2800


@dataclass(frozen=True)
class Curve:
    """The known values of a column."""

    title: str
    steps: np.ndarray  # (values,), int64
    values: np.ndarray  # (values,), float64, finite


def curves(trace: Trace) -> list[Curve]:
    """The columns worth showing that have at least two values, most telling first."""
    names = [name for name, _ in SHOWN]
    titles = dict(SHOWN)
    order = [name for name in FIRST if name in titles] + [n for n in names if n not in FIRST]
    found = []
    for name in order:
        values = trace.get(name)
        known = np.isfinite(values)
        if known.sum() > 1:
            drawn = np.clip(values[known], -LARGEST, LARGEST)
            found.append(Curve(titles[name], trace.steps[known], drawn))
    return found


def braille_chart(values: np.ndarray, width: int, height: int) -> list[str]:
    """`height` lines of `width` braille characters, from the smallest value to the largest.

    Each column of dots spans the least to the largest of the values that fall into it, and reaches
    to its neighbour, so that no spike is lost and the line does not break. Few values are drawn as
    wide as many, with straight lines in between.
    """
    dots = 2 * width
    if len(values) < dots:
        places = np.linspace(0, len(values) - 1, dots)
        values = np.interp(places, np.arange(len(values)), values)
    groups = buckets(values, dots)
    low, high = float(values.min()), float(values.max())
    rows = 4 * height

    def row_of(value: float) -> int:
        return round((high - value) / (high - low) * (rows - 1)) if high > low else rows // 2

    cells = [[_BLANK] * width for _ in range(height)]
    # Half of the way from the last value of a column to the first of the next.
    between = [float(a[-1] + b[0]) / 2 for a, b in pairwise(groups)]
    for column, group in enumerate(groups):
        ends = between[max(0, column - 1) : column + 1]
        least, most = min(float(group.min()), *ends), max(float(group.max()), *ends)
        for row in range(row_of(most), row_of(least) + 1):
            cells[row // 4][column // 2] |= _DOTS[column % 2][row % 4]
    return ["".join(map(chr, line)) for line in cells]
