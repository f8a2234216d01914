"""What `auto` does about a G that moves faster than D can follow."""

import math
from dataclasses import dataclass, field
from functools import partial

from counterpoise.balance.saved import Memory
from counterpoise.balance.smoothing import Average, clamp, is_finite
from counterpoise.records import Signals

# Memory of D's ranking in steps about 5, and of its mean and swing about 50; steps before they say
# anything.
SHORT_DECAY, LONG_DECAY, LEAST_STEPS = 0.8, 0.98, 20
# Mean share of pairs that D ranks rightly below which it may be fooled, and what says that it is:
# a swing (standard deviation over steps) of that share, a gradient that points the same way step
# after step (cosine), or outputs of G that are alike (diversity in ratio to real ones).
CHANCE, SWINGS, CHASES = 0.65, 0.1, 0.7
FOOLED, ALIKE = 0.55, 0.5
# All is well below (cosine, swing) and above (diversity) these.
CALM_SWING, CALM_COSINE, DIVERSE = 0.06, 0.5, 0.7
# Steps of a lead before G is slowed; log units per step down, and up.
PATIENCE_STEPS = 8
SLOWING_RATE, RECOVERY_RATE = 0.05, 0.002
# Where D leads instead, G gets its learning rate back, before D loses any of its own. From the last
# of these means on D follows a slowed G, which is tried at a larger rate.
RETURN_RATE, FAST_RETURN_RATE, FOLLOWED = 0.005, 0.02, 0.8
# Each time that G runs ahead again, it comes back so many times slower.
RELAPSE = 4.0


_long_average = partial(Average, LONG_DECAY)


@dataclass
class FastGenerator(Memory):
    """Tells a D at chance that has nothing left to see from one that G runs away from.

    Both rank little more than half of the pairs rightly. Where G has become good, it stays there:
    D's gradient is noise, and G's outputs are as different from each other as real ones. Where G
    is too fast, it leaves each place as soon as D has learnt it: D is right in turns, chases G with
    gradients that point the same way step after step, or G's outputs are alike. Then G's learning
    rate is lowered until D follows, and comes back slowly, more slowly each time; sooner where D
    leads.
    """

    least_scale: float
    _log_least: float = field(init=False)
    _short: Average = field(default_factory=partial(Average, SHORT_DECAY), init=False)
    _mean: Average = field(default_factory=_long_average, init=False)
    _square: Average = field(default_factory=_long_average, init=False)
    _diversity: Average = field(default_factory=_long_average, init=False)
    _cosine: Average = field(default_factory=_long_average, init=False)
    _log_scale: float = field(default=0.0, init=False)
    _steps_of_lead: int = field(default=0, init=False)
    _recovery_rate: float = field(default=RECOVERY_RATE, init=False)
    _slowing: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._log_least = math.log(self.least_scale)

    @property
    def ranking(self) -> float | None:
        """The mean share of pairs that D ranks rightly; None in its first steps."""
        return self._mean.value if self._mean.count >= LEAST_STEPS else None

    @property
    def scale(self) -> float:
        """The factor on G's learning rate."""
        return math.exp(self._log_scale)

    def observe(self, signals: Signals, accuracy: float, high: float) -> str:
        """Move `scale`, by D's smoothed accuracy where D leads; the reason where it is below 1."""
        auc = signals.auc
        ranking = accuracy if auc is None or not is_finite(auc) else clamp(auc, 0, 1)
        short = self._short.update(ranking)
        assert short is not None, "finite"
        mean, square = self._mean.update(short), self._square.update(short * short)
        assert mean is not None, "finite"
        assert square is not None, "finite"
        readings = signals.readings
        diversity = _updated(self._diversity, readings.diversity_ratio)
        cosine = _updated(self._cosine, readings.d_gradient_cosine)
        if self._mean.count < LEAST_STEPS:
            return ""
        swing = math.sqrt(max(0.0, square - mean * mean))
        leads = self._leads(mean, swing, cosine, diversity)
        self._steps_of_lead = self._steps_of_lead + 1 if leads else max(0, self._steps_of_lead - 1)
        if leads and self._steps_of_lead >= PATIENCE_STEPS:
            if not self._slowing and self._log_scale < 0:
                self._recovery_rate /= RELAPSE
            self._slowing = True
            self._log_scale = max(self._log_scale - SLOWING_RATE, self._log_least)
        elif not leads:
            self._slowing = False
            calm = (
                swing < CALM_SWING
                and (cosine is None or cosine < CALM_COSINE)
                and (diversity is None or diversity > DIVERSE)
            )
            if accuracy > high:
                rate = FAST_RETURN_RATE
            elif mean > high:
                rate = RETURN_RATE
            elif mean > FOLLOWED:
                rate = RETURN_RATE * self._recovery_rate / RECOVERY_RATE
            else:
                rate = self._recovery_rate if calm else 0.0
            self._log_scale = min(0.0, self._log_scale + rate)
        if self._log_scale >= 0:
            return ""
        return (
            f"G ran ahead of D, which ranks {mean:.2f} of the pairs rightly (swing {swing:.2f}): "
            f"G's learning rate is {self.scale:.3g} times the configured one"
        )

    def _leads(
        self, mean: float, swing: float, cosine: float | None, diversity: float | None
    ) -> bool:
        chases = cosine is not None and cosine > CHASES
        alike = diversity is not None and diversity < ALIKE and mean < FOOLED
        return mean < CHANCE and (swing > SWINGS or chases or alike)


def _updated(average: Average, reading: float | None) -> float | None:
    return average.value if reading is None else average.update(reading)
