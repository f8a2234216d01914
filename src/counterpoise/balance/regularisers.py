"""Policies that regularise D by its own outputs: augmented inputs, a penalty in its loss."""

from dataclasses import field
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from counterpoise.balance.policy import CHECKED, Policy, PositiveShare
from counterpoise.balance.smoothing import NO_AVERAGE, Average, averaged, clamp, is_finite
from counterpoise.config import Fraction, NonNegativeInt, PositiveFloat, PositiveInt
from counterpoise.records import NO_ACTION, Action, Signals


@dataclass(config=CHECKED)
class AdaPolicy(Policy):
    """Augment D's inputs more while D is sure of its training images, and less otherwise.

    Every `interval_steps` steps, with r the mean over them of r_t = E[sign D(real)], which is
    2 * (D's accuracy on real images) - 1,

        p <- clip(p + sign(r - target) * interval_steps / ramp_steps, 0, max_probability)

    p is the probability of each augmentation, on real and fake images alike. `ramp_steps` is how
    many steps p takes from 0 to 1. The source's speed is 500 000 images, here 15 625 steps of 32:
    divide 500 000 by your own batch size, or take a fifth of that when resuming (as the source
    does) or when a training is short. Where p stays below 0.8 augmentations do not leak into G's
    images (section 2.2). Paired data need the same transform on real and fake.

    Source: Karras et al. 2020 (arXiv 2006.06676), section 3, with the numbers of the authors'
    implementation (stylegan3: target 0.6, interval 4, 500 kimg).
    """

    needs = "last turn"

    target: Annotated[float, Field(gt=-1, lt=1)] = 0.6
    interval_steps: PositiveInt = 4
    ramp_steps: PositiveInt = 15625
    max_probability: PositiveShare = 1.0
    _probability: float = field(default=0.0, init=False)
    _sign_sum: float = field(default=0.0, init=False)
    _sign_count: int = field(default=0, init=False)
    _last_sign: float = field(default=0.0, init=False)

    def observe(self, signals: Signals) -> Action:
        if is_finite(signals.d_accuracy_real):
            self._sign_sum += 2 * clamp(signals.d_accuracy_real, 0, 1) - 1
            self._sign_count += 1
        if self._sign_count >= self.interval_steps:
            self._last_sign = self._sign_sum / self._sign_count
            self._sign_sum, self._sign_count = 0.0, 0
            direction = (self._last_sign > self.target) - (self._last_sign < self.target)
            change = direction * self.interval_steps / self.ramp_steps
            self._probability = clamp(self._probability + change, 0, self.max_probability)
        if not self._probability:
            return NO_ACTION
        reason = (
            f"r_t was {self._last_sign:.2f} (target {self.target:g}): D's inputs are augmented "
            f"with probability {self._probability:.3g}"
        )
        return Action(augment_probability=self._probability, reason=reason)


@dataclass(config=CHECKED)
class LeCamPolicy(Policy):
    """Penalise D for logits far beyond the moving averages of its logits on the other kind.

    D's loss gets weight * (E[relu(D(x) - A_fake)^2] + E[relu(A_real - D(G(z)))^2]) with A_real and
    A_fake exponential moving averages of D's mean logits on real and on fake images. They are
    tracked from the first step and used after `start_steps` steps.

    The penalty has the logits' own scale: 0.3 suits a hinge loss, whose logits are of the order
    of 1; divide by the square of yours (the authors use 3e-7 for StyleGAN2's).

    Source: Tseng et al. 2021 (arXiv 2104.03310), section 3 (the regulariser and its anchors); the
    one-sided form is the authors' code's, 0.3, 0.99 and 1000 are StudioGAN's configurations'.
    """

    needs = "last turn"

    weight: PositiveFloat = 0.3
    decay: Fraction = 0.99
    start_steps: NonNegativeInt = 1000
    _real: Average = field(default=NO_AVERAGE, init=False)
    _fake: Average = field(default=NO_AVERAGE, init=False)

    def observe(self, signals: Signals) -> Action:
        self._real = averaged(self._real, signals.real_logit_mean, self.decay)
        self._fake = averaged(self._fake, signals.fake_logit_mean, self.decay)
        (real, of_real), (fake, of_fake) = self._real, self._fake
        if real is None or fake is None or min(of_real, of_fake) <= self.start_steps:
            return NO_ACTION
        reason = (
            f"LeCam: D's logits are held to their averages {real:.3g} (real) and {fake:.3g} (fake)"
        )
        return Action(
            lecam_weight=self.weight,
            lecam_real_anchor=real,
            lecam_fake_anchor=fake,
            reason=reason,
        )
