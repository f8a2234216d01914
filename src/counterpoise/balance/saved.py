"""Saving what a policy remembers, and refusing what was saved by something else."""

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import fields
from typing import Annotated, Any, get_type_hints

from pydantic import Field, TypeAdapter, ValidationError

# Whole numbers that fit into a tensor.
Count = Annotated[int, Field(ge=0, lt=1 << 63)]


class NotThisStateError(ValueError):
    """A saved state is of something else than what is to load it; the message says where."""


class Memory:
    """A dataclass whose state is its fields that are no arguments of `__init__` (`init=False`).

    They are plain JSON values, or have a `state_dict` of such; the leading underscore is not part
    of a saved name.
    """

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
        if not names:
            return
        if not isinstance(state, Mapping):
            raise NotThisStateError(f"{short(state)} is no table of names and values")
        if odd := sorted(map(str, names.keys() ^ state.keys())):
            raise NotThisStateError(f"'{odd[0]}' is missing or has no place")
        for saved, name in names.items():
            value, current = state[saved], getattr(self, name)
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


def is_kind(value: Any, kind: Any) -> bool:
    """Whether a JSON value is of a type, as annotated: an int is a float, a bool is no int."""
    try:
        TypeAdapter(kind).validate_json(json.dumps(value), strict=True)
    except (ValidationError, TypeError):
        return False
    return True


def short(value: Any) -> str:
    """A value as it is quoted in a message."""
    return f"{value!r:.40}"
