"""What a balance policy is.

A policy reads signals and answers with an action. It never sees a module, an optimizer or a
tensor, so the same class serves our loop, a loop of your own and a recorded log. Adding one is a
file with a class like those here, and a row in `policies.POLICIES`.
"""

from abc import ABC, abstractmethod
from copy import deepcopy
from dataclasses import fields
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from counterpoise.errors import UserError
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


class Policy(ABC):
    """Decides, each step, what is trained and how.

    A dataclass, of pydantic's for options that are checked. What `__init__` takes are its options,
    each with a default; the fields with `init=False` are its memory, plain JSON values that are
    saved and restored with a training. Their leading underscore is not part of a saved name.
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

    def state_dict(self) -> dict[str, Any]:
        """A copy of what is remembered, as plain JSON values."""
        return {saved: deepcopy(getattr(self, name)) for saved, name in self._remembered().items()}

    def load_state_dict(self, state: Any) -> None:
        """Undo `state_dict`; `UserError` for the state of something else, which changes nothing.

        What earlier versions remembered besides is left out.
        """
        names = self._remembered()
        if missing := sorted(names.keys() - state.keys()):
            what = f"'{missing[0]}' is missing"
            raise UserError(f"the state is broken, or that of another policy: {what}")
        for saved, name in names.items():
            setattr(self, name, deepcopy(state[saved]))

    def _remembered(self) -> dict[str, str]:
        """Attributes by the names that they are saved under."""
        names = [f.name for f in fields(self) if not f.init]  # type: ignore[arg-type]
        return {name.lstrip("_"): name for name in names}


def joined(*reasons: str) -> str:
    """The reasons that there are, as one."""
    return "; ".join(reason for reason in reasons if reason)
