"""An explicit table from names to things, whose look-up of an unknown name lists the known ones."""

import tomllib
from importlib.resources import files
from typing import Any, NoReturn, TypeVar

from counterpoise.errors import UserError

T = TypeVar("T")


class Registry(dict[str, T]):
    """A name table, written out in full where it is defined.

    `kind` names the entries in error messages, for example "policy".
    `table[name]` raises `UserError` for an unknown name, and lists the known ones.
    """

    def __init__(self, kind: str, *entries: tuple[str, T]) -> None:
        super().__init__(entries)
        assert len(self) == len(entries), f"a {kind} is registered twice"
        self.kind = kind

    def __missing__(self, name: Any) -> NoReturn:
        raise UserError(f"unknown {self.kind} '{name}'; known: {', '.join(self)}")


def read_table(package: str, file: str) -> dict[str, Any]:
    """The rows of a table that is data and no code: a TOML file in a package, as written."""
    return tomllib.loads((files(package) / file).read_text(encoding="utf-8"))
