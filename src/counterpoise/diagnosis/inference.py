"""Which objective a log's numbers are of: every one that is known is weighed against D's outputs
and losses, and what is left is a probability for each, not a guess.

A row's numbers have a density under each way to read them: D's loss over the least that its mean
outputs allow (Jensen), else D's loss over its value at chance and G's loss beside the curve that
ties the two together. Rows of one training are alike, so only some count as if independent.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from counterpoise.diagnosis.loss_curves import (
    LEAST_FINITE,
    SHARE,
    SPREAD,
    densities_about_curve,
    factors,
    g_curve,
    g_has_more,
    mostly_below_zero,
    summed_loss,
)
from counterpoise.diagnosis.reading import WORTH_A_WORD, Reading, how_known
from counterpoise.objectives import OBJECTIVES, UNKNOWN, least_of_probabilities, least_of_scores
from counterpoise.programs import UNKNOWN_PROGRAM, Program
from counterpoise.spells import inside, last_digit
from counterpoise.trace import Trace

# A printed number may be off by this share of itself before it contradicts another.
TOLERANCE = 0.02
SINGLE = 1e-6  # what sums of probabilities in 32 bits are off by
PRINTED = 1e-5  # the last digit of a loss that people print, at the coarsest
MOST_ROWS = 200  # of longer logs about so many rows are looked at, evenly
# Rows that count, at most: with D's outputs, and with losses alone.
ROWS_OF_OUTPUTS, ROWS_OF_LOSSES = 20, 5
# Prior probabilities: that no objective of the table is meant, D's loss is the mean of its halves,
# has its sign turned, or has its labels exchanged; that G's loss has other terms or a weight; that
# what the program (or its layout) is known for is not so here.
NONE, MEAN, TURNED, FLIPPED, MORE, OTHERWISE = 0.09, 0.1, 0.03, 0.01, 0.06, 0.1
MISFIT = 0.01  # share of rows whose loss of G may be anything
ALONE = 2.5  # how much likelier the first of them is where there is D's loss alone
MEAN_BY_PROGRAM = 0.85  # the same prior, where the program is known to print the mean
# Densities, over the log of D's loss: of a number that says nothing, and the least of a row.
BROAD, FLOOR = 0.1, 3e-3
# How fast density falls with D's loss over the least of its outputs, under it (as numbers of other
# moments may be), and over its chance.
SHARP, SHARPER, ABOVE_CHANCE = 2.0, 4.0, 3.0
# D's loss on fakes, over that of both halves at chance, from which on G's loss shows D fooled.
FOOLED = 2.0
EXACT = 20.0  # the density of a loss that is its outputs' to the last digit
MARGINS = 0.1  # what hinge leaves where the mean outputs are beyond their margins
UNLIKELY = -12.0  # the log likelihood of what needs another loss of G than is common
ROUNDED = 0.05  # share by which, and of the lines in which, a loss may be lower than it can be
IMPOSSIBLE = -60.0  # the log likelihood of what is not so, but for a slip of the printing
LIKELY = 0.95  # the probability of what is taken for so
SURELY_APART = 0.9  # D(x) over D(G(z)) of a D that is certain
NOT_KNOWN = np.array(np.nan)
ALONG = 0.1  # of what D's loss moves, the least that G's does where it is near 0, but under BCE
OF_A_CRITIC = 3.0  # the spread of G's loss there: a critic's scores may be anywhere


def infer(trace: Trace, program: Program = UNKNOWN_PROGRAM, given: str = "") -> tuple[Reading, ...]:
    """The likely ways to read a trace, likeliest first, one where that is as good as certain; their
    probabilities add up to 1.

    `given`: who says what the trace's objective is, in words; "" where it follows from the layout.
    """
    numbers = _Numbers(trace, program)
    says = trace.objective if given else None
    if says == "lsgan" and numbers.are_probabilities and numbers.are_pinned:
        says = "lsgan-on-sigmoid"
        given = "the run says least squares, and D's outputs end at 0 and 1"
    names = (says,) if says else (*OBJECTIVES, UNKNOWN)
    if not says and program.objectives == (UNKNOWN,):
        names = (UNKNOWN,)  # whatever the numbers look like
    readings = [each for name in names for each in numbers.readings(name)]
    known = (trace.objective,) if trace.objective else program.objectives
    logs = [_log_prior(each, known, program) + numbers.log_likelihood(each) for each in readings]
    weights = np.exp(np.array(logs) - max(logs))
    shares = weights / weights.sum()
    ranked = sorted(zip(shares, readings, strict=True), key=lambda pair: -pair[0])
    evidence = how_known(ranked, given, numbers.source(), program)
    if ranked[0][0] >= LIKELY:
        ranked = ranked[:1]
    likely = [each for each in ranked if each[0] >= WORTH_A_WORD]
    total = sum(share for share, _ in likely)
    return tuple(
        dataclasses.replace(reading, probability=float(share / total), evidence=evidence)
        for share, reading in likely
    )


def _log_prior(reading: Reading, known: Sequence[str], program: Program) -> float:
    rows = OBJECTIVES.values()
    total = sum(row.prior for row in rows)
    name = reading.objective
    share = NONE if name == UNKNOWN else (1 - NONE) * OBJECTIVES[name].prior / total
    if known:
        # Each that the program offers is a third as common as the one before it.
        of_program = {each: 3.0**-place for place, each in enumerate(known)}
        own = of_program.get(name, 0.0) / sum(of_program.values())
        otherwise = OTHERWISE if len(known) > 2 else OTHERWISE / 10  # known for few
        share = otherwise * share + (1 - otherwise) * own
    # ESRGAN's loop, which most others of such a loss are from, prints the mean.
    mean = 0.5 if name == "relativistic-average" else MEAN
    if program.d_loss_is_mean:
        mean = MEAN_BY_PROGRAM
    odds = (reading.is_mean, mean), (reading.is_turned, TURNED), (reading.labels_flipped, FLIPPED)
    return float(np.log(share) + sum(np.log(odd if yes else 1 - odd) for yes, odd in odds))


class _Numbers:
    """A trace's outputs of D and losses, and how they look under an objective."""

    def __init__(self, trace: Trace, program: Program) -> None:
        outputs = np.concatenate([trace.get("d_real"), trace.get("d_fake_before")])
        outputs = outputs[np.isfinite(outputs)]
        self.are_probabilities = trace.has("d_real", "d_fake_before") and inside(outputs, 0, 1)
        # Whether they often come within a hundredth of 0 or 1, which raw scores would pass.
        at_end = np.minimum(outputs, 1 - outputs) < 0.01
        self.are_pinned = len(outputs) >= LEAST_FINITE and bool(at_end.mean() > 0.4)
        # As no losses are that go by the names of outputs: those of a certain D are both near 0.
        apart = trace.get("d_real") - trace.get("d_fake_before")
        is_apart = self.are_probabilities and float(np.nanmedian(apart)) > SURELY_APART
        self._are_certain = self.are_pinned and is_apart
        # Both halves, as far as the trace itself says how they are printed; whoever prints the mean
        # of the halves prints halves themselves as they are.
        own = trace if trace.has("d_loss") else program
        self._says_mean = own.d_loss_is_mean
        self._below_zero = mostly_below_zero(trace)
        logits = ("", "") if self.are_probabilities else ("real_logit_mean", "fake_logit_mean")
        real = trace.first(logits[0], "d_real")
        fake = trace.first(logits[1], "d_fake_before")
        count = program.discriminators
        loss = summed_loss(trace, *factors(trace, Reading(""), program))
        g_loss = trace.first("g_adversarial", "g_loss") / count
        finite = np.isfinite([real, fake, loss]).all(axis=0)
        self._has_outputs = finite.sum() >= LEAST_FINITE
        rows = np.flatnonzero(finite if self._has_outputs else np.isfinite(loss))
        rows = rows[:: max(1, len(rows) // MOST_ROWS)]
        self._real, self._fake, self._loss = real[rows], fake[rows], loss[rows]
        self._g_loss = g_loss[rows]
        self._half_fake, self._has_sum = trace.get("d_loss_fake")[rows] / count, trace.has("d_loss")
        has_known = bool(np.isfinite(self._g_loss).any())
        self._has_pair = has_known and not g_has_more(trace, program)
        self._digit = min(PRINTED, last_digit(self._loss))
        # Sums and means of what is never below 0 are not, nor below half of any, but for rounding.
        halves = np.fmax(trace.get("d_loss_real")[rows] / count, self._half_fake)
        least = np.fmax(0.0, (1 - ROUNDED) * halves / 2) - self._digit / 2
        self._is_difference = len(rows) > 0 and bool((self._loss < least).mean() > ROUNDED)
        self._digits = last_digit(self._real), last_digit(self._fake)

    def source(self) -> str:
        """What an objective is inferred from, in words."""
        if self._has_outputs:
            return "by D's loss beside D's outputs"
        if self._has_pair:
            return "by D's and G's losses beside each other"
        if len(self._loss):
            return "by D's loss alone"
        return "by D's outputs alone" if self._are_certain else "by nothing but what is common"

    def readings(self, name: str) -> list[Reading]:
        """The ways to read this log's numbers under an objective that are worth weighing."""
        if name == UNKNOWN:
            return [Reading(name)]
        objective = OBJECTIVES[name]
        # Of a relativistic hinge nobody prints the mean, which any pair of losses near 1 would be.
        has_means = objective.has_halves and name != "relativistic-hinge"
        may_be_mean = has_means and not self._says_mean
        may_be_turned = name == "non-saturating" and self._below_zero
        may_be_flipped = objective.smoothing_slope == 1 and self.are_probabilities
        may_be = may_be_mean, may_be_turned, may_be_flipped
        flags = itertools.product(*((False, True) if each else (False,) for each in may_be))
        # Minus D's loss is within its range.
        most = 1.1 * objective.equilibrium_d_loss
        return [
            Reading(name, mean, turned, flipped)
            for mean, turned, flipped in flags
            if not turned or (1 + mean) * np.quantile(-self._loss, 0.9) < most
        ]

    def log_likelihood(self, reading: Reading) -> float:
        """The log of how well these numbers go with a reading, up to a constant."""
        alone = np.log(ALONE) if reading.objective == UNKNOWN and not self._has_pair else 0.0
        if not len(self._loss):
            # Outputs alone tell it where they end at 0 and 1, and are certain there.
            return float(alone) + (self._of_range(reading) if self._are_certain else 0.0)
        if self._is_difference and reading.facts.d_loss_reaches_zero and not reading.is_turned:
            alone += IMPOSSIBLE
        # Of these G's loss is below 0 only in its minimax form, or with other terms in it.
        is_positive = reading.facts.has_sigmoid or reading.objective == "lsgan"
        if is_positive and (self._g_loss < -PRINTED).mean() > ROUNDED:
            alone += UNLIKELY
        loss = self._loss * (2.0 if reading.is_mean else 1.0) * (-1.0 if reading.is_turned else 1.0)
        if self._has_outputs:
            least = min(ROWS_OF_OUTPUTS, len(loss))
            return (
                alone
                + least * float(self._of_outputs(reading, loss).mean())
                + self._of_range(reading)
            )
        return float(alone) + self._of_losses(reading, loss)

    def _of_range(self, reading: Reading) -> float:
        """What it says that D's outputs lie in [0, 1], or end there."""
        name = reading.objective
        if name == UNKNOWN:
            return 0.0
        if not self.are_probabilities:
            return IMPOSSIBLE if name == "lsgan-on-sigmoid" else 0.0
        if name in ("lsgan", "lsgan-on-sigmoid"):
            return 2.5 if self.are_pinned == (name == "lsgan-on-sigmoid") else -2.5
        # Raw scores would leave [0, 1] now and then; a critic's may be clipped.
        is_clipped = name == "wgan" and self._below_zero
        return 0.0 if reading.facts.has_probability or is_clipped else IMPOSSIBLE

    def _of_outputs(self, reading: Reading, loss: np.ndarray) -> np.ndarray:
        """The log density of each row's loss at its outputs."""
        real, fake, name = self._real, self._fake, reading.objective
        if name == UNKNOWN:
            return np.full(len(loss), np.log(BROAD))
        if reading.labels_flipped:
            real, fake = 1 - real, 1 - fake
        if name == "wgan":
            difference = fake - real
            above = (loss - difference) / (np.median(np.abs(difference)) + 1e-6)
            density = np.where(above > 0, 0.5 * np.exp(-np.minimum(above, 50)), 0.05)
            density = np.where(np.abs(above) < TOLERANCE, 5.0, density)
            # No penalty is all along as large as a distance that is no small one.
            density = np.where((loss > 0) & (difference < -1), 0.0, density)
            # Printed halves are the mean scores themselves, whatever penalty comes on top.
            density = np.where(np.abs(self._half_fake - fake) > np.abs(fake) / 2, 0.0, density)
            return np.log(density + FLOOR)
        if name == "linear-on-sigmoid":
            # Means of what is linear: no spread comes between. Near 0 and 1 others are so, too.
            least, linear = least_of_probabilities(real, fake), 1 - real + fake
            is_own = (
                np.min([np.abs(linear - other) for other in least.values()], axis=0) > TOLERANCE
            )
            exact = np.abs(loss - linear) <= self._digit + sum(self._digits)
            # Means over an epoch may be of batches of other sizes, and of 32 bits.
            off = np.abs(np.diff(np.log(np.maximum([loss, linear], SINGLE)), axis=0)[0])
            return np.log(np.where(exact & is_own, EXACT, SHARP * np.exp(-SHARPER * off)) + FLOOR)
        # Outputs are rounded, and so is what the loss is at least: anything within that fits.
        of = least_of_probabilities if self.are_probabilities else least_of_scores
        if name not in of(real, fake):
            of = least_of_scores
        if name not in of(real, fake):  # an objective that is new
            return self._of_level(reading, loss)
        ends = (0, 1) if self.are_probabilities else (-np.inf, np.inf)
        leasts = []
        for way in (-0.5, 0.0, 0.5):
            outputs = real + way * self._digits[0], fake - way * self._digits[1]
            leasts.append(np.minimum(of(*(np.clip(each, *ends) for each in outputs))[name], 1e9))
        low, high = np.min(leasts, axis=0), np.max(leasts, axis=0)
        near = np.clip(loss, low, high) + self._digit
        if name == "hinge":
            near = np.where(loss > MARGINS, np.maximum(near, MARGINS), near)
        excess = np.log(np.maximum(loss + self._digit, 1e-12) / near)
        density = SHARP * np.exp(-np.where(excess > 0, SHARP, SHARPER) * np.abs(excess))
        if self.are_probabilities and name.startswith("lsgan"):
            # Squares are largest where every output is 0 or 1, and may be anywhere below that.
            most = np.clip(1 - real + fake, 0, 2) + self._digit
            anywhere = 1 / (1 + np.maximum(np.log(most / near), 0))
            density = np.where(excess > 0, np.maximum(density, anywhere), density)
            density = np.where(loss > most * (1 + TOLERANCE), 0.0, density)
        # A D that is steadily worse than chance is seldom meant.
        worse = np.log(np.maximum(loss, 1e-12) / reading.facts.equilibrium_d_loss) - 0.25
        return np.asarray(np.log(density + FLOOR) - 2 * np.clip(worse, 0, 1.5))

    def _of_losses(self, reading: Reading, loss: np.ndarray) -> float:
        """The log density of D's losses and G's, where G's is its adversarial term or, as it rarely
        is, has another or a weight in it: then it says nothing of D's."""
        count = min(ROWS_OF_LOSSES, len(np.unique(loss)))
        alone = count * float(np.mean(self._of_level(reading, loss)))
        if not self._has_pair:
            return alone
        level = count * float(np.mean(self._of_level(reading, loss, self._g_loss)))
        better = self._of_pair(reading, loss)
        return float(np.logaddexp(np.log(1 - MORE) + level + better, np.log(MORE) + alone))

    def _of_level(
        self, reading: Reading, loss: np.ndarray, g_loss: np.ndarray = NOT_KNOWN
    ) -> np.ndarray:
        """The log density of each row's loss of D, without its outputs: anywhere below its value at
        chance, seldom far above but where D is fooled, often just there where G's loss is, too."""
        if reading.objective == UNKNOWN:
            return np.log(np.where(loss > 0, BROAD, BROAD / 5))
        objective = reading.facts
        chance = objective.equilibrium_d_loss
        if not objective.d_loss_reaches_zero:
            # No critic scores real and fake images alike to the last digit, line after line.
            return np.log(np.where((loss > 0) | (not loss.any()), BROAD / 5, BROAD))
        above = np.log(np.maximum(loss, 1e-12) / chance)
        density = BROAD * np.exp(-ABOVE_CHANCE * np.maximum(above - 0.15, 0))
        g_chance = float(g_curve(reading, np.array([chance]))[0])
        of_g = np.nan_to_num(np.abs(g_loss - g_chance) / (g_chance * SHARE or 1.0))
        density += 0.8 * np.exp(-np.abs(above) / 0.03 - of_g)
        # Where G's loss says that D takes fakes for real, D's loss may be large.
        fooled = objective.fooled_half(g_loss) > np.maximum(loss / 2, FOOLED * chance)
        density = np.where(fooled, BROAD / 2, density)
        return np.asarray(np.log(np.where(loss < -1e-6, 0.0, density) + FLOOR / 10))

    def _of_pair(self, reading: Reading, loss: np.ndarray) -> float:
        """How much likelier G's losses are beside D's than any number."""
        known = np.isfinite(self._g_loss)
        halves = 2 * self._half_fake * (2.0 if reading.is_mean and not self._has_sum else 1.0)
        of_fakes = not reading.facts.compares_scores and bool(np.isfinite(halves[known]).all())
        loss = halves if of_fakes else loss
        loss, g_loss = loss[known], self._g_loss[known]
        stands = np.abs(g_loss).max() < SPREAD and g_loss.std() < ALONG * loss.std()
        if stands and reading.objective in ("hinge", "lsgan", "lsgan-on-sigmoid"):
            return UNLIKELY
        nothing = BROAD / np.maximum(np.abs(g_loss), 0.5)
        ways = [nothing]
        if reading.objective == "wgan":
            ways = [1 / (np.pi * OF_A_CRITIC * (1 + (g_loss / OF_A_CRITIC) ** 2))]
        elif reading.facts.g_loss_at is not None:
            ways = densities_about_curve(reading, loss, g_loss, of_fakes=of_fakes)
        rows = np.log((1 - MISFIT) * np.array(ways) / nothing + MISFIT)
        pairs = len(np.unique(np.stack([loss, g_loss]), axis=1).T)
        better = min(ROWS_OF_LOSSES, pairs) * rows.mean(axis=1)
        if reading.objective == "relativistic-hinge":
            # Losses that hardly move may add up to 4 by chance.
            moves = np.clip(loss.std() / (2 * SPREAD), 1 / ROWS_OF_LOSSES, 1)
            better = np.minimum(better, better * moves)
        return float(np.logaddexp.reduce(better) - np.log(len(ways)))
