"""Infers from a log's numbers which objective they are of, by elimination.

An objective is named only if it explains the numbers and no other does so nearly as well; which
others do at all is said with it.
"""

import math
from dataclasses import dataclass

import numpy as np

from counterpoise.diagnosis.least_losses import (
    EXPLAINS,
    PRINTED,
    TOLERANCE,
    Fit,
    fit,
    least_of_probabilities,
    least_of_scores,
)
from counterpoise.objectives import UNKNOWN
from counterpoise.trace import Trace

# D's loss over the least that BCE allows at its outputs: squares are below the first, and above the
# second it is no BCE, not even a doubled one.
SQUARES_RATIO, BCE_RATIO = 0.7, 5.0
# A fit is near within a factor of 2.
NEAR = math.log(2)
# To be taken for the mean of an objective's halves: the share of rows that it must explain, and how
# near it must be in most rows where a sum would do as well.
MEAN_EXPLAINS, TIGHT = 0.97, 0.1
# Rows that must speak before an objective is inferred.
LEAST_ROWS = 3

MEAN = "D's loss is the mean of its halves"


@dataclass(frozen=True)
class Inferred:
    """What a log's numbers were found to be."""

    objective: str  # a name of `OBJECTIVES`, or "unknown"
    evidence: str  # how it is known
    is_mean: bool = False  # D's loss is the mean of its halves, though nobody says so
    labels_flipped: bool = False  # D was asked for 0 on real images and for 1 on fake ones


def infer(trace: Trace) -> Inferred:
    """What the numbers of a trace are of, by what it says itself, or by elimination."""
    probabilities = trace.has("d_real", "d_fake_before") and _probabilities(trace)
    if trace.objective is not None:
        return _given(trace, trace.objective, probabilities)
    inferred = _from_probabilities(trace) if probabilities else _from_scores(trace)
    if inferred.objective == UNKNOWN and mostly_below_zero(trace) and not probabilities:
        return Inferred("wgan", "D's loss is below 0, which no other objective allows")
    return inferred


def mostly_below_zero(trace: Trace) -> bool:
    """Whether D's printed loss is clearly below 0 in most lines.

    BCE, squares, hinge and relativistic losses are sums of what is never below 0, and so are
    penalties: of the objectives that are known this leaves Wasserstein's.
    """
    loss = summed_loss(trace)
    loss = loss[np.isfinite(loss)]
    return len(loss) >= LEAST_ROWS and bool((loss < -1e-3).mean() > 0.5)


def summed_loss(trace: Trace, d_loss_factor: float = 1.0, half_factor: float = 1.0) -> np.ndarray:
    """D's loss as the log gives it, or the sum of the halves that it gives, times a factor each."""
    loss = d_loss_factor * trace.get("d_loss")
    halves = trace.get("d_loss_real") + trace.get("d_loss_fake")
    return np.where(np.isfinite(loss), loss, half_factor * halves)


def _given(trace: Trace, objective: str, probabilities: bool) -> Inferred:
    """The objective that is said, and how D's loss is printed."""
    how = "given, or written in the run's own configuration"
    flipped = probabilities and objective == "non-saturating" and _labels_flipped(trace)
    if objective == "lsgan" and probabilities and _pinned(trace):
        how = "the run says least squares, and D's outputs end at 0 and 1"
        objective = "lsgan-on-sigmoid"
    real, fake, loss = _real_fake_loss(trace, probabilities)
    if flipped:
        real, fake = 1 - real, 1 - fake
    leasts = (least_of_probabilities if probabilities else least_of_scores)(real, fake)
    is_mean = False
    if objective in leasts:
        known = np.isfinite(loss) & np.isfinite(leasts[objective])
        is_mean = known.sum() >= LEAST_ROWS and _only_as_mean(
            trace, loss[known], leasts[objective][known]
        )
    return Inferred(objective, f"{how}; {MEAN}" if is_mean else how, is_mean, flipped)


def _only_as_mean(trace: Trace, loss: np.ndarray, least: np.ndarray) -> bool:
    """Whether D's losses are nearly all too small for the sum of its halves, and fit their mean."""
    if trace.d_loss_is_mean and trace.has("d_loss"):
        return False
    # By more than its rounding: outputs that are certain tell nothing.
    too_small = loss < least * (1 - TOLERANCE) - PRINTED
    doubled = fit(2 * loss, least)
    return bool(too_small.mean() >= EXPLAINS) and doubled.possible and doubled.distance < NEAR


def _pinned(trace: Trace) -> bool:
    """Whether outputs often come within a hundredth of 0 or 1, which raw scores would pass."""
    values = np.concatenate([trace.get("d_real"), trace.get("d_fake_before")])
    values = values[np.isfinite(values)]
    at_end = np.minimum(values, 1 - values) < 0.01
    return len(values) >= LEAST_ROWS and bool(at_end.mean() > 0.4)


