"""What a balance policy is.

A policy reads signals and answers with an action. It never sees a module, an optimizer or a
tensor, so the same class serves our loop, a loop of your own and a recorded log. Adding one is a
file with a class like those here, and a row in `policies.POLICIES`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from counterpoise.balance.saved import Memory
from counterpoise.balance.smoothing import is_finite
from counterpoise.records import Action, Signals

# Whose numbers a policy has to see: those of the very batch that it decides about; those of the
# turn before, where it acts on averages over many steps, so that a turn more or less changes
# nothing that matters; or none, where it decides by `Signals.step` alone.
Needs = Literal["this turn", "last turn", "nothing"]

# For pydantic's `dataclass`: a policy's options are checked against their annotations.
CHECKED = ConfigDict(strict=True, arbitrary_types_allowed=True)
Share = Annotated[float, Field(gt=0, lt=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]
MostScale = Annotated[float, Field(ge=1, allow_inf_nan=False)]


class Policy(Memory, ABC):
    """Decides, each step, what is trained and how.

    A dataclass, of pydantic's for options that are checked. What `__init__` takes are its options,
    each with a default; the fields with `init=False` are its memory, which is saved and restored
    with a training.
    """

    # Numbers that are not needed are waited for neither on a GPU nor at the end of a turn; those of
    # a policy that needs nothing may be NaN in what it sees.
    needs: ClassVar[Needs] = "this turn"
    # Whether it does nothing without the sensors' readings.
    needs_sensors: ClassVar[bool] = False

    @abstractmethod
    def observe(self, signals: Signals) -> Action:
        """The action for this step. Called once per step, after D's forward pass on the step's
        real and fake images and before D's backward pass."""


@dataclass
class Stateful(Policy):
    """A policy with a memory, which includes what it has said already: one that cannot act is not
    silent, and no nuisance."""

    _said: list[str] = field(default_factory=list, init=False, repr=False)

    def _idle(self, problem: str) -> Action:
        """Leave everything as configured, and give the reason the first time."""
        if problem in self._said:
            return Action()
        self._said.append(problem)
        return Action(reason=f"nothing is done: {problem}")


def joined(*reasons: str) -> str:
    """The reasons that there are, as one."""
    return "; ".join(reason for reason in reasons if reason)


def equilibrium_loss(option: float, signals: Signals) -> float | None:
    """D's loss at equilibrium: the option where it is set (not 0), else the signals' own."""
    value = option or signals.d_equilibrium_loss
    return value if is_finite(value) else None
