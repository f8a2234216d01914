"""Infers from a log's numbers which objective they are of: one that explains them where no other
does so nearly as well."""

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from counterpoise.objectives import UNKNOWN
from counterpoise.trace import Trace

# A printed number may be off by this share of itself before it contradicts another.
TOLERANCE = 0.02
# Share of rows that an objective must explain to be taken for the log's.
EXPLAINS = 0.9
PRINTED = 1e-5  # the last digit of a loss that people print, at the coarsest
# D's loss over the least that BCE allows at its outputs: squares are below the first, and above the
# second it is no BCE, not even a doubled one.
SQUARES_RATIO, BCE_RATIO = 0.7, 5.0
NEAR = math.log(2)  # a fit is near within a factor of 2
# To be taken for the mean of an objective's halves: the share of rows that it must explain, and how
# near it must be in most rows where a sum would do as well.
MEAN_EXPLAINS, TIGHT = 0.97, 0.1
LEAST_ROWS = 3  # rows that must speak before an objective is inferred

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
    numbers, below_zero = _Numbers(trace), mostly_below_zero(trace)
    if trace.objective is not None:
        found = _given(numbers, trace.objective)
    elif numbers.are_probabilities:
        found = _from_negatives(numbers) if below_zero else _from_probabilities(numbers)
    else:
        found = _from_scores(numbers)
        if found.objective == UNKNOWN and below_zero:
            found = Inferred("wgan", "D's loss is below 0, which no other objective allows")
    evidence = f"{found.evidence}; {MEAN}" if found.is_mean else found.evidence
    return dataclasses.replace(found, evidence=evidence)


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


class _Numbers:
    """D's mean outputs and its loss, in the rows that have all of them."""

    def __init__(self, trace: Trace) -> None:
        outputs = np.concatenate([trace.get("d_real"), trace.get("d_fake_before")])
        outputs = outputs[np.isfinite(outputs)]
        inside = bool(((outputs >= 0) & (outputs <= 1)).all())
        self.are_probabilities = trace.has("d_real", "d_fake_before") and inside
        # Whether they often come within a hundredth of 0 or 1, which raw scores would pass.
        at_end = np.minimum(outputs, 1 - outputs) < 0.01
        self.are_pinned = len(outputs) >= LEAST_ROWS and bool(at_end.mean() > 0.4)
        # Both halves, as far as the trace itself says how they are printed.
        self.says_mean = trace.d_loss_is_mean and trace.has("d_loss")
        logits = ("", "") if self.are_probabilities else ("real_logit_mean", "fake_logit_mean")
        columns = [
            trace.first(logits[0], "d_real"),
            trace.first(logits[1], "d_fake_before"),
            summed_loss(trace, 2.0 if trace.d_loss_is_mean else 1.0),
        ]
        finite = np.isfinite(columns).all(axis=0)
        self.real, self.fake, self.loss = (column[finite] for column in columns)
        self.are_few = len(self.loss) < LEAST_ROWS
        # The least that D's loss can be at its outputs, by objective.
        of = least_of_probabilities if self.are_probabilities else least_of_scores
        self.leasts = of(self.real, self.fake)

    def only_as_mean(self, least: np.ndarray) -> bool:
        """Whether D's losses are nearly all too small for the sum of its halves, and fit their
        mean."""
        loss, least = self.loss[np.isfinite(least)], least[np.isfinite(least)]
        if self.says_mean or len(loss) < LEAST_ROWS:
            return False
        # By more than its rounding: outputs that are certain tell nothing.
        too_small = loss < least * (1 - TOLERANCE) - PRINTED
        return bool(too_small.mean() >= EXPLAINS) and fit(2 * loss, least).near

    def least_if_flipped(self) -> np.ndarray | None:
        """The least BCE with real images asked for 0 and fake ones for 1, where D's losses fit
        that and not the usual way; None elsewhere.

        D then scores real images below fake ones. Squares are no rival to the sum of halves: a D
        that is so wrong under them that its loss is that of a BCE which is right is far worse than
        one that knows nothing. To the mean of halves they are, and must be impossible.
        """
        if self.are_few or not self.are_probabilities:
            return None
        too_small = self.loss < self.leasts["non-saturating"] * (1 - TOLERANCE)
        if ((self.real < self.fake) & too_small).mean() < EXPLAINS:
            return None
        exchanged = least_of_probabilities(1 - self.real, 1 - self.fake)["non-saturating"]
        no_squares = self.loss < self.leasts["lsgan"] * (1 - TOLERANCE)
        as_mean = no_squares.mean() >= EXPLAINS and self.only_as_mean(exchanged)
        return exchanged if as_mean or fit(self.loss, exchanged).near else None


