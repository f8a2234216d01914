"""What the policies with a memory share: saving it, and saying once what they lack."""

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Protocol, get_type_hints, runtime_checkable

from counterpoise.balance.saved import entry, kind_of, refuse_others, taken
from counterpoise.balance.smoothing import is_finite
from counterpoise.records import Action, Signals


@runtime_checkable
class Memory(Protocol):
    """A part of a policy that remembers something."""

    def state_dict(self) -> Any: ...
    def load_state_dict(self, state: Any) -> None: ...


@dataclass
class Stateful:
    """A policy whose options are its init fields and whose memory is all its other fields.

    Memory is plain JSON values and objects with a `state_dict` of such; the leading underscore is
    not part of a saved name.
    """

    # Memories that states saved by earlier versions do not have: they begin anew.
    NEWER: ClassVar[frozenset[str]] = frozenset()
    # What has been said already, so that a policy that cannot act is not silent and not a nuisance.
    _said: list[str] = field(default_factory=list, init=False, repr=False)

    def state_dict(self) -> dict[str, Any]:
        return {
            f.name.lstrip("_"): _plain(getattr(self, f.name)) for f in fields(self) if not f.init
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Undo `state_dict`; `NotThisStateError` for the state of something else."""
        names = {f.name.lstrip("_"): f.name for f in fields(self) if not f.init}
        refuse_others(state, set(names))
        hints = get_type_hints(type(self))
        for saved, name in names.items():
            if saved in self.NEWER and saved not in state:
                continue
            current = getattr(self, name)
            if isinstance(current, Memory):
                current.load_state_dict(entry(state, saved))
            else:
                setattr(self, name, taken(state, saved, kind_of(hints[name], current)))

    def _idle(self, problem: str) -> Action:
        """Leave everything as configured, and give the reason the first time."""
        if problem in self._said:
            return Action()
        self._said.append(problem)
        return Action(reason=f"nothing is done: {problem}")


def equilibrium_loss(option: float, signals: Signals) -> float | None:
    """D's loss at equilibrium: the option where it is set (not 0), else the signals' own."""
    value = option or signals.d_equilibrium_loss
    return value if is_finite(value) else None


def _plain(value: Any) -> Any:
    if isinstance(value, Memory):
        return value.state_dict()
    return list(value) if isinstance(value, list) else value
