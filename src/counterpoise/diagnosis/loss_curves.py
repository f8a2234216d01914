"""D's loss as a log gives it, the curves that tie G's to it, and how near a log is to them."""

import numpy as np

from counterpoise.diagnosis.reading import Reading
from counterpoise.objectives import AT_A_CLIP, CLIPS
from counterpoise.trace import Trace

LEAST_ROWS = 3  # rows that must speak before a column is asked

# G's loss about its curve: its spread (absolute, of the curve's value), wider above; under hinge
# margins are exceeded.
SPREAD, SHARE, WIDER, BEYOND_MARGIN = 0.15, 0.3, 1.5, 1.2
SMOOTHED = 0.32  # about the entropy of a label of 0.9


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


def g_curve(reading: Reading, loss: np.ndarray) -> np.ndarray:
    """G's adversarial loss that goes with D's, both halves summed, where these are alike."""
    objective = reading.facts
    if objective.g_loss_at is None:
        return np.full_like(loss, np.nan)
    curve = objective.g_loss_at(np.maximum(loss, 1e-12) / 2)
    # Where D's loss is the mean of its halves, G's is then, too.
    return curve / 2 if reading.is_mean and objective.compares_scores else curve


def density_about_curve(reading: Reading, loss: np.ndarray, g_loss: np.ndarray) -> np.ndarray:
    """The density of G's losses about the curve that ties them to D's, both halves summed."""
    objective, curve = reading.facts, g_curve(reading, loss)
    if objective.name == "relativistic-hinge":
        # D's loss and G's add up to 4, on one batch: to more only where margins are exceeded.
        exceeded = np.square(np.maximum(1 - loss / objective.equilibrium_d_loss, 0))
        return _spread(g_loss, curve, BEYOND_MARGIN * exceeded, share=0.0)
    beyond = BEYOND_MARGIN if objective.name == "hinge" else 0.0
    density = _spread(g_loss, curve, beyond)
    if objective.name == "hinge":
        return density
    if objective.name == "non-saturating":
        # D may be surer of fakes than of real images, whose labels of 0.9 may be in its loss.
        surer = _spread(g_loss, curve, WIDER * curve)
        floor = g_curve(reading, 2 * np.maximum(loss - SMOOTHED, 1e-4))
        smoothed = np.where(loss > SMOOTHED, _spread(g_loss, floor, 0.0), surer)
        density = 0.6 * density + 0.2 * surer + 0.2 * smoothed
        cut = np.abs(g_loss[:, None] / list(CLIPS) - 1).min(axis=1) < AT_A_CLIP
        density = np.where(cut, 5.0, density)
    # Printed as 0 it is that of a D which is fooled altogether.
    return np.where((g_loss < 0) | ((g_loss == 0) & (curve > SPREAD)), 0.0, density)


def _spread(
    g_loss: np.ndarray, curve: np.ndarray, beyond: np.ndarray | float, share: float = SHARE
) -> np.ndarray:
    """The density of G's losses about a curve: two-sided, and by so much wider above."""
    below = SPREAD + share * np.abs(curve)
    above, off = WIDER * below + beyond, g_loss - curve
    near = np.abs(off) / np.where(off > 0, above, below)
    return np.asarray(np.exp(-near) / (below + above))
