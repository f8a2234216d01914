"""Policies that scale D's learning rate or the adversarial weight, a little in each step."""

import math
from dataclasses import field

from pydantic.dataclasses import dataclass

from counterpoise.balance.policy import CHECKED, MostScale, Policy, PositiveShare, Share
from counterpoise.balance.smoothing import NO_AVERAGE, Average, averaged, blend, clamp, is_finite
from counterpoise.config import Fraction, NonNegativeFloat, PositiveFloat
from counterpoise.records import NO_ACTION, Action, Signals


@dataclass(config=CHECKED)
class AccuracyBandPolicy(Policy):
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
    gain: PositiveShare = 0.05
    min_scale: PositiveShare = 0.1
    max_scale: MostScale = 1.0
    decay: Fraction = 0.95
    _log_scale: float = field(default=0.0, init=False)
    _accuracy: Average = field(default=NO_AVERAGE, init=False)

    def observe(self, signals: Signals) -> Action:
        measured = (signals.d_accuracy_real + signals.d_accuracy_fake) / 2
        if is_finite(measured):
            self._accuracy = averaged(self._accuracy, clamp(measured, 0, 1), self.decay)
        accuracy = self._accuracy[0]
        if accuracy is None:
            return NO_ACTION
        error = self.target - accuracy
        outside = abs(error) > self.half_width
        if outside and is_finite(measured):
            limits = (math.log(self.min_scale), math.log(self.max_scale))
            self._log_scale = clamp(self._log_scale + self.gain * error, *limits)
        scale = clamp(math.exp(self._log_scale), self.min_scale, self.max_scale)
        if scale == 1:
            return NO_ACTION
        reason = (
            f"D's smoothed accuracy {accuracy:.2f} is {'outside' if outside else 'inside'} "
            f"{self.target:g} +- {self.half_width:g}: its learning rate is {scale:.3g} times the "
            "configured one"
        )
        return Action(d_learning_rate_scale=scale, reason=reason)


@dataclass(config=CHECKED)
class GapLearningRatePolicy(Policy):
    """Scale D's learning rate by its optimality gap.

    With L an exponential moving average of D's loss (it starts at the ideal L*), and the gap
    x = |L - L*|, the factor on D's learning rate is

        f(x) = min(f_max ^ (x / x_max), f_max)    where L >= L*  (D is worse than ideal)
        h(x) = max(h_min ^ (x / x_min), h_min)    where L <  L*  (D is better than ideal)

    L* is D's loss where it cannot tell real from fake: ln 4 (non-saturating), 0.5 (least squares),
    2 (hinge), 0 (Wasserstein). It comes with the signals. `x_min` and `x_max` of 0 mean 0.1 |L*|;
    with an L* of 0 they must be given.

    Source: Hazimeh and Ponomareva 2023 (arXiv 2302.00089), the scheduling function, and table 1
    for L*; the numbers, the start and the decay are those of the authors' code.
    """

    needs = "last turn"

    x_min: NonNegativeFloat = 0.0
    x_max: NonNegativeFloat = 0.0
    h_min: PositiveShare = 0.1
    f_max: MostScale = 2.0
    decay: Fraction = 0.95
    _loss: float | None = field(default=None, init=False)

    def observe(self, signals: Signals) -> Action:
        ideal = signals.d_equilibrium_loss
        if ideal is None or not is_finite(ideal):
            return NO_ACTION  # of the first turn nothing may be known yet
        x_min, x_max = self.x_min or 0.1 * abs(ideal), self.x_max or 0.1 * abs(ideal)
        if not x_min or not x_max:
            return NO_ACTION
        loss = signals.d_loss
        smoothed = ideal if self._loss is None else self._loss
        if is_finite(loss):
            self._loss = smoothed = blend(smoothed, loss, self.decay)
        gap = smoothed - ideal
        # The exponent is limited, not the power: the same function, which cannot overflow.
        if gap >= 0:
            scale = self.f_max ** min(gap / x_max, 1.0)
        else:
            scale = self.h_min ** min(-gap / x_min, 1.0)
        if scale == 1:
            return NO_ACTION
        reason = (
            f"D's smoothed loss {smoothed:.3g} is {'above' if gap > 0 else 'below'} its ideal "
            f"{ideal:.3g}: its learning rate is {scale:.3g} times the configured one"
        )
        return Action(d_learning_rate_scale=scale, reason=reason)


@dataclass(config=CHECKED)
class GradientBalancePolicy(Policy):
    """Scale the adversarial weight until its gradient is `ratio` times the content terms'.

    With a and c the norms, at G's output, of the gradients of the adversarial term and of all other
    terms together, the wanted scale is ratio * c / a. Its logarithm is smoothed, clipped to
    [min_scale, max_scale], and followed by at most `max_change` per step (in log units), so that no
    single reading moves the weight by much.

    a must be the gradient of the term weighted as configured, *before* this policy's scale; else
    the scale would chase itself. Both come with `Signals.readings`; until both were read, and while
    either is 0, the scale stays.

    Source: Esser et al. 2021 (VQGAN, arXiv 2012.09841), equation 7: |grad content| / |grad
    adversarial| at the last layer, there unsmoothed with a factor of 0.75 to 0.8. Users report it
    to be hard to make work; smoothing and limits are this project's answer to its spikes.
    """

    needs = "last turn"
    needs_sensors = True

    ratio: PositiveFloat = 1.0
    min_scale: PositiveShare = 0.01
    max_scale: MostScale = 100.0
    max_change: PositiveFloat = 0.02
    decay: Fraction = 0.9
    _log_scale: float = field(default=0.0, init=False)
    _wanted: Average = field(default=NO_AVERAGE, init=False)

    def observe(self, signals: Signals) -> Action:
        adversarial = signals.readings.g_gradient_unscaled
        content = signals.readings.g_gradient_content
        if adversarial is None or content is None:
            reason = (
                "the gradients at G's output were not read yet: the adversarial weight stays at"
            )
        else:
            reason = (
                f"gradients at G's output are {adversarial:.3g} (adversarial) and {content:.3g} "
                "(content): the adversarial weight is"
            )
            if is_finite(adversarial, content) and min(adversarial, content) > 0:
                self._follow(math.log(self.ratio) + math.log(content) - math.log(adversarial))
        scale = clamp(math.exp(self._log_scale), self.min_scale, self.max_scale)
        reason += f" {scale:.3g} times the configured one"
        return Action(adversarial_weight_scale=scale, reason=reason)

    def _follow(self, log_wanted: float) -> None:
        limits = (math.log(self.min_scale), math.log(self.max_scale))
        # Clipped before it is smoothed, so that a spike or a long saturation is soon forgotten.
        self._wanted = averaged(self._wanted, clamp(log_wanted, *limits), self.decay)
        wanted = self._wanted[0]
        assert wanted is not None
        change = clamp(wanted - self._log_scale, -self.max_change, self.max_change)
        self._log_scale = clamp(self._log_scale + change, *limits)
