"""Noise on D's inputs that fades."""

from dataclasses import field

from pydantic.dataclasses import dataclass

from counterpoise.balance.policy import CHECKED, Stateful
from counterpoise.balance.smoothing import clamp
from counterpoise.config import PositiveFloat, PositiveInt
from counterpoise.records import NO_ACTION, Action, Signals


@dataclass(config=CHECKED)
class InstanceNoisePolicy(Stateful):
    """Add Gaussian noise to all of D's inputs, real and fake, annealed linearly to nothing.

        std_t = std * max(1 - t / anneal_steps, 0)

    with t the steps since the policy first looked. Noise makes the two distributions overlap, so
    that D cannot separate them perfectly and its gradient to G does not vanish. `std` is in the
    images' own units (this project's lie in [0, 1]).

    Source: Sonderby et al. 2017 (arXiv 1610.04490), "Instance noise"; Arjovsky and Bottou 2017
    (arXiv 1701.04862), section 3. The numbers are common practice, not theirs.
    """

    needs = "nothing"

    std: PositiveFloat = 0.1
    anneal_steps: PositiveInt = 10000
    _first_step: int | None = field(default=None, init=False)

    def observe(self, signals: Signals) -> Action:
        if self._first_step is None:
            self._first_step = signals.step
        elapsed = signals.step - self._first_step
        std = self.std * clamp(1 - elapsed / self.anneal_steps, 0, 1)
        if not std:
            return NO_ACTION
        reason = f"noise of standard deviation {std:.3g} on D's inputs ({elapsed} steps in)"
        return Action(noise_std=std, reason=reason)