def _given(numbers: _Numbers, objective: str) -> Inferred:
    """The objective that is said, and how D's loss is printed."""
    how = "given, or written in the run's own configuration"
    exchanged = numbers.least_if_flipped() if objective == "non-saturating" else None
    if objective == "lsgan" and numbers.are_probabilities and numbers.are_pinned:
        how = "the run says least squares, and D's outputs end at 0 and 1"
        objective = "lsgan-on-sigmoid"
    flipped = exchanged is not None
    least = exchanged if flipped else numbers.leasts.get(objective)
    is_mean = least is not None and numbers.only_as_mean(least)
    return Inferred(objective, how, is_mean, flipped)


def _from_negatives(numbers: _Numbers) -> Inferred:
    """From outputs in [0, 1] beside losses below 0."""
    explained = numbers.loss >= numbers.fake - numbers.real - PRINTED
    if len(explained) and explained.mean() >= EXPLAINS:
        return Inferred("wgan", "D's loss is below 0, as its mean scores' difference may be")
    return Inferred(UNKNOWN, "D's loss is below 0, which its outputs in [0, 1] do not explain")


def _from_probabilities(numbers: _Numbers) -> Inferred:
    """From outputs in [0, 1]: D's loss over the least that BCE would be there, which is 1 or a
    little more under BCE, by the spread over the batch, and far less for squares."""
    if (exchanged := numbers.least_if_flipped()) is not None:
        how = "D's loss is that of BCE at its outputs with the labels flipped (real 0, fake 1)"
        return Inferred("non-saturating", how, numbers.only_as_mean(exchanged), True)
    # Outputs that round to 0 or 1 bound nothing.
    least = np.where(numbers.leasts["non-saturating"] > 0, numbers.leasts["non-saturating"], np.inf)
    bounded = np.isfinite(least)
    if bounded.sum() < LEAST_ROWS:
        return Inferred(UNKNOWN, "D's outputs lie in [0, 1], with too few losses beside them")
    ratio = float(np.median(numbers.loss[bounded] / least[bounded]))
    how = f"D's loss is {ratio:.2f} of the least that BCE would be at its outputs (median)"
    if ratio > BCE_RATIO:
        return Inferred(UNKNOWN, f"{how}, which fits neither BCE nor squares")
    if ratio >= SQUARES_RATIO:
        return Inferred("non-saturating", how)
    squares = np.where(bounded, numbers.leasts["lsgan"], np.inf)
    if numbers.only_as_mean(least) and _no_squares(numbers, bounded, least, squares):
        return Inferred("non-saturating", f"{how}, and no squares", is_mean=True)
    name, ends = ("lsgan-on-sigmoid", "pinned") if numbers.are_pinned else ("lsgan", "not pinned")
    how += f": squares of outputs {ends} to 0 or 1"
    return Inferred(name, how, numbers.only_as_mean(squares))


def _no_squares(
    numbers: _Numbers, bounded: np.ndarray, bce: np.ndarray, squares: np.ndarray
) -> bool:
    """Whether losses that may be the mean of BCE's halves are not squares of probabilities, by the
    least that each can be."""
    loss = numbers.loss[bounded]
    as_mean, as_squares = fit(2 * loss, bce[bounded]), fit(loss, squares[bounded])
    # The most that squares can be: every output is 0 or 1.
    most = (1 - numbers.real + numbers.fake)[bounded]
    too_large = (loss > most * (1 + TOLERANCE) + PRINTED).mean()
    if not as_squares.possible or too_large > 1 - EXPLAINS:
        return True
    nearer = as_mean.distance < as_squares.distance / 2
    return nearer and (as_squares.distance > NEAR or as_mean.farthest < TIGHT)


