"""Reads a configuration: a preset (or a YAML file) with `--set key.path=value` overrides.

All errors of one configuration are reported together, each with its key path.
"""

import contextlib
import difflib
import itertools
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from counterpoise.config import RunConfig, Section
from counterpoise.errors import UserError, refusing
from counterpoise.registry import read_table


class _Loader(yaml.SafeLoader):
    """The safe loader, which runs no code, without its taking the last of two equal keys."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                problem = f"key '{key.value}' is there twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(key.value)
        return node


def parse_yaml(text: str) -> Any:
    """The value of a YAML text; `ValueError`, in one line, where it has none."""
    try:
        return _Loader(text).get_single_data()
    # Its constructors raise ValueError, KeyError, RecursionError... on values of a wrong kind.
    except Exception as error:
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from None


@dataclass(frozen=True)
class Problem:
    """One error of a configuration: where (`train.batch_size`) and what."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


PRESETS = Path(__file__).parent / "presets"
AnySection = TypeVar("AnySection", bound=Section)


def preset_names() -> list[str]:
    """The names of the shipped presets, sorted."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def load_config(
    source: str | Path,
    overrides: Sequence[str] = (),
    checks: Sequence[Callable[[RunConfig], list[Problem]]] = (),
) -> RunConfig:
    """The configuration of preset `source`, or of the YAML file at that path, with overrides.

    `overrides` are `key.path=value` strings whose values are YAML.
    Raises `UserError` naming every unknown key and wrong value at once; where there is none, every
    impossible combination.
    """
    path, where = Path(source), f"config {source}"
    if str(source) in preset_names():
        path = PRESETS / f"{source}.yaml"
        where = f"preset {source}"
    elif path.suffix not in (".yaml", ".yml"):
        known = ", ".join(preset_names())
        raise UserError(f"no preset '{source}' (known: {known}) and not a .yaml file")
    return validated(RunConfig, read_mapping(path, where), where, overrides, checks)


def validated(
    kind: type[AnySection],
    tree: dict[str, Any],
    where: str,
    overrides: Sequence[str] = (),
    checks: Sequence[Callable[[AnySection], list[Problem]]] = (),
) -> AnySection:
    """A section from a raw mapping, into which the overrides are put; see `load_config`."""
    problems = [problem for item in overrides if (problem := _apply_override(tree, item))]
    try:
        section = kind.model_validate(tree)
    except ValidationError as error:
        problems += problems_of(error)
    else:
        problems += [problem for check in checks for problem in check(section)]
        if not problems:
            return section
    count = "1 error" if len(problems) == 1 else f"{len(problems)} errors"
    raise UserError(f"{where}: {count}: {'; '.join(map(str, problems))}")


def read_mapping(path: Path, where: str) -> dict[str, Any]:
    """The mapping that a YAML file holds; `UserError`, which calls it `where`, for any other."""
    with (
        refusing(f"{where}: cannot be read", OSError, instead="give a YAML file that can be"),
        refusing(f"{where}: not valid YAML", ValueError),
    ):
        tree = parse_yaml(path.read_text(encoding="utf-8-sig")) or {}
    if not isinstance(tree, dict):
        raise UserError(f"{where}: expected a mapping of sections at the top level")
    return tree


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The settings of a raw configuration by key path. What may have any keys is one setting: the
    options of a policy, the layers of a loss."""
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and not key.endswith((".options", ".layers", ".arguments")):
            yield from leaves(value, f"{key}.")
        else:
            yield key, value


def _apply_override(tree: dict[str, Any], item: str) -> Problem | None:
    """Set `key.path=value` in `tree`; a problem when the override itself is malformed."""
    path, equals, text = item.partition("=")
    if not equals or not path:
        return Problem(item, "an override is written key.path=value")
    try:
        value = parse_yaml(text)
    except ValueError as error:
        return Problem(path, f"'{text}' is not a YAML value ({error})")
    if isinstance(value, str):
        # `1e-4` is meant as a number (PyYAML follows YAML 1.1 and reads it as a string).
        with contextlib.suppress(ValueError):
            value = float(value)
    *parents, leaf = path.split(".")
    node = tree
    for key in parents:
        child = node.setdefault(key, {})
        if key == "degradation" and isinstance(child, str):  # the name alone, as it may be written
            child = node[key] = {"name": child}
        if not isinstance(child, dict):
            return Problem(path, f"'{key}' is a value, not a section")
        node = child
    node[leaf] = value
    return None


# In words of whoever writes the file.
PLAIN_MESSAGES = {
    "extra_forbidden": "unknown key",
    "tuple_type": "expected a list: write [a] or [a, b]",
    "model_type": "a section, not a value: write a key of it",
    "dict_type": "a section, not a value: write a key of it",
}


def problems_of(error: ValidationError, *under: str) -> list[Problem]:
    """What pydantic found wrong with the value under these keys; of a run's unknown keys, which may
    be meant."""
    problems = []
    for each in error.errors():
        message = PLAIN_MESSAGES.get(each["type"], "")
        if not message:
            message = each["msg"].removeprefix("Value error, ")
            message = message[0].lower() + message[1:]
            if each["type"] != "value_error" and not isinstance(each["input"], dict | Section):
                message += f" (given: {reprlib.repr(each['input'])})"
        path = ".".join(map(str, (*under, *each["loc"])))
        if each["type"] == "extra_forbidden" and error.title == RunConfig.__name__:
            unknown = dict(leaves({path: each["input"]})) or {path: None}
            problems += [Problem(key, message + _meant(key)) for key in unknown]
        else:
            problems.append(Problem(path, message))
    return problems


def _meant(path: str) -> str:
    """What an unknown key is likely to mean, by another trainer's name or as the nearest."""
    parts, theirs = path.split("."), read_table("counterpoise", "known_names.toml")["names"]
    spans = itertools.combinations(range(len(parts) + 1), 2)
    known = [theirs[name] for a, b in spans if (name := ".".join(parts[a:b])) in theirs]
    keys = [key for key, _ in leaves(RunConfig().model_dump())]
    near = known or difflib.get_close_matches(path, keys, 1, 0.75)
    return f", perhaps {near[0]}" if near else ""
