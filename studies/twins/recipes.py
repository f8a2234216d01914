"""Fixed recipes that a practitioner tries by hand, as policies: what `auto` has to beat."""

from pydantic.dataclasses import dataclass

from counterpoise.balance.policies import POLICIES
from counterpoise.balance.policy import CHECKED, Policy
from counterpoise.records import Action, Signals


@dataclass(config=CHECKED)
class FixedRecipe(Policy):
    """R1 in every turn where D takes it, with these steps and this rate of D, whatever happens."""

    r1: float = 0.1
    d_steps: int = 1
    d_learning_rate_scale: float = 1.0

    def observe(self, signals: Signals) -> Action:
        # A critic has a penalty of its own: its scores have no scale that gamma could be for.
        takes_r1 = signals.d_takes_r1 and signals.d_equilibrium_loss
        return Action(
            r1_weight=self.r1 if takes_r1 else 0.0,
            d_steps=self.d_steps,
            d_learning_rate_scale=self.d_learning_rate_scale,
            reason="a fixed recipe",
        )


class R1TwoDSteps(FixedRecipe):
    """R1, and two steps of D where the loop repeats its part."""

    def __init__(self) -> None:
        super().__init__(d_steps=2)


class R1Ttur(FixedRecipe):
    """R1, and twice D's learning rate."""

    def __init__(self) -> None:
        super().__init__(d_learning_rate_scale=2.0)


RECIPES: dict[str, type[Policy]] = {"r1-two-d-steps": R1TwoDSteps, "r1-ttur": R1Ttur}
POLICIES.update(RECIPES)
