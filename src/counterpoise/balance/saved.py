"""What may be in a saved state, and how it is refused."""

import json
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

# Whole numbers that fit into a tensor.
Count = Annotated[int, Field(ge=0, lt=1 << 63)]


class NotThisStateError(ValueError):
    """A saved state is of something else than what is to load it; the message says where."""


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
