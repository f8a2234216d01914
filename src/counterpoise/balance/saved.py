"""Saving what a policy remembers, and refusing what was saved by something else."""

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import fields
from typing import Any, ClassVar, get_type_hints

from pydantic import TypeAdapter, ValidationError


class NotThisStateError(ValueError):
    """A saved state is of something else than what is to load it; the message says where."""


class Memory:
    """A dataclass whose state is its fields that are no arguments of `__init__` (`init=False`).

    They are plain JSON values, or have a `state_dict` of such; the leading underscore is not part
    of a saved name.
    """

    # Fields that states saved by earlier versions do not have: they begin anew.
    NEWER: ClassVar[frozenset[str]] = frozenset()

    def state_dict(self) -> dict[str, Any]:
        """A copy of what is remembered, as plain JSON values."""
        values = {saved: getattr(self, name) for saved, name in self._remembered().items()}
        return {
            saved: value.state_dict() if hasattr(value, "state_dict") else deepcopy(value)
            for saved, value in values.items()
        }

    def load_state_dict(self, state: Any) -> None:
        """Undo `state_dict`; `NotThisStateError` for the state of something else.

        What remembers nothing loads the state of anything. What a refused state has changed is not
        undone.
        """
        names, kinds = self._remembered(), get_type_hints(type(self))
        if names:
            refuse_unknown_names(state, set(names))
        for saved, name in names.items():
            if saved in self.NEWER and saved not in state:
                continue
            value, current = required_value(state, saved), getattr(self, name)
            if hasattr(current, "load_state_dict"):
                current.load_state_dict(value)
            elif is_kind(value, kinds[name]):
                setattr(self, name, deepcopy(value))
            else:
                raise NotThisStateError(f"'{saved}' cannot be {short(value)}")

    def _remembered(self) -> dict[str, str]:
        """Attributes by the names that they are saved under."""
        names = [f.name for f in fields(self) if not f.init]  # type: ignore[arg-type]
        return {name.lstrip("_"): name for name in names}


def required_value(state: Any, name: str) -> Any:
    """The value of a name that a saved state must have; else `NotThisStateError`."""
    if not isinstance(state, Mapping) or name not in state:
        raise NotThisStateError(f"'{name}' is missing")
    return state[name]


def refuse_unknown_names(state: Any, known: set[str]) -> None:
    """Raise `NotThisStateError` unless a state is a table of known names."""
    if not isinstance(state, Mapping):
        raise NotThisStateError(f"{short(state)} is no table of names and values")
    if unknown := sorted(str(name) for name in state if name not in known):
        raise NotThisStateError(f"'{unknown[0]}' has no place")


def is_kind(value: Any, kind: Any) -> bool:
    """Whether a JSON value is of a type, as annotated: an int is a float, a bool is no int."""
    try:
        TypeAdapter(kind).validate_json(json.dumps(value), strict=True)
    except (ValidationError, TypeError):
        return False
    return True


def check_fields(kind: type, values: Any, what: str) -> None:
    """Raise `NotThisStateError` unless a dataclass of plain fields can be made of the values."""
    if not is_kind(values, kind):
        raise NotThisStateError(f"'{what}' cannot be {short(values)}")
    refuse_unknown_names(values, {f.name for f in fields(kind)})


def is_count(value: Any) -> bool:
    """Whether a value is a whole number that is not negative, of 63 bits at most."""
    return is_kind(value, int) and 0 <= value < 1 << 63


def short(value: Any) -> str:
    """A value as it is quoted in a message."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
