"""What printed numbers are, before anything is known of their objective: sums of D's halves, the
last digit of a column."""

import numpy as np

from counterpoise.trace import Trace

LEAST_ROWS = 3  # rows that must speak before a column is asked
PRINTED = 1e-5  # the last digit of a loss that people print, at the coarsest


def mostly_below_zero(trace: Trace) -> bool:
    """Whether D's printed loss is clearly below 0 in most lines.

    BCE, squares, hinge and relativistic losses are sums of what is never below 0, and so are
    penalties: of the objectives that are known this leaves Wasserstein's, or a sign that is turned.
    """
    loss = summed_loss(trace)
    loss = loss[np.isfinite(loss)]
    return len(loss) >= LEAST_ROWS and bool((loss < -1e-3).mean() > 0.5)


def summed_loss(trace: Trace, d_loss_factor: float = 1.0, half_factor: float = 1.0) -> np.ndarray:
    """D's loss as the log gives it, or the sum of the halves that it gives, times a factor each."""
    loss = d_loss_factor * trace.get("d_loss")
    halves = trace.get("d_loss_real") + trace.get("d_loss_fake")
    return np.where(np.isfinite(loss), loss, half_factor * halves)


def last_digit(values: np.ndarray) -> float:
    """The last digit that a column was printed with, 1e-12 at the finest."""
    for digits in range(12):
        if np.abs(values - np.round(values, digits)).max(initial=0.0) <= 1e-13:
            return float(10.0**-digits)
    return 1e-12


def stands_still(values: np.ndarray) -> bool:
    """Whether all of these are one number, of some digits: no rounding explains it."""
    return bool(np.ptp(values) == 0) and last_digit(values) <= abs(values[0]) / 24
