"""An explicit table from names to things: duplicates raise, unknown names list the known ones."""

from collections.abc import Iterator, Mapping
from typing import TypeVar

from counterpoise.errors import UserError

T = TypeVar("T")


class Registry(Mapping[str, T]):
    """A read-only name table, written out in full where it is defined.

    `kind` names the entries in error messages, for example "policy".
    Looking up an unknown name raises `UserError` and lists the known names.
    """

    def __init__(self, kind: str, *entries: tuple[str, T]) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}
        for name, entry in entries:
            if name in self._entries:
                raise ValueError(f"{kind} '{name}' is registered twice")
            self._entries[name] = entry

    def __getitem__(self, name: str) -> T:
        try:
            return self._entries[name]
        except KeyError:
            known = ", ".join(self._entries)
            raise UserError(f"unknown {self.kind} '{name}'; known: {known}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
