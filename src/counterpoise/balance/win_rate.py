"""D's smoothed success decides which network trains."""

from dataclasses import field

from pydantic.dataclasses import dataclass

from counterpoise.balance.policy import CHECKED, Share, Stateful
from counterpoise.balance.smoothing import blend, clamp, is_finite
from counterpoise.config import Fraction
from counterpoise.records import Action, Signals


@dataclass(config=CHECKED)
class WinRatePolicy(Stateful):
    """Train G alone while D succeeds often enough, else D alone.

    With w D's smoothed success (it starts at `target`), a step trains only G where w >= target and
    only D otherwise; then

        w <- decay * w + (1 - decay) * success

    with success D's accuracy on fake images where G trains, and on real and fake images where D
    trains. One network always stands still: that is the rule, and each step's reason says which.

    Source: Sanakoyeu et al. 2018 (A Style-Aware Content Loss for Real-time HD Style Transfer, arXiv
    1807.10201), with the numbers of the authors' code (win rate 0.8, smoothing 0.05).
    """

    target: Share = 0.8
    decay: Fraction = 0.95
    _success: float = field(init=False)

    def __post_init__(self) -> None:
        self._success = self.target

    def observe(self, signals: Signals) -> Action:
        success = self._success
        g_trains = success >= self.target
        fake, real = signals.d_accuracy_fake, signals.d_accuracy_real
        measured = fake if g_trains else (real + fake) / 2
        held = "" if is_finite(measured) else "; held: D's accuracy is not finite"
        if not held:
            self._success = blend(success, clamp(measured, 0, 1), self.decay)
        if g_trains:
            reason = (
                f"D's smoothed success {success:.3f} is at least {self.target:g}: G trains{held}"
            )
            return Action(d_steps=0, reason=reason)
        reason = f"D's smoothed success {success:.3f} is below {self.target:g}: D trains{held}"
        return Action(g_steps=0, reason=reason)
