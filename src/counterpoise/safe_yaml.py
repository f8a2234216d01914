"""Reads YAML that anybody may have written: plain values, within limits of size and depth.

PyYAML's safe loader runs no code, but it recurses as deep as the text does, takes quadratic time
over nested brackets, lets a few aliases stand for billions of values, keeps the last of two equal
keys, and raises whatever a malformed number or date runs into.
"""

import errno
from pathlib import Path
from typing import Any

import yaml

# Configurations have some kilobytes and four levels.
MOST_CHARACTERS = 1_000_000
MOST_DEPTH = 40
# Values, each counted as often as aliases repeat it.
MOST_VALUES = 100_000
# Of a number or a date.
MOST_NUMBER_CHARACTERS = 400
_NUMBERS = {f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "timestamp")}


class BadYamlError(ValueError):
    """A text that is not YAML, or too much of it; one line says what and where."""


def parse(text: str) -> Any:
    """The value of a YAML text; `BadYamlError` where it has none."""
    if len(text) > MOST_CHARACTERS:
        raise BadYamlError(f"{len(text):,} characters; at most {MOST_CHARACTERS:,} are read")
    try:
        return _Loader(text).get_single_data()
    # Its constructors raise AttributeError, KeyError, OverflowError... on values of a wrong kind.
    except Exception as error:
        detail = " ".join(str(error).split())[:500]
        if not isinstance(error, yaml.YAMLError):
            detail = f"a value that is not of its kind ({type(error).__name__}: {detail})"
        raise BadYamlError(detail) from None


def read(path: Path) -> Any:
    """The value of a YAML file; `BadYamlError`, also where it is not UTF-8, or `OSError`."""
    if path.exists() and not path.is_file():  # a pipe or a device might never end
        raise OSError(errno.EINVAL, "not a regular file")
    with path.open("rb") as file:
        data = file.read(4 * MOST_CHARACTERS + 1)
    try:
        return parse(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise BadYamlError(f"not UTF-8: {error.reason} at byte {error.start}") from None


class _Loader(yaml.SafeLoader):
    """A safe loader that stops at the limits, and at a key that is there already."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def fetch_flow_collection_start(self, token: Any) -> None:
        # The scanner looks through all open brackets at each character.
        if self.flow_level >= MOST_DEPTH:
            raise _problem(f"nested more than {MOST_DEPTH} deep", self.get_mark())
        super().fetch_flow_collection_start(token)

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise _problem(f"nested more than {MOST_DEPTH} deep", self.get_mark())
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def compose_scalar_node(self, anchor: Any) -> Any:
        node = super().compose_scalar_node(anchor)
        if len(node.value) > MOST_NUMBER_CHARACTERS and node.tag in _NUMBERS:
            raise _problem(f"a number of {len(node.value):,} characters", node.start_mark)
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    raise _problem(f"key '{key.value}' is there twice", key.start_mark)
                seen.add((key.tag, key.value))
        return node

    def compose_document(self) -> yaml.Node | None:
        node = super().compose_document()
        values, depth = _size(node, {})
        if values > MOST_VALUES:
            what = f"more than {MOST_VALUES:,} values, aliases followed (or one holds itself)"
            raise _problem(what, None)
        if depth > MOST_DEPTH:
            raise _problem(f"nested more than {MOST_DEPTH} deep by aliases", None)
        return node


def _problem(text: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=text, problem_mark=mark)


def _size(node: Any, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """How many values a node stands for, and how deep; `known` has those of nodes by identity."""
    if id(node) not in known:
        known[id(node)] = MOST_VALUES + 1, 0  # met again before it is known: it holds itself
        values, depth = 1, 0
        if isinstance(node, yaml.CollectionNode):
            for item in node.value:
                for part in item if isinstance(item, tuple) else (item,):
                    more, below = _size(part, known)
                    values, depth = values + more, max(depth, below)
        known[id(node)] = values, depth + 1
    return known[id(node)]
