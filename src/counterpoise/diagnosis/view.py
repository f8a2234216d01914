"""A trace as the rules see it: columns under one meaning, whatever log they came from."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from counterpoise.diagnosis.inference import bce_at_mean, mostly_below_zero, summed_loss
from counterpoise.diagnosis.windows import Spell, smooth
from counterpoise.objectives import OBJECTIVES, UNKNOWN, Objective
from counterpoise.trace import Trace

# D's labels on real images where they are smoothed: the least that anybody asks for, how near D's
# loss is then to such a label's (in log units), how far above that of a label of 1, and how still
# D(x) holds in most rows.
LEAST_LABEL = 0.75
LIKE_THE_LABEL, ABOVE_PLAIN = 0.2, 1.4
STILL = 0.03
RIGHT = 0.95  # the accuracy that such a D has at least, where the log has one


@dataclass(frozen=True)
class View:
    """What rules look at: made by `interpretation.interpret`. All columns are (rows,), NaN where
    nothing is known."""

    # As far as rules may go by it: without lines in which there was no D yet, outputs as if real
    # images were asked for 1.
    trace: Trace
    objective_name: str  # a name of `OBJECTIVES`, or "unknown"
    objective_evidence: str  # how it is known
    d_loss_factor: float = 1.0  # what makes the printed `d_loss` the sum of D's two halves
    half_factor: float = 1.0  # the same for `d_loss_real` and `d_loss_fake`
    loss_says_nothing: str = ""  # why D is not judged by its loss; empty where it is
    notes: tuple[str, ...] = ()  # what a person must know about all that

    @property
    def objective(self) -> Objective | None:
        """None where it is unknown."""
        return None if self.objective_name == UNKNOWN else OBJECTIVES[self.objective_name]

    @cached_property
    def is_critic(self) -> bool:
        """Whether D's loss is a difference of scores, or looks like one whatever is said."""
        return self.objective_name == "wgan" or mostly_below_zero(self.trace)

    @property
    def rows(self) -> int:
        return len(self.trace)

    @property
    def steps(self) -> np.ndarray:
        return self.trace.steps

    @property
    def whole(self) -> Spell:
        """All rows."""
        return Spell(0, max(0, self.rows - 1))

    @cached_property
    def window(self) -> int:
        """How many rows a smoothed value stands for."""
        return int(np.clip(round(self.rows / 12), 3, 200))

    def smoothed(self, values: np.ndarray) -> np.ndarray:
        """The moving mean over this view's window."""
        return smooth(values, self.window)

    def lasts(self, spell: Spell) -> bool:
        """Whether a spell goes on to the end of the log."""
        return spell.last >= self.rows - 1 - self.window // 2

    def is_over(self, spell: Spell) -> bool:
        """Whether a spell ended in the first half of the log: it passed, and did not come back."""
        return spell.last < self.rows // 2

    @cached_property
    def real_probability(self) -> np.ndarray:
        """D(x) as a probability, where the objective has one."""
        return self._probability("d_real", "real_logit_mean")

    @cached_property
    def fake_probability(self) -> np.ndarray:
        """D(G(z)) before D's update as a probability, where the objective has one."""
        return self._probability("d_fake_before", "fake_logit_mean")

    def _probability(self, output: str, logit: str) -> np.ndarray:
        if self.objective is None or not self.objective.has_probability:
            return self._nothing
        values = self.trace.get(output)
        known = values[np.isfinite(values)]
        if len(known) and ((known >= 0) & (known <= 1)).all():
            return values
        with np.errstate(over="ignore"):
            probability: np.ndarray = 1 / (1 + np.exp(-self.trace.get(logit)))
            return probability

    @property
    def _nothing(self) -> np.ndarray:
        return np.full(self.rows, np.nan)

    @property
    def score_gap(self) -> np.ndarray:
        """D's mean score on real images above that on fake ones."""
        real = self.trace.first("real_logit_mean", "d_real")
        gap: np.ndarray = real - self.trace.first("fake_logit_mean", "d_fake_before")
        return gap

    @property
    def halves_are_summed(self) -> str:
        """What is said beside D's loss where the log gives the mean of its two halves."""
        is_mean = self.d_loss_factor != 1 or self.half_factor != 1
        return ", twice the mean of its halves that is printed" if is_mean else ""

    @cached_property
    def loss_in_log(self) -> np.ndarray:
        """D's loss, both halves summed, whether it says anything of D or not."""
        return summed_loss(self.trace, self.d_loss_factor, self.half_factor)

    @cached_property
    def d_loss(self) -> np.ndarray:
        """D's loss, both halves summed; all NaN where it says nothing of D."""
        return self._nothing if self.loss_says_nothing else self.loss_in_log

    @cached_property
    def d_loss_halves(self) -> tuple[np.ndarray, np.ndarray]:
        """D's half losses: printed, or the least that goes with its mean outputs under BCE."""
        real, fake = self.trace.get("d_loss_real"), self.trace.get("d_loss_fake")
        if np.isfinite(real).any() and np.isfinite(fake).any():
            return self.half_factor * real, self.half_factor * fake
        return bce_at_mean(self.real_probability, self.fake_probability)

    @cached_property
    def accuracy(self) -> np.ndarray:
        """D's accuracy over both halves; NaN where the log has none."""
        both = (self.trace.get("d_accuracy_real") + self.trace.get("d_accuracy_fake")) / 2
        return np.where(np.isfinite(both), both, self.trace.get("d_accuracy"))

    @cached_property
    def relative_d_loss(self) -> np.ndarray:
        """D's loss over its value at equilibrium: 1 is chance, 0 certainty.

        From D's mean outputs where they are probabilities (the least that BCE can be there), so
        that a printed loss that is an average over many steps does not blur it; else from the loss.
        """
        if self.objective is None or not self.objective.d_loss_reaches_zero:
            return self._nothing
        # Below 0 it is not the loss that its name says, and no certainty.
        loss = np.where(self.d_loss >= 0, self.d_loss, np.nan)
        relative: np.ndarray = loss / self.objective.equilibrium_d_loss
        if self.objective.has_probability:
            # Squares hide how sure D is: measure certainty by BCE under both objectives.
            real, fake = bce_at_mean(self.real_probability, self.fake_probability)
            certainty = (real + fake) / math.log(4)
            relative = np.where(np.isfinite(certainty), certainty, relative)
        return relative

    @cached_property
    def fake_share_of_loss(self) -> np.ndarray:
        """What is left of `relative_d_loss` where D answers real images with what it is asked for.

        With one-sided label smoothing that is less than 1, so that a D which is certain is not at
        a loss of 0. It shows where D(x) holds still below 1 and the loss is that of such a label;
        NaN elsewhere, and where the log has no loss beside probabilities.
        """
        real, fake = self.real_probability, self.fake_probability
        at_real, at_fake = bce_at_mean(real, fake)
        with np.errstate(divide="ignore", invalid="ignore"):
            asked = -(real * np.log(real) + (1 - real) * np.log1p(-real))
            is_asked = np.abs(np.log(self.d_loss / (asked + at_fake))) < LIKE_THE_LABEL
            is_asked &= self.d_loss > ABOVE_PLAIN * (at_real + at_fake)
        swing = self.smoothed(np.abs(real - self.smoothed(real)))
        is_asked &= (real >= LEAST_LABEL) & (swing < STILL)
        if np.isfinite(self.accuracy).any():
            is_asked &= self.smoothed(self.accuracy) >= RIGHT
        return np.where(self.smoothed(is_asked) > 0.5, at_fake / math.log(4), np.nan)

    @cached_property
    def lead(self) -> np.ndarray:
        """How far D leads, in about [0, 1]: 0 is chance, 1 certainty. From the best that the log
        has: accuracies, probabilities, AUC, or D's relative loss."""
        candidates = (
            2 * self.accuracy - 1,
            self.real_probability - self.fake_probability,
            2 * self.trace.get("auc") - 1,
            1 - self.relative_d_loss,
        )
        counts = [int(np.isfinite(values).sum()) for values in candidates]
        enough = 0.9 * max(counts)
        return next(c for c, count in zip(candidates, counts, strict=True) if count >= enough)
