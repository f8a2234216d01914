"""Smoothed signals: what a policy steers by instead of one batch's noise."""

import math

# A bias-corrected exponential moving average: its value, None before the first one, and of how
# many values it is.
Average = tuple[float | None, int]
NO_AVERAGE: Average = (None, 0)


def blend(old: float, new: float, decay: float) -> float:
    """decay * old + (1 - decay) * new, never outside the two (rounding and overflow included)."""
    return clamp(decay * old + (1 - decay) * new, min(old, new), max(old, new))


def clamp(value: float, low: float, high: float) -> float:
    """`value`, or the nearer end of [low, high] where it lies outside."""
    return min(max(value, low), high)


def is_finite(*values: float | None) -> bool:
    """Whether every value is there and neither NaN nor infinite."""
    return all(value is not None and math.isfinite(value) for value in values)


def averaged(average: Average, value: float, decay: float) -> Average:
    """`average` with another value in it; NaN and infinities change nothing.

    value = sum of decay^(n-i) x_i / sum of decay^(n-i): the first value counts in full, as in
    Adam (Kingma and Ba 2015, section 3), so that nothing pulls towards zero at the start. It
    remembers about 1 / (1 - decay) values; at decay 0 it is the latest one.
    """
    before, count = average
    if not math.isfinite(value):
        return before, count
    weight = (1 - decay) / (1 - decay ** (count + 1))
    return value if before is None else blend(before, value, 1 - weight), count + 1
