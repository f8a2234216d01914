"""The adversarial term's weight from what it does to G's images."""

import math
from dataclasses import field

from pydantic.dataclasses import dataclass

from counterpoise.balance.policy import CHECKED, LeastScale, MostScale, Stateful
from counterpoise.balance.smoothing import Average, clamp, is_finite
from counterpoise.config import Fraction, PositiveFloat
from counterpoise.records import Action, Signals


@dataclass(config=CHECKED)
class GradientBalancePolicy(Stateful):
    """Scale the adversarial weight until its gradient is `ratio` times the content terms'.

    With a and c the norms, at G's output, of the gradients of the adversarial term and of all other
    terms together, the wanted scale is ratio * c / a. Its logarithm is smoothed, clipped to
    [min_scale, max_scale], and followed by at most `max_change` per step (in log units), so that no
    single reading moves the weight by much.

    a must be the gradient of the term weighted as configured, *before* this policy's scale; else
    the scale would chase itself. Both come with `Signals.readings`; until both were read, and while
    either is 0, the scale stays. A gradient of 0 cannot be scaled to anything: it is said once.

    Source: Esser et al. 2021 (VQGAN, arXiv 2012.09841), equation 7: |grad content| / |grad
    adversarial| at the last layer, there unsmoothed with a factor of 0.75 to 0.8. Users report it
    to be hard to make work; smoothing and limits are this project's answer to its spikes.
    """

    needs = "last turn"
    needs_sensors = True

    ratio: PositiveFloat = 1.0
    min_scale: LeastScale = 0.01
    max_scale: MostScale = 100.0
    max_change: PositiveFloat = 0.02
    decay: Fraction = 0.9
    _log_scale: float = field(default=0.0, init=False)
    _wanted: Average = field(init=False)

    def __post_init__(self) -> None:
        self._wanted = Average(self.decay)

    def observe(self, signals: Signals) -> Action:
        adversarial = signals.readings.g_gradient_unscaled
        content = signals.readings.g_gradient_content
        problem = ""
        if adversarial is None or content is None:
            problem = "the gradients of G's loss terms at its output are not read; turn sensors on"
        elif not is_finite(adversarial, content):
            problem = "a gradient at G's output is not finite"
        elif adversarial <= 0 or content <= 0:
            name = "adversarial" if adversarial <= 0 else "content"
            problem = f"the {name} gradient at G's output is 0"
        else:
            self._follow(math.log(self.ratio) + math.log(content) - math.log(adversarial))
        scale = clamp(math.exp(self._log_scale), self.min_scale, self.max_scale)
        if problem and scale == 1:
            return self._idle(problem)
        if scale == 1:
            return Action()
        if problem:
            reason = f"{problem}; the adversarial weight stays at {scale:.3g} times the configured"
        else:
            assert adversarial is not None
            assert content is not None
            reason = (
                f"gradients at G's output are {adversarial:.3g} (adversarial) and {content:.3g} "
                f"(content): the adversarial weight is {scale:.3g} times the configured one"
            )
        return Action(adversarial_weight_scale=scale, reason=reason)

    def _follow(self, log_wanted: float) -> None:
        limits = (math.log(self.min_scale), math.log(self.max_scale))
        # Clipped before it is smoothed, so that a spike or a long saturation is soon forgotten.
        wanted = self._wanted.update(clamp(log_wanted, *limits))
        assert wanted is not None
        change = clamp(wanted - self._log_scale, -self.max_change, self.max_change)
        self._log_scale = clamp(self._log_scale + change, *limits)
