"""A trace as the rules see it: columns under one meaning, whatever log they came from, smoothed."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from counterpoise.diagnosis.loss_curves import g_curve, g_has_more, mostly_below_zero, summed_loss
from counterpoise.diagnosis.reading import Reading
from counterpoise.objectives import UNKNOWN, Objective, bce_at_mean
from counterpoise.programs import UNKNOWN_PROGRAM, Program
from counterpoise.spells import Spell, inside, smooth
from counterpoise.trace import Trace, step_text

# D's labels on real images where they are smoothed: the least that anybody asks for, how near D's
# loss is then to such a label's (in log units), how far above that of a label of 1, and how still
# D(x) holds in most rows.
LEAST_LABEL = 0.75
LIKE_THE_LABEL, ABOVE_PLAIN = 0.2, 1.4
STILL = 0.03
# The entropies of labels of 0.8, 0.9 and 0.95, what D's loss on real images is at least there.
LABEL_ENTROPIES = 0.5004, 0.3251, 0.1985
LEAST_ROWS = 6  # lines below which only what needs no trend is judged
NEARLY_ALL = 0.9  # share of the lines in which a thing must be to be called so all along
LEAST_HOPELESS = 4.0  # G's loss under BCE where D is certain about fakes, D(G(z)) being 0.02
# How near D's loss is to twice G's where both are at chance; what is printed as a loss of 0.
SAME_RATIO, NO_LOSS = 0.003, 5e-4
RIGHT = 0.95  # the accuracy that such a D has at least, where the log has one
# Distances of G's images to real ones.
DISTANCES = "held_out_distance", "held_out_fid", "held_out_kid", "held_out_lpips"


@dataclass(frozen=True)
class View:
    """What rules look at: made by `interpretation.views`. All columns are (rows,), NaN where
    nothing is known."""

    log: Trace  # all rows
    # As far as rules may go by it: without rows after what is NaN for good, and D's numbers where
    # there was no D yet, outputs as if real images were asked for 1.
    trace: Trace
    reading: Reading  # which objective, how D's loss is printed, and how that is known
    program: Program = UNKNOWN_PROGRAM  # what printed it
    d_loss_factor: float = 1.0  # what makes the printed `d_loss` the sum of D's two halves
    half_factor: float = 1.0  # the same for `d_loss_real` and `d_loss_fake`
    loss_says_nothing: str = ""  # why D is not judged by its loss; empty where it is
    notes: tuple[str, ...] = ()  # what a person must know about all that

    @property
    def objective_name(self) -> str:
        """A name of `OBJECTIVES`, or "unknown"."""
        return self.reading.objective

    @property
    def objective(self) -> Objective:
        """What is known of it."""
        return self.reading.facts

    @property
    def rows(self) -> int:
        return len(self.trace)

    @property
    def is_short(self) -> bool:
        """Whether there are so few lines that something is said only of each."""
        return self.rows < LEAST_ROWS

    @property
    def steps(self) -> np.ndarray:
        return self.trace.steps

    def at(self, row: int) -> str:
        """The step of a row, in words."""
        return f"step {step_text(int(self.steps[row]), self.trace.notes)}"

    @property
    def is_own_record(self) -> bool:
        """Whether this package wrote the rows, and no other program."""
        return self.trace.format in ("", "run folder")

    @property
    def steps_shown(self) -> int | None:
        """How many steps of the training its rows show one by one, or from the first on; None where
        they are later ones and further apart, or may be epochs."""
        counts = self.is_own_record or self.trace.counts_batches
        if not counts or self.rows < 2 or self.steps[0] > np.median(np.diff(self.steps)) > 1:
            return None
        return int(self.steps[-1] - self.steps[0])

    @property
    def whole(self) -> Spell:
        """All rows."""
        return Spell(0, max(0, self.rows - 1))

    @property
    def last_third(self) -> Spell:
        """The last third of the rows."""
        return Spell(2 * self.rows // 3, max(0, self.rows - 1))

    @cached_property
    def window(self) -> int:
        """How many rows a smoothed value stands for."""
        return 1 if self.is_short else int(np.clip(round(self.rows / 12), 3, 200))

    def smoothed(self, values: np.ndarray) -> np.ndarray:
        """The moving mean over this view's window."""
        return smooth(values, self.window)

    def lasts(self, spell: Spell) -> bool:
        """Whether a spell goes on to the end of the log."""
        return spell.last >= self.rows - 1 - self.window // 2

    def is_over(self, spell: Spell) -> bool:
        """Whether a spell ended in the first half of the log, by its lines or by its steps: it
        passed, and did not come back."""
        half = (self.steps[0] + self.steps[-1]) / 2
        return spell.last < self.rows // 2 or bool(self.steps[spell.last] < half)

    @cached_property
    def real_probability(self) -> np.ndarray:
        """D(x) as a probability, where the objective has one."""
        return self._probability("d_real", "real_logit_mean")

    @cached_property
    def fake_probability(self) -> np.ndarray:
        """D(G(z)) before D's update as a probability, where the objective has one."""
        return self._probability("d_fake_before", "fake_logit_mean")

    def _probability(self, output: str, logit: str) -> np.ndarray:
        if not self.objective.has_probability:
            return self._nothing
        values = self.trace.get(output)
        if self.trace.has(output) and inside(values, 0, 1):
            return values
        with np.errstate(over="ignore"):
            probability: np.ndarray = 1 / (1 + np.exp(-self.trace.get(logit)))
            return probability

    @property
    def _nothing(self) -> np.ndarray:
        return np.full(self.rows, np.nan)

    @property
    def halves_are_summed(self) -> str:
        """What is said beside D's loss where it is not the number that the log gives."""
        factor, text = max(abs(self.d_loss_factor), abs(self.half_factor)), ""
        if self.program.discriminators > 1:
            factor *= self.program.discriminators
            text = f", of each of {self.program.discriminators} D's whose sum is printed"
        if self.program.d_loss_terms > 2 and self.trace.has("d_loss"):
            text += f", as of 2 of its {self.program.d_loss_terms} terms"
        text += ", twice the mean of its halves that is printed" if factor != 1 else ""
        return text + (", with its sign turned" if self.reading.is_turned else "")

    @cached_property
    def g_adversarial(self) -> np.ndarray:
        """G's adversarial loss, of one D; all NaN where the log has it only with other terms or a
        weight, as far as is known."""
        if g_has_more(self.trace, self.program):
            return self._nothing
        loss = self.trace.first("g_adversarial", "g_loss") / self.program.discriminators
        return np.where(loss > 0, loss, np.nan)

    @cached_property
    def losses_are_one(self) -> bool:
        """Whether the two losses are one number in every line, and not always the same: one
        variable is printed as both."""
        g_loss, d_loss = self.trace.first("g_loss", "g_adversarial"), self.trace.get("d_loss")
        both = np.isfinite(g_loss - d_loss)
        is_one = both.sum() >= LEAST_ROWS and (g_loss == d_loss)[both].all()
        return bool(is_one and np.ptp(d_loss[both]) > 0)

    @cached_property
    def is_scaled_chance(self) -> bool:
        """Whether D's printed loss is twice G's in every line, as at chance under BCE and squares,
        whatever factor both have."""
        ratio = self.trace.get("d_loss") / self.trace.first("g_loss", "g_adversarial")
        ratio = self.whole.within(ratio)
        return len(ratio) >= LEAST_ROWS and bool((np.abs(ratio / 2 - 1) < SAME_RATIO).all())

    @cached_property
    def is_certain_of_others(self) -> bool:
        """Whether D is certain of fakes where G has no loss, in nearly every line: these exclude
        each other wherever G wants D(G(z)) up, so that they are of different fakes."""
        no_game = self.objective_name == "wgan" or UNKNOWN in self.program.objectives
        fakes = np.fmin(self.trace.get("d_loss_fake"), self.trace.get("d_loss"))
        g_loss = self.trace.first("g_adversarial", "g_loss")
        # Below 0, if only by its sign, it may be log(1 - D(G(z))), which G makes small by D's win.
        is_other = np.signbit(fakes) | np.signbit(g_loss)
        none = self.whole.within(np.where(is_other, 1.0, np.maximum(fakes, g_loss))) < NO_LOSS
        return not no_game and len(none) >= LEAST_ROWS and bool(none.mean() > NEARLY_ALL)

    @cached_property
    def g_curve(self) -> np.ndarray:
        """G's adversarial loss that goes with D's loss, where both halves of it are alike."""
        return g_curve(self.reading, self.d_loss)

    @cached_property
    def fooled_half(self) -> np.ndarray:
        """D's loss on fake images as G's loss has it."""
        return self.objective.fooled_half(self.g_adversarial)

    @cached_property
    def loss_in_log(self) -> np.ndarray:
        """D's loss, both halves summed, whether it says anything of D or not."""
        return summed_loss(self.trace, self.d_loss_factor, self.half_factor)

    @cached_property
    def is_below_zero(self) -> bool:
        """Whether D's loss is below 0 in most rows, and nobody has turned its sign."""
        return mostly_below_zero(self.trace) and not self.reading.is_turned

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
        """D's accuracy over both halves; NaN where the log has none, or 0 in every line: Keras
        counts no image as right whose label is smoothed or is -1."""
        both = (self.trace.get("d_accuracy_real") + self.trace.get("d_accuracy_fake")) / 2
        accuracy = np.where(np.isfinite(both), both, self.trace.get("d_accuracy"))
        return accuracy if np.nanmax(accuracy, initial=0.0) > 0 else self._nothing

    @cached_property
    def relative_d_loss(self) -> np.ndarray:
        """D's loss over its value at equilibrium: 1 is chance, 0 certainty.

        From D's mean outputs where they are probabilities (the least that BCE can be there), so
        that a printed loss that is an average over many steps does not blur it; else from the loss.
        """
        if not self.objective.d_loss_reaches_zero:
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
    def relative_outputs(self) -> np.ndarray:
        """D's certainty by its outputs alone, as `relative_d_loss`, under an objective that nobody
        knows: what stays in [0, 1] is a probability, whatever is made of it. It is no lead: where
        these are losses by the names of outputs, only a certain D's are told from them."""
        real, fake = self.trace.get("d_real"), self.trace.get("d_fake_before")
        is_of_another = UNKNOWN in self.program.objectives
        are_in_range = inside(np.append(real, fake), 0, 1)
        if self.objective_name != UNKNOWN or is_of_another or not are_in_range:
            return self._nothing
        return np.asarray(np.sum(bce_at_mean(real, fake), axis=0) / math.log(4))

    @cached_property
    def fake_share_of_loss(self) -> np.ndarray:
        """What is left of `relative_d_loss` where D answers real images with what it is asked for.

        With one-sided label smoothing that is less than 1, so that a D which is certain is not at
        a loss of 0. It shows where D(x) holds still below 1 and the loss is that of such a label;
        NaN elsewhere, and where the log has no loss beside probabilities.
        """
        real, fake = self.real_probability, self.fake_probability
        at_real, at_fake = bce_at_mean(real, fake)
        if self.objective_name == "non-saturating" and not np.isfinite(at_fake).any():
            # Without outputs: D's loss often comes down to the entropy of such labels, never below
            # it, and stays near, and G's loss is that of a D which is certain about fakes.
            hopeless = self.smoothed(self.g_adversarial) > LEAST_HOPELESS
            hopeless &= self.smoothed(self.d_loss) < 2 * self._label_floor()
            return np.where(hopeless, self.fooled_half / math.log(4), np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            asked = -(real * np.log(real) + (1 - real) * np.log1p(-real))
            is_asked = np.abs(np.log(self.d_loss / (asked + at_fake))) < LIKE_THE_LABEL
            is_asked &= self.d_loss > ABOVE_PLAIN * (at_real + at_fake)
        swing = self.smoothed(np.abs(real - self.smoothed(real)))
        is_asked &= (real >= LEAST_LABEL) & (swing < STILL)
        if np.isfinite(self.accuracy).any():
            is_asked &= self.smoothed(self.accuracy) >= RIGHT
        return np.where(self.smoothed(is_asked) > 0.5, at_fake / math.log(4), np.nan)

    def _label_floor(self) -> float:
        """The entropy of smoothed labels that D's loss comes down to; NaN where there is none."""
        loss = self.whole.within(self.d_loss)
        for entropy in LABEL_ENTROPIES:
            if len(loss) and loss.min() > 0.98 * entropy:
                near = (loss < 1.1 * entropy).sum()
                return entropy if near >= max(3, 0.05 * len(loss)) else math.nan
        return math.nan

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
