"""What a balance policy is.

A policy reads signals and answers with an action. It never sees a module, an optimizer or a
tensor, so the same class serves our loop, a loop of your own and a recorded log. Adding one is a
file with a class like those here, and a row in `policies.POLICIES`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from counterpoise.balance.smoothing import is_finite
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
    each with a default; the fields with `init=False` are its memory, which is saved and restored
    with a training: plain JSON values, or what has a `state_dict` of such. Their leading underscore
    is not part of a saved name.
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
        values = {saved: getattr(self, name) for saved, name in self._remembered().items()}
        return {
            saved: value.state_dict() if hasattr(value, "state_dict") else deepcopy(value)
            for saved, value in values.items()
        }

    def load_state_dict(self, state: Any) -> None:
        """Undo `state_dict`; `UserError` for the state of something else, which changes nothing.

        What remembers nothing loads the state of anything.
        """
        names = self._remembered()
        if not names:
            return
        if not isinstance(state, Mapping):
            raise UserError(f"the state of a policy cannot be {state!r:.40}")
        if odd := sorted(map(str, names.keys() ^ state.keys())):
            what = f"'{odd[0]}' is missing or has no place"
            raise UserError(f"the state is broken, or that of another policy: {what}")
        for saved, name in names.items():
            current = getattr(self, name)
            if hasattr(current, "load_state_dict"):
                current.load_state_dict(state[saved])
            else:
                setattr(self, name, deepcopy(state[saved]))

    def _remembered(self) -> dict[str, str]:
        """Attributes by the names that they are saved under."""
        names = [f.name for f in fields(self) if not f.init]  # type: ignore[arg-type]
        return {name.lstrip("_"): name for name in names}


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
