"""LeCam's regulariser: D's outputs stay near where they were."""

import math
from dataclasses import field

from pydantic.dataclasses import dataclass

from counterpoise.balance.policy import CHECKED, Stateful
from counterpoise.balance.smoothing import Average
from counterpoise.config import Fraction, NonNegativeInt, PositiveFloat
from counterpoise.records import NO_ACTION, Action, Signals


@dataclass(config=CHECKED)
class LeCamPolicy(Stateful):
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
    _real: Average = field(init=False)
    _fake: Average = field(init=False)

    def __post_init__(self) -> None:
        self._real, self._fake = Average(self.decay), Average(self.decay)

    def observe(self, signals: Signals) -> Action:
        real = self._real.update(signals.real_logit_mean)
        fake = self._fake.update(signals.fake_logit_mean)
        finite = math.isfinite(signals.real_logit_mean) and math.isfinite(signals.fake_logit_mean)
        held = "" if finite else "; held: D's mean logits are not finite"
        counted = min(self._real.count, self._fake.count)
        if real is None or fake is None or counted <= self.start_steps:
            return Action(reason=held.lstrip("; ")) if held else NO_ACTION
        return Action(
            lecam_weight=self.weight,
            lecam_real_anchor=real,
            lecam_fake_anchor=fake,
            reason=f"LeCam: D's logits are held to their averages {real:.3g} (real) and "
            f"{fake:.3g} (fake){held}",
        )
