"""The EnhanceNet paper's own rule."""

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from counterpoise.balance.policy import CHECKED, Policy
from counterpoise.balance.smoothing import is_finite
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

    threshold: Annotated[float, Field(gt=0, le=1)] = 0.8
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
