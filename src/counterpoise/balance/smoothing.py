"""Smoothed signals: what a policy steers by instead of one batch's noise."""

import math
from typing import Any


def blend(old: float, new: float, decay: float) -> float:
    """decay * old + (1 - decay) * new, never outside the two (rounding and overflow included)."""
    return clamp(decay * old + (1 - decay) * new, min(old, new), max(old, new))


def clamp(value: float, low: float, high: float) -> float:
    """`value`, or the nearer end of [low, high] where it lies outside."""
    return min(max(value, low), high)


def is_finite(*values: float | None) -> bool:
    """Whether every value is there and neither NaN nor infinite."""
    return all(value is not None and math.isfinite(value) for value in values)


class Average:
    """A bias-corrected exponential moving average that ignores NaN and infinities.

    value = sum of decay^(n-i) x_i / sum of decay^(n-i): the first value counts in full, as in
    Adam (Kingma and Ba 2015, section 3), so that nothing pulls towards zero at the start. It
    remembers about 1 / (1 - decay) values; at decay 0 it is the latest one.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.value: float | None = None
        self.count = 0

    def update(self, value: float) -> float | None:
        """Take in `value` if it is finite; the average, or None before the first finite value."""
        if math.isfinite(value):
            self.count += 1
            weight = (1 - self.decay) / (1 - self.decay**self.count)
            self.value = value if self.value is None else blend(self.value, value, 1 - weight)
        return self.value

    def state_dict(self) -> list[Any]:
        """The average's state as plain JSON values."""
        return [self.value, self.count]

    def load_state_dict(self, state: list[Any]) -> None:
        """Undo `state_dict`."""
        self.value, self.count = state
