"""Saved states are anybody's: what is read from one is checked before it is taken up."""

from collections.abc import Mapping
from typing import Any, get_type_hints


class NotThisStateError(ValueError):
    """A saved state is not of what is to take it up; the message says where they differ."""


def taken(state: Any, name: str, kind: Any) -> Any:
    """Entry `name` of a saved state, of a kind as for `is_kind`."""
    value = entry(state, name)
    if not is_kind(value, kind):
        raise NotThisStateError(f"'{name}' cannot be {short(value)}")
    return list(value) if isinstance(value, list) else value


def entry(state: Any, name: str) -> Any:
    """Entry `name` of a saved state."""
    if not isinstance(state, Mapping):
        raise NotThisStateError(f"{short(state)} is no table of names and values")
    if name not in state:
        raise NotThisStateError(f"'{name}' is missing")
    return state[name]


def refuse_others(state: Mapping[str, Any], known: set[str]) -> None:
    """Raise `NotThisStateError` where a state has an entry that is not known."""
    if others := sorted(str(name) for name in state if name not in known):
        raise NotThisStateError(f"'{others[0]}' has no place")


def kind_of(hint: Any, current: Any) -> Any:
    """What an attribute may be, from its type hint, and from what it is where that says too much
    (`list[str]`)."""
    if isinstance(current, list | tuple):  # JSON knows no tuples
        return list | tuple
    try:
        isinstance(object(), hint)
    except TypeError:
        return object if current is None else type(current)
    return hint


def is_kind(value: Any, kind: Any) -> bool:
    """Whether a plain value is of a type or union of types: an int is a float, a bool is no int."""
    if isinstance(value, bool) and not isinstance(object(), kind):
        return isinstance(False, kind) and not isinstance(0, kind)
    return isinstance(value, kind) or (isinstance(value, int) and isinstance(0.0, kind))


def check_fields(kind: type, values: Any, what: str) -> None:
    """Raise `NotThisStateError` unless a dataclass of plain fields can be made of the values."""
    if not isinstance(values, Mapping):
        raise NotThisStateError(f"'{what}' cannot be {short(values)}")
    kinds = get_type_hints(kind)
    refuse_others(values, set(kinds))
    for name, value in values.items():
        if not is_kind(value, kinds[name]):
            raise NotThisStateError(f"'{what}.{name}' cannot be {short(value)}")


def is_count(value: Any) -> bool:
    """Whether a value is a whole number that is not negative, of 63 bits at most."""
    return is_kind(value, int) and 0 <= value < 1 << 63


def short(value: Any) -> str:
    """A value as it is quoted in a message."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
