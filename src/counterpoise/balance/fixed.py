"""Policies that never look at a number."""

from dataclasses import field

from pydantic.dataclasses import dataclass

from counterpoise.balance.policy import CHECKED, Policy
from counterpoise.balance.smoothing import clamp
from counterpoise.config import PositiveFloat, PositiveInt
from counterpoise.records import NO_ACTION, Action, Signals


@dataclass(config=CHECKED)
class NonePolicy(Policy):
    """Both networks are trained in every step, as configured."""

    needs = "nothing"

    def observe(self, signals: Signals) -> Action:
        return NO_ACTION


@dataclass(config=CHECKED)
class RatioPolicy(Policy):
    """`d_steps` updates of D for `g_steps` updates of G, each further one on a fresh batch.

    Source: Goodfellow et al. 2014, algorithm 1 (k steps of D); Arjovsky et al. 2017 use 5 : 1.
    """

    needs = "nothing"

    d_steps: PositiveInt = 1
    g_steps: PositiveInt = 1

    def observe(self, signals: Signals) -> Action:
        if self.d_steps == self.g_steps == 1:
            return NO_ACTION
        reason = f"{self.d_steps} updates of D for {self.g_steps} of G"
        return Action(d_steps=self.d_steps, g_steps=self.g_steps, reason=reason)


@dataclass(config=CHECKED)
class TturPolicy(Policy):
    """D and G keep learning rates of their own, multiples of the configured ones, all the way.

    The default is D 4 : G 1, as in SAGAN (4e-4 and 1e-4).

    Source: Heusel et al. 2017 (arXiv 1706.08500), "Two Time-Scale Update Rule for GANs";
    Zhang et al. 2019 (SAGAN, arXiv 1805.08318), section 4 ("Experiments"), for the ratio.
    """

    needs = "nothing"

    d_learning_rate_scale: PositiveFloat = 4.0
    g_learning_rate_scale: PositiveFloat = 1.0

    def observe(self, signals: Signals) -> Action:
        return Action(
            d_learning_rate_scale=self.d_learning_rate_scale,
            g_learning_rate_scale=self.g_learning_rate_scale,
            reason=f"two time-scales: learning rates are {self.d_learning_rate_scale:g} (D) and "
            f"{self.g_learning_rate_scale:g} (G) times the configured ones",
        )


@dataclass(config=CHECKED)
class InstanceNoisePolicy(Policy):
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
