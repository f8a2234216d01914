"""D's learning rate as the actuator, D's accuracy as the set-point."""

import math
from dataclasses import field
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from counterpoise.balance.policy import CHECKED, LeastScale, MostScale, Share, Stateful
from counterpoise.balance.smoothing import Average, clamp, is_finite
from counterpoise.config import Fraction
from counterpoise.records import Action, Signals


@dataclass(config=CHECKED)
class AccuracyBandPolicy(Stateful):
    """Slow D down while it is too good and let it come back while it is too weak.

    With a the smoothed mean of D's accuracies on real and fake images, in each step

        log s <- clip(log s + gain * (target - a), log min_scale, log max_scale)

    where |a - target| > half_width; inside the band s, the factor on D's learning rate, stays.
    The clipped variable is the integrator itself, so there is no wind-up: s leaves a limit in the
    first step in which the error changes its sign. A step changes log s by at most `gain`.

    By default s never exceeds 1: a D that is at chance may be one whose steps are too large
    already, and a larger learning rate then kills it for good. Raise `max_scale` only if D is known
    to be too slow.

    Source: the clipped proportional update is that of k in Berthelot et al. 2017 (BEGAN, arXiv
    1703.10717), section 3.4; the actuator, the band and the numbers are this project's.
    """

    needs = "last turn"

    target: Share = 0.75
    half_width: Fraction = 0.1
    gain: Annotated[float, Field(gt=0, le=1)] = 0.05
    min_scale: LeastScale = 0.1
    max_scale: MostScale = 1.0
    decay: Fraction = 0.95
    _log_scale: float = field(default=0.0, init=False)
    _accuracy: Average = field(init=False)

    def __post_init__(self) -> None:
        self._accuracy = Average(self.decay)

    def observe(self, signals: Signals) -> Action:
        measured = (signals.d_accuracy_real, signals.d_accuracy_fake)
        known = is_finite(*measured)
        accuracy = self._accuracy.value
        if known:
            accuracy = self._accuracy.update(clamp(sum(measured) / 2, 0, 1))
        if accuracy is None:
            return Action(reason="held: D's accuracy is not finite")
        error = self.target - accuracy
        outside = abs(error) > self.half_width
        if known and outside:
            limits = (math.log(self.min_scale), math.log(self.max_scale))
            self._log_scale = clamp(self._log_scale + self.gain * error, *limits)
        scale = clamp(math.exp(self._log_scale), self.min_scale, self.max_scale)
        reason = ""
        if scale != 1:
            side = "outside" if outside else "inside"
            reason = (
                f"D's smoothed accuracy {accuracy:.2f} is {side} {self.target:g} +- "
                f"{self.half_width:g}: its learning rate is {scale:.3g} times the configured one"
            )
        if not known:
            reason = f"{reason}; held: D's accuracy is not finite".lstrip("; ")
        return Action(d_learning_rate_scale=scale, reason=reason)