def _from_scores(numbers: _Numbers) -> Inferred:
    """From D's mean scores and its losses: of the objectives whose least loss at these means is not
    above the printed one, the nearest."""
    if numbers.are_few:
        return Inferred(UNKNOWN, "the log has no outputs of D beside its losses")
    difference = numbers.fake - numbers.real
    scale = np.median(np.abs(difference)) + 1e-6
    if np.median(np.abs(numbers.loss - difference)) < TOLERANCE * scale:
        return Inferred("wgan", "D's loss is the difference of its mean scores")
    # Where D is at chance all of them are alike.
    leasts = np.array(list(numbers.leasts.values()))
    telling = leasts.max(axis=0) > 1.1 * leasts.min(axis=0) + PRINTED
    if telling.sum() < LEAST_ROWS:
        return Inferred(UNKNOWN, "D's outputs are too near to chance to tell the objective by")
    fits = _fits_of_scores(numbers, telling)
    if not fits:
        return Inferred(UNKNOWN, "no known objective explains D's losses beside its outputs")
    ranked = sorted(fits, key=lambda candidate: fits[candidate])
    names = [f"the mean of {name}'s halves" if half else name for name, half in ranked]
    best = fits[ranked[0]]
    clear = len(ranked) == 1 or fits[ranked[1]] > max(1.5 * best, best + 0.1)
    if not clear or best >= NEAR:
        return Inferred(UNKNOWN, f"D's losses and outputs could be {' or '.join(names)}")
    name, is_mean = ranked[0]
    farther = f" (farther off: {', '.join(names[1:])})" if names[1:] else ""
    return Inferred(name, f"D's losses fit its mean outputs best under it{farther}", is_mean)


def _fits_of_scores(numbers: _Numbers, telling: np.ndarray) -> dict[tuple[str, bool], float]:
    """The distance of every objective that explains the losses, as a sum and as a mean."""
    sums = {name: fit(numbers.loss, least, telling) for name, least in numbers.leasts.items()}
    fits = {(name, False): f.distance for name, f in sums.items() if f.possible}
    if numbers.says_mean:
        return fits
    any_sum = bool(fits)
    for name, least in numbers.leasts.items():
        half = fit(2 * numbers.loss, least, telling)
        # The sum of one objective is often in the reach of another's mean.
        if sums[name].possible or half.explained < MEAN_EXPLAINS:
            continue
        if not any_sum or half.farthest < TIGHT:
            fits[name, True] = half.distance
    return fits


def bce_at_mean(real: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least BCE halves that go with mean outputs D(x) and D(G(z))."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return -np.log(real), -np.log1p(-fake)


def least_of_probabilities(real: np.ndarray, fake: np.ndarray) -> dict[str, np.ndarray]:
    """The least sums of D's halves by objective, at mean outputs in [0, 1]."""
    squares = (real - 1) ** 2 + fake**2
    return {
        "non-saturating": np.sum(bce_at_mean(real, fake), axis=0),
        "lsgan": squares,
        "lsgan-on-sigmoid": squares,
    }


def least_of_scores(real: np.ndarray, fake: np.ndarray) -> dict[str, np.ndarray]:
    """The least sums of D's halves by objective, at mean outputs before any sigmoid."""
    with np.errstate(invalid="ignore"):
        return {
            "non-saturating": np.logaddexp(0, -real) + np.logaddexp(0, fake),
            "lsgan": (real - 1) ** 2 + fake**2,
            "hinge": np.maximum(1 - real, 0) + np.maximum(1 + fake, 0),
            "relativistic-average": np.logaddexp(0, fake - real) * 2,
        }


def last_digit(values: np.ndarray) -> float:
    """The last digit that a column was printed with, 1e-12 at the finest."""
    for digits in range(12):
        if np.allclose(values, np.round(values, digits), rtol=0, atol=1e-13):
            return float(10.0**-digits)
    return 1e-12


@dataclass(frozen=True)
class Fit:
    """How losses fit the least that an objective allows."""

    explained: float  # the share of rows that are not below it
    distance: float  # the median of |log(loss / least)|
    farthest: float  # what that is not above in most rows

    @property
    def possible(self) -> bool:
        """Whether only a few rows speak against it."""
        return self.explained >= EXPLAINS

    @property
    def near(self) -> bool:
        """Whether it is possible, and within a factor of 2."""
        return self.possible and self.distance < NEAR


def fit(loss: np.ndarray, least: np.ndarray, telling: np.ndarray | None = None) -> Fit:
    """How D's losses fit the least that an objective allows beside them (all finite, not empty):
    explained over all rows, near in those that are `telling`."""
    ok = loss >= least * (1 - TOLERANCE) - min(PRINTED, last_digit(loss))
    if telling is not None:
        loss, least = loss[telling], least[telling]
    printed = min(PRINTED, last_digit(loss))
    with np.errstate(invalid="ignore", divide="ignore"):
        distances = np.abs(np.log((loss + printed) / (least + printed)))
    distances = np.nan_to_num(distances, nan=np.inf)
    return Fit(
        explained=float(ok.mean()),
        distance=float(np.median(distances)),
        # No interpolation: distances may be infinite.
        farthest=float(np.quantile(distances, EXPLAINS, method="higher")),
    )
