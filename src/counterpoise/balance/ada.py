"""Adaptive augmentation of D's inputs."""

import math
from dataclasses import field
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from counterpoise.balance.policy import CHECKED, Stateful
from counterpoise.balance.smoothing import clamp
from counterpoise.config import PositiveInt
from counterpoise.records import NO_ACTION, Action, Signals


@dataclass(config=CHECKED)
class AdaPolicy(Stateful):
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
    max_probability: Annotated[float, Field(gt=0, le=1)] = 1.0
    _probability: float = field(default=0.0, init=False)
    _sign_sum: float = field(default=0.0, init=False)
    _sign_count: int = field(default=0, init=False)
    _last_sign: float = field(default=0.0, init=False)

    def observe(self, signals: Signals) -> Action:
        if not math.isfinite(signals.d_accuracy_real):
            return self._action("; held: D's accuracy on real images is not finite")
        self._sign_sum += 2 * clamp(signals.d_accuracy_real, 0, 1) - 1
        self._sign_count += 1
        if self._sign_count >= self.interval_steps:
            self._last_sign = self._sign_sum / self._sign_count
            self._sign_sum, self._sign_count = 0.0, 0
            direction = (self._last_sign > self.target) - (self._last_sign < self.target)
            change = direction * self.interval_steps / self.ramp_steps
            self._probability = clamp(self._probability + change, 0, self.max_probability)
        return self._action()

    def _action(self, held: str = "") -> Action:
        if not self._probability:
            return Action(reason=held.lstrip("; ")) if held else NO_ACTION
        return Action(
            augment_probability=self._probability,
            reason=f"r_t was {self._last_sign:.2f} (target {self.target:g}): D's inputs are "
            f"augmented with probability {self._probability:.3g}{held}",
        )
