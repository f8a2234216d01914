"""Skip updates of D the more often, the better it does."""

import math
import random
from dataclasses import field

from pydantic.dataclasses import dataclass

from counterpoise.balance.policy import CHECKED, Stateful, equilibrium_loss
from counterpoise.balance.smoothing import clamp
from counterpoise.config import NonNegativeFloat, PositiveFloat
from counterpoise.records import NO_ACTION, Action, Signals


@dataclass(config=CHECKED)
class SkipBandPolicy(Stateful):
    """Skip D's update with a probability that grows linearly as D's loss falls through a band.

    With L D's loss on the current batch and L* its loss at equilibrium,

        P(skip) = clip((upper - L / L*) / (upper - lower), 0, 1)

    so D trains always above upper * L* and never below lower * L*; between the two it is slowed,
    not stopped. The defaults 0.9 and 0.5 are the source's for a hinge loss whose halves are
    averaged (L* = 1); as shares of L* they carry over to other losses above 0.
    `equilibrium_loss` overrides the L* that comes with the signals (0: take the signals').

    Random numbers are a function of `seed` and of how many were drawn, so a resumed training draws
    the ones it would have drawn.

    Source: the waifu2x trainer of nagadomi/nunif (waifu2x/training/trainer.py, options
    generator-start-criteria and discriminator-stop-criteria).
    """

    upper: PositiveFloat = 0.9
    lower: NonNegativeFloat = 0.5
    equilibrium_loss: NonNegativeFloat = 0.0
    seed: int = 0
    _draws: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.lower >= self.upper:
            raise ValueError("upper must be above lower")

    def observe(self, signals: Signals) -> Action:
        ideal = equilibrium_loss(self.equilibrium_loss, signals)
        if ideal is None:
            return self._idle("D's loss at equilibrium is unknown; set equilibrium_loss")
        if ideal <= 0:
            return self._idle("the band is made of shares of D's loss at equilibrium, which is 0")
        loss = signals.d_loss_real + signals.d_loss_fake
        if not math.isfinite(loss):
            return Action(reason="D is not skipped: its loss is not finite")
        probability = clamp((self.upper - loss / ideal) / (self.upper - self.lower), 0, 1)
        if self._draw() >= probability:
            return NO_ACTION
        return Action(
            d_steps=0,
            reason=f"D is skipped (probability {probability:.2f}): its loss {loss:.3g} is "
            f"{loss / ideal:.2f} of that at equilibrium",
        )

    def _draw(self) -> float:
        """The next number of the sequence, uniform in [0, 1)."""
        number = random.Random(f"{self.seed}:{self._draws}").random()  # noqa: S311 (no secret)
        self._draws += 1
        return number
