"""The gate of the loop that this project's question was asked about."""

from pydantic.dataclasses import dataclass

from counterpoise.balance.policy import CHECKED, Policy
from counterpoise.config import NonNegativeFloat, PositiveFloat
from counterpoise.records import NO_ACTION, Action, Signals


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
        real = signals.d_loss_real * self.loss_multiplier > self.threshold
        fake = signals.d_loss_fake * self.loss_multiplier > self.threshold
        if real and fake:
            return NO_ACTION
        frozen = " and ".join(name for name, on in (("real", real), ("fake", fake)) if not on)
        return Action(
            d_steps=1 if real or fake else 0,
            d_trains_on_real=real,
            d_trains_on_fake=fake,
            reason=f"D's loss on {frozen} images is not above {self.threshold:g}",
        )
