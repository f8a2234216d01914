"""D's loss as a log gives it, the curves that tie G's to it, and how near a log is to them."""

import numpy as np

from counterpoise.diagnosis.reading import Reading
from counterpoise.objectives import AT_A_CLIP, CLIPS
from counterpoise.programs import Program
from counterpoise.trace import Trace

LEAST_FINITE = 3  # rows that must speak before a column is asked

# G's loss about its curve: its spread (absolute, of the curve's value), wider above; under hinge
# margins are exceeded.
SPREAD, SHARE, WIDER, BEYOND_MARGIN = 0.15, 0.3, 1.5, 1.2
# Of BCE, how often the loss that goes with a D that is as sure of fakes as of real images.
SURER = 1.6, 2.6
# How far G's loss may be under the curve of D's on fakes, as a share of what is usual elsewhere.
UNDER_HALF = 0.4


def mostly_below_zero(trace: Trace) -> bool:
    """Whether D's printed loss is clearly below 0 in most lines.

    BCE, squares, hinge and relativistic losses are sums of what is never below 0, and so are
    penalties: of the objectives that are known this leaves Wasserstein's, or a sign that is turned.
    """
    loss = summed_loss(trace)
    loss = loss[np.isfinite(loss)]
    return len(loss) >= LEAST_FINITE and bool((loss < -1e-3).mean() > 0.5)


def summed_loss(trace: Trace, d_loss_factor: float = 1.0, half_factor: float = 1.0) -> np.ndarray:
    """D's loss as the log gives it, or the sum of the halves that it gives, times a factor each."""
    loss = d_loss_factor * trace.get("d_loss")
    halves = trace.get("d_loss_real") + trace.get("d_loss_fake")
    return np.where(np.isfinite(loss), loss, half_factor * halves)


def factors(trace: Trace, reading: Reading, program: Program) -> tuple[float, float]:
    """What makes the printed loss, and the printed halves, add up to the sum of one D's halves.

    Programs that print the mean as D's loss print halves as they are (CycleGAN); where there are
    only halves, and those are too small, each was halved (BasicSR's ESRGAN).
    """
    each = (-1.0 if reading.is_turned else 1.0) / program.discriminators
    if not reading.facts.has_halves:
        return each, each
    if trace.has("d_loss"):
        times = 2.0 if trace.d_loss_is_mean or reading.is_mean else 2.0 / program.d_loss_terms
        return times * each, each
    return each, (2.0 if reading.is_mean else 1.0) * each


def g_has_more(trace: Trace, program: Program) -> bool:
    """Whether G's loss, as far as the log has it, has other terms or a weight in it."""
    return program.g_has_more or (not trace.has("g_adversarial") and trace.has("g_content"))


def g_curve(reading: Reading, loss: np.ndarray) -> np.ndarray:
    """G's adversarial loss that goes with D's, both halves summed, where these are alike."""
    objective = reading.facts
    if objective.g_loss_at is None:
        return np.full_like(loss, np.nan)
    curve = objective.g_loss_at(np.maximum(loss, 1e-12) / 2)
    # Where D's loss is the mean of its halves, G's is then, too.
    return curve / 2 if reading.is_mean and objective.compares_scores else curve


def densities_about_curve(
    reading: Reading, loss: np.ndarray, g_loss: np.ndarray, *, of_fakes: bool
) -> list[np.ndarray]:
    """The densities of G's losses about the curve that ties them to D's, both halves summed: one
    for each way in which a training may stand to it. `of_fakes`: the loss is twice that on fakes,
    which ties G's closer: no spread over a batch brings it under the curve."""
    objective, curve, below = reading.facts, g_curve(reading, loss), UNDER_HALF if of_fakes else 1.0
    # G's loss is above its curve only where margins are exceeded.
    exceeded = np.maximum(1 - loss / objective.equilibrium_d_loss, 0)
    if objective.name == "relativistic-hinge":
        # D's loss and G's add up to 4, on one batch.
        return [_spread(g_loss, curve, below, BEYOND_MARGIN * np.square(exceeded), share=0.0)]
    if objective.name == "hinge":
        return [_spread(g_loss, curve, below, BEYOND_MARGIN * np.sqrt(exceeded))]
    ways = [_spread(g_loss, curve, below)]
    if objective.name == "non-saturating":
        # D may be surer of fakes than of real images (by labels of 0.9), or of some than of others.
        ways += [_spread(g_loss, times * curve, below) for times in SURER]
        cut = np.abs(g_loss[:, None] / list(CLIPS) - 1).min(axis=1) < AT_A_CLIP
        ways = [np.where(cut, 5.0, density) for density in ways]
    # Printed as 0 it is that of a D which is fooled altogether.
    no_loss = (g_loss < 0) | ((g_loss == 0) & (curve > SPREAD))
    return [np.where(no_loss, 0.0, density) for density in ways]


def _spread(
    g_loss: np.ndarray,
    curve: np.ndarray,
    below: float,
    beyond: np.ndarray | float = 0.0,
    share: float = SHARE,
) -> np.ndarray:
    """The density of G's losses about a curve: two-sided, and by so much wider above."""
    usual = SPREAD + share * np.abs(curve)
    under, above, off = below * usual, WIDER * usual + beyond, g_loss - curve
    near = np.abs(off) / np.where(off > 0, above, under)
    return np.asarray(np.exp(-near) / (under + above))
