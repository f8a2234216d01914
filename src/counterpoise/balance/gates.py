"""Policies that decide in each step which network is trained, and on what."""

import random
from dataclasses import field
from typing import Literal

from pydantic.dataclasses import dataclass

from counterpoise.balance.policy import CHECKED, Policy, PositiveShare, Share
from counterpoise.balance.smoothing import blend, clamp, is_finite
from counterpoise.config import Fraction, NonNegativeFloat, PositiveFloat
from counterpoise.records import NO_ACTION, Action, Signals


@dataclass(config=CHECKED)
class ThresholdPolicy(Policy):
    """Train D only if it did badly enough on the previous batch.

    D is updated in a step if its performance on the real or on the generated images of the
    previous batch was below `threshold`; G is updated in every step. D is measured in every step,
    also when it is not trained, so that it can come back. The first step trains D. A batch whose
    performance is not finite is passed over.

    `measure` is what "performance" means, which the paper leaves open: `accuracy` (works with every
    adversarial form) or `mean-output` (mean D(x), and 1 - mean D(G(z)); needs a form whose D(x) is
    a probability). A public port uses accuracy and 0.8.

    Source: Sajjadi et al. 2017 (EnhanceNet), section 4.2.4.
    """

    threshold: PositiveShare = 0.8
    measure: Literal["accuracy", "mean-output"] = "accuracy"
    # Performance on the previous batch's real and fake images.
    _previous: tuple[float, float] | None = field(default=None, init=False)

    def observe(self, signals: Signals) -> Action:
        previous = self._previous
        if self.measure == "accuracy":
            measured = (signals.d_accuracy_real, signals.d_accuracy_fake)
        else:
            measured = (signals.d_real, 1 - signals.d_fake)
        if is_finite(*measured):
            self._previous = measured
        if previous is None or min(previous) < self.threshold:
            return NO_ACTION
        return Action(
            d_steps=0,
            reason=f"D's {self.measure} on the previous batch was {previous[0]:.2f} (real) and "
            f"{previous[1]:.2f} (fake), both at least {self.threshold:g}",
        )


@dataclass(config=CHECKED)
class LossGatePolicy(Policy):
    """Back-propagate each half of D's loss only where that half is above `threshold`.

    The decision falls on the current batch, for the real and the fake half apart, so D may be
    trained on one of them alone; D is frozen when neither is above. This is the loop of the
    question, kept as it was, so that what it does can be measured; it is no recommendation.
    `loss_multiplier` is what the losses are multiplied by before they are compared (2 in that
    loop's texture mode). Source: the loop of the question, no paper.
    """

    threshold: NonNegativeFloat = 0.3
    loss_multiplier: PositiveFloat = 1.0

    def observe(self, signals: Signals) -> Action:
        if not is_finite(signals.d_loss_real, signals.d_loss_fake):
            return NO_ACTION
        real = signals.d_loss_real * self.loss_multiplier > self.threshold
        fake = signals.d_loss_fake * self.loss_multiplier > self.threshold
        if real and fake:
            return NO_ACTION
        frozen = "fake" if real else "real" if fake else "real and fake"
        return Action(
            d_steps=1 if real or fake else 0,
            d_trains_on_real=real,
            d_trains_on_fake=fake,
            reason=f"D's loss on {frozen} images is not above {self.threshold:g}",
        )


@dataclass(config=CHECKED)
class SkipBandPolicy(Policy):
    """Skip D's update with a probability that grows linearly as D's loss falls through a band.

    With L D's loss on the current batch and L* its loss at equilibrium,

        P(skip) = clip((upper - L / L*) / (upper - lower), 0, 1)

    so D trains always above upper * L* and never below lower * L*; between the two it is slowed,
    not stopped. The defaults 0.9 and 0.5 are the source's for a hinge loss whose halves are
    averaged (L* = 1); as shares of L* they carry over to other losses above 0.

    Random numbers are a function of `seed` and of how many were drawn, so a resumed training draws
    the ones it would have drawn.

    Source: the waifu2x trainer of nagadomi/nunif (waifu2x/training/trainer.py, options
    generator-start-criteria and discriminator-stop-criteria).
    """

    upper: PositiveFloat = 0.9
    lower: NonNegativeFloat = 0.5
    seed: int = 0
    _draws: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.lower >= self.upper:
            raise ValueError("upper must be above lower")

    def observe(self, signals: Signals) -> Action:
        loss, ideal = signals.d_loss, signals.d_equilibrium_loss
        if not ideal or not is_finite(loss, ideal):
            return Action(
                reason="D is not skipped: its loss is not finite, or its ideal is unknown"
            )
        probability = clamp((self.upper - loss / ideal) / (self.upper - self.lower), 0, 1)
        drawn = random.Random(f"{self.seed}:{self._draws}").random()  # noqa: S311 (no secret)
        self._draws += 1
        if drawn >= probability:
            return NO_ACTION
        return Action(
            d_steps=0,
            reason=f"D is skipped (probability {probability:.2f}): its loss {loss:.3g} is "
            f"{loss / ideal:.2f} of that at equilibrium",
        )


@dataclass(config=CHECKED)
class WinRatePolicy(Policy):
    """Train G alone while D succeeds often enough, else D alone.

    With w D's smoothed success (it starts at `target`), a step trains only G where w >= target and
    only D otherwise; then

        w <- decay * w + (1 - decay) * success

    with success D's accuracy on fake images where G trains, and on real and fake images where D
    trains. One network always stands still: that is the rule, and each step's reason says which.

    Source: Sanakoyeu et al. 2018 (A Style-Aware Content Loss for Real-time HD Style Transfer, arXiv
    1807.10201), with the numbers of the authors' code (win rate 0.8, smoothing 0.05).
    """

    target: Share = 0.8
    decay: Fraction = 0.95
    _success: float = field(init=False)

    def __post_init__(self) -> None:
        self._success = self.target

    def observe(self, signals: Signals) -> Action:
        success = self._success
        g_trains = success >= self.target
        fake, real = signals.d_accuracy_fake, signals.d_accuracy_real
        measured = fake if g_trains else (real + fake) / 2
        if is_finite(measured):
            self._success = blend(success, clamp(measured, 0, 1), self.decay)
        side, trained = ("at least", "G") if g_trains else ("below", "D")
        reason = f"D's smoothed success {success:.3f} is {side} {self.target:g}: {trained} trains"
        return Action(d_steps=int(not g_trains), g_steps=int(g_trains), reason=reason)