def _probabilities(trace: Trace) -> bool:
    values = np.concatenate([trace.get("d_real"), trace.get("d_fake_before")])
    values = values[np.isfinite(values)]
    return len(values) > 0 and bool(((values >= 0) & (values <= 1)).all())


def _real_fake_loss(trace: Trace, probabilities: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """D's mean outputs on real and fake, and its loss."""
    # Both halves, as far as the trace itself says how they are printed.
    loss = summed_loss(trace, 2.0 if trace.d_loss_is_mean else 1.0)
    if probabilities:
        return trace.get("d_real"), trace.get("d_fake_before"), loss
    real = _first(trace, "real_logit_mean", "d_real")
    return real, _first(trace, "fake_logit_mean", "d_fake_before"), loss


def _labels_flipped(trace: Trace) -> bool:
    """Whether BCE fits with real images asked for 0 and fake ones for 1, and not the other way.

    D then scores real images below fake ones. Squares are no rival to the sum of halves: a D that
    is so wrong under them that its loss is that of a BCE which is right is far worse than one that
    knows nothing. To the mean of halves they are, and must be impossible.
    """
    real, fake, loss = _real_fake_loss(trace, True)
    known = np.isfinite(real) & np.isfinite(fake) & np.isfinite(loss)
    if known.sum() < LEAST_ROWS:
        return False
    real, fake, loss = real[known], fake[known], loss[known]
    as_usual = least_of_probabilities(real, fake)["non-saturating"]
    if ((real < fake) & (loss < as_usual * (1 - TOLERANCE))).mean() < EXPLAINS:
        return False
    exchanged = least_of_probabilities(1 - real, 1 - fake)["non-saturating"]
    sums = fit(loss, exchanged)
    if sums.possible and sums.distance < NEAR:
        return True
    squares = least_of_probabilities(real, fake)["lsgan"]
    no_squares = (loss < squares * (1 - TOLERANCE)).mean() >= EXPLAINS
    return bool(no_squares) and _only_as_mean(trace, loss, exchanged)


def _from_probabilities(trace: Trace) -> Inferred:
    """From outputs in [0, 1]: D's loss over the least that BCE would be at these outputs.

    Under BCE the ratio is 1 or a little more, by the spread over the batch; squares are far less.
    """
    real, fake, loss = _real_fake_loss(trace, True)
    if mostly_below_zero(trace):
        known = np.isfinite(real - fake + loss)
        if known.any() and (loss >= fake - real - PRINTED)[known].mean() >= EXPLAINS:
            return Inferred(
                "wgan", "D's loss is below 0, and not below its mean scores' difference"
            )
        return Inferred(UNKNOWN, "D's loss is below 0, which its outputs in [0, 1] do not explain")
    if _labels_flipped(trace):
        how = "D's outputs lie in [0, 1], lower on real images, and D's loss is that of BCE with "
        how += "the labels flipped (real 0, fake 1)"
        least = least_of_probabilities(1 - real, 1 - fake)["non-saturating"]
        known = np.isfinite(least) & np.isfinite(loss)
        is_mean = bool(known.any()) and _only_as_mean(trace, loss[known], least[known])
        return Inferred("non-saturating", f"{how}; {MEAN}" if is_mean else how, is_mean, True)
    leasts = least_of_probabilities(real, fake)
    least = leasts["non-saturating"]
    # Outputs that round to 0 or 1 bound nothing.
    known = np.isfinite(least) & np.isfinite(loss) & (least > 0)
    if known.sum() < LEAST_ROWS:
        return Inferred(
            UNKNOWN, "D's outputs lie in [0, 1], but there are too few losses beside them"
        )
    loss, least, squares = loss[known], least[known], leasts["lsgan"][known]
    ratio = float(np.median(loss / least))
    if ratio < SQUARES_RATIO:
        if _is_mean_of_bce(trace, loss, least, squares, (1 - real + fake)[known]):
            how = f"D's loss is {ratio:.2f} of what BCE would be at these outputs (median), and no "
            return Inferred("non-saturating", f"{how}squares: {MEAN}", is_mean=True)
        how = f"D's loss is {ratio:.2f} of what BCE would be at these outputs (median): squares"
        is_mean = _only_as_mean(trace, loss, squares)
        end = f"; {MEAN}" if is_mean else ""
        if _pinned(trace):
            how += f", and its outputs end at 0 and 1: probabilities{end}"
            return Inferred("lsgan-on-sigmoid", how, is_mean)
        return Inferred("lsgan", f"{how} of outputs that are not pinned to 0 or 1{end}", is_mean)
    if ratio <= BCE_RATIO:
        return Inferred(
            "non-saturating",
            "D's outputs lie in [0, 1], and D's loss is that of BCE at these outputs "
            f"(median ratio {ratio:.2f})",
        )
    return Inferred(UNKNOWN, "D's outputs lie in [0, 1], but its loss fits neither BCE nor squares")


def _is_mean_of_bce(
    trace: Trace, loss: np.ndarray, least: np.ndarray, squares: np.ndarray, most: np.ndarray
) -> bool:
    """Whether losses are the mean of BCE's halves, and not squares of probabilities.

    `squares` is the least that squares can be, `most` the most (where every output is 0 or 1).
    """
    if not _only_as_mean(trace, loss, least):
        return False
    as_mean, as_squares = fit(2 * loss, least), fit(loss, squares)
    too_large = (loss > most * (1 + TOLERANCE) + PRINTED).mean()
    if not as_squares.possible or too_large > 1 - EXPLAINS:
        return True
    nearer = as_mean.distance < as_squares.distance / 2
    return nearer and (as_squares.distance > NEAR or as_mean.farthest < TIGHT)


def _from_scores(trace: Trace) -> Inferred:
    """From D's mean scores on real and fake and its losses.

    Of the objectives whose least loss at these means is not above the printed one, the nearest.
    """
    real, fake, loss = _real_fake_loss(trace, False)
    known = np.isfinite(real) & np.isfinite(fake) & np.isfinite(loss)
    if known.sum() < LEAST_ROWS:
        return Inferred(UNKNOWN, "the log has no outputs of D beside its losses")
    real, fake, loss = real[known], fake[known], loss[known]
    difference = fake - real
    scale = np.median(np.abs(difference)) + 1e-6
    if np.median(np.abs(loss - difference)) < TOLERANCE * scale:
        return Inferred("wgan", "D's loss is the difference of its mean scores")
    leasts = least_of_scores(real, fake)
    # Where D is at chance all of them are alike.
    all_leasts = np.array(list(leasts.values()))
    telling = all_leasts.max(axis=0) > 1.1 * all_leasts.min(axis=0) + PRINTED
    if telling.sum() < LEAST_ROWS:
        return Inferred(UNKNOWN, "D's outputs are too near to chance to tell the objective by")
    fits = _fits_of_scores(trace, loss, leasts, telling)
    if not fits:
        return Inferred(UNKNOWN, "no known objective explains D's losses beside its outputs")
    ranked = sorted(fits, key=lambda candidate: fits[candidate])
    best = fits[ranked[0]]
    clear = len(ranked) == 1 or fits[ranked[1]] > max(1.5 * best, best + 0.1)
    name, is_mean = ranked[0]
    if clear and best < NEAR:
        others = ", ".join(other for other in leasts if (other, False) not in fits) or "none"
        if is_mean:
            how = f"D's losses fit half of what it asks at its mean outputs: {MEAN}"
            if name == "relativistic-average" and not trace.has("d_loss_real", "d_loss_fake"):
                how += ", or that of pairs (RpGAN), which is the same number"
            return Inferred(name, how, is_mean=True)
        how = f"D's losses fit its mean outputs best under it (ruled out: {others}"
        farther = ", ".join(f"the mean of {n}'s halves" if half else n for n, half in ranked[1:])
        return Inferred(name, f"{how}; farther off: {farther})" if farther else f"{how})")
    could_be = " or ".join(f"the mean of {n}'s halves" if half else n for n, half in ranked)
    return Inferred(UNKNOWN, f"D's losses and outputs could be {could_be}")


def _fits_of_scores(
    trace: Trace, loss: np.ndarray, leasts: dict[str, np.ndarray], telling: np.ndarray
) -> dict[tuple[str, bool], float]:
    """The distance of every objective that explains the losses, as a sum and as a mean."""

    def of(losses: np.ndarray, least: np.ndarray) -> Fit:
        """Possible over all rows, near in those where objectives differ."""
        near = fit(losses[telling], least[telling])
        return Fit(fit(losses, least).explained, near.distance, near.farthest)

    sums = {name: of(loss, least) for name, least in leasts.items()}
    fits = {(name, False): f.distance for name, f in sums.items() if f.possible}
    if trace.d_loss_is_mean and trace.has("d_loss"):
        return fits
    any_sum = bool(fits)
    for name, least in leasts.items():
        half = of(2 * loss, least)
        # The sum of one objective is often in the reach of another's mean.
        if sums[name].possible or half.explained < MEAN_EXPLAINS:
            continue
        if not any_sum or half.farthest < TIGHT:
            fits[name, True] = half.distance
    return fits


def _first(trace: Trace, *names: str) -> np.ndarray:
    for name in names:
        if trace.has(name):
            return trace.get(name)
    return trace.get(names[0])
