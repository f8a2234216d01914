"""D's learning rate from the distance between D's loss and its ideal."""

import math
from dataclasses import field

from pydantic.dataclasses import dataclass

from counterpoise.balance.policy import CHECKED, LeastScale, MostScale, Stateful, equilibrium_loss
from counterpoise.balance.smoothing import blend
from counterpoise.config import FiniteFloat, Fraction, NonNegativeFloat
from counterpoise.records import Action, Signals


@dataclass(config=CHECKED)
class GapLearningRatePolicy(Stateful):
    """Scale D's learning rate by its optimality gap.

    With L an exponential moving average of D's loss (it starts at the ideal L*), and the gap
    x = |L - L*|, the factor on D's learning rate is

        f(x) = min(f_max ^ (x / x_max), f_max)    where L >= L*  (D is worse than ideal)
        h(x) = max(h_min ^ (x / x_min), h_min)    where L <  L*  (D is better than ideal)

    L* is D's loss where it cannot tell real from fake: ln 4 (non-saturating), 0.5 (least squares),
    2 (hinge), 0 (Wasserstein). It comes with the signals; `equilibrium_loss` overrides it (0: take
    the signals'), for a loop whose losses are scaled. `x_min` and `x_max` of 0 mean 0.1 |L*|; with
    an L* of 0 they must be given.

    Source: Hazimeh and Ponomareva 2023 (arXiv 2302.00089), the scheduling function, and table 1
    for L*; the numbers, the start and the decay are those of the authors' code.
    """

    needs = "last turn"

    equilibrium_loss: FiniteFloat = 0.0
    x_min: NonNegativeFloat = 0.0
    x_max: NonNegativeFloat = 0.0
    h_min: LeastScale = 0.1
    f_max: MostScale = 2.0
    decay: Fraction = 0.95
    _loss: float | None = field(default=None, init=False)

    def observe(self, signals: Signals) -> Action:
        ideal = equilibrium_loss(self.equilibrium_loss, signals)
        if ideal is None:
            return self._idle("D's loss at equilibrium is unknown; set equilibrium_loss")
        x_min, x_max = self.x_min or 0.1 * abs(ideal), self.x_max or 0.1 * abs(ideal)
        if not x_min or not x_max:
            return self._idle("D's loss at equilibrium is 0; set x_min and x_max")
        loss = signals.d_loss_real + signals.d_loss_fake
        held = "" if math.isfinite(loss) else "; held: D's loss is not finite"
        smoothed = ideal if self._loss is None else self._loss
        if not held:
            smoothed = self._loss = blend(smoothed, loss, self.decay)
        gap = smoothed - ideal
        # The exponent is limited, not the power: the same function, which cannot overflow.
        if gap >= 0:
            scale = self.f_max ** min(gap / x_max, 1.0)
        else:
            scale = self.h_min ** min(-gap / x_min, 1.0)
        if scale == 1:
            return Action(reason=held.lstrip("; "))
        return Action(
            d_learning_rate_scale=scale,
            reason=f"D's smoothed loss {smoothed:.3g} is {'above' if gap > 0 else 'below'} its "
            f"ideal {ideal:.3g}: its learning rate is {scale:.3g} times the configured one{held}",
        )
