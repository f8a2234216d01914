"""Reads a configuration: a preset (or a YAML file) with `--set key.path=value` overrides.

All errors of one configuration are reported together, each with its key path.
"""

import copy
import importlib.resources
import reprlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from counterpoise import safe_yaml
from counterpoise.config import RunConfig, Section
from counterpoise.errors import UserError

# Of a value or a name in a message.
MOST_SHOWN_CHARACTERS = 120


@dataclass(frozen=True)
class Problem:
    """One error of a configuration: where (`train.batch_size`) and what."""

    path: str
    message: str


# A check of a part that only a higher layer knows (a policy's options): config -> problems.
ConfigCheck = Callable[[RunConfig], list[Problem]]


def preset_names() -> list[str]:
    """The names of the shipped presets, sorted."""
    folder = importlib.resources.files("counterpoise.presets")
    return sorted(
        f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")
    )


def load_config(
    source: str | Path, overrides: Sequence[str] = (), checks: Sequence[ConfigCheck] = ()
) -> RunConfig:
    """The configuration of preset `source`, or of the YAML file at that path, with overrides.

    `overrides` are `key.path=value` strings whose values are YAML.
    Raises `UserError` naming every unknown key, wrong value and impossible combination at once.
    """
    tree, where = _read_tree(source)
    problems = [problem for item in overrides if (problem := _apply_override(tree, item))]
    config, invalid = _validate(tree)
    problems += invalid
    if config is not None:
        problems += [problem for check in checks for problem in check(config)]
    if config is None or problems:
        count = "1 error" if len(problems) == 1 else f"{len(problems)} errors"
        lines = "; ".join(f"{p.path}: {p.message}" for p in problems)
        raise UserError(f"{where}: {count}: {lines}")
    return config


# In words of whoever writes the file.
PLAIN_MESSAGES = {
    "extra_forbidden": "unknown key",
    "tuple_type": "expected a list: write [a] or [a, b]",
    "model_type": "a section, not a value: write a key of it",
    "dict_type": "a section, not a value: write a key of it",
}


def _validate(tree: dict[str, Any]) -> tuple[RunConfig | None, list[Problem]]:
    """The configuration and what is wrong with it.

    Wrong values are put back to their defaults, so that what depends on the others is checked too;
    None where that cannot be.
    """
    try:
        return RunConfig.model_validate(tree), []
    except ValidationError as error:
        errors = error.errors()
    problems = [Problem(".".join(map(str, e["loc"])), plain_message(e)) for e in errors]
    repaired = copy.deepcopy(tree)
    for item in errors:
        node: Any = repaired
        # The last key of a location that is there: pydantic also names elements and alternatives.
        for depth, key in enumerate(item["loc"], start=1):
            last = depth == len(item["loc"]) or not isinstance(node.get(key), dict)
            if last:
                node.pop(key, None)
                break
            node = node[key]
    try:
        return RunConfig.model_validate(repaired), problems
    except ValidationError:
        return None, problems


def _read_tree(source: str | Path) -> tuple[dict[str, Any], str]:
    """The raw mapping of a preset or file, and what to call it in messages."""
    if str(source) in preset_names():
        file = importlib.resources.files("counterpoise.presets") / f"{source}.yaml"
        tree, where = safe_yaml.parse(file.read_text(encoding="utf-8")), f"preset {source}"
    else:
        path, where = Path(source), f"config {source}"
        if path.suffix not in (".yaml", ".yml"):
            known = ", ".join(preset_names())
            raise UserError(f"no preset '{source}' (known: {known}) and not a .yaml file")
        try:
            tree = safe_yaml.read(path)
        except OSError as error:
            raise UserError(
                f"{where}: cannot be read ({error.strerror or error}); give a preset or a YAML file"
            ) from None
        except safe_yaml.BadYamlError as error:
            raise UserError(f"{where}: not valid YAML: {error}") from None
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        raise UserError(f"{where}: expected a mapping of sections at the top level")
    return tree, where


def _apply_override(tree: dict[str, Any], item: str) -> Problem | None:
    """Set `key.path=value` in `tree`; a problem when the override itself is malformed."""
    path, equals, text = item.partition("=")
    if not equals or not path:
        return Problem(item, "an override is written key.path=value")
    try:
        value = safe_yaml.parse(text)
    except safe_yaml.BadYamlError as error:
        return Problem(path, f"'{shortened(text)}' is not a YAML value ({error})")
    if isinstance(value, str):
        value = _yaml_1_2_number(value)
    *parents, leaf = path.split(".")
    if len(parents) > safe_yaml.MOST_DEPTH:
        return Problem(shortened(path), "no key is this deep")
    node = tree
    for key in parents:
        child = node.setdefault(key, {})
        if not isinstance(child, dict):
            return Problem(path, f"'{key}' is a value, not a section")
        node = child
    node[leaf] = value
    return None


def _yaml_1_2_number(text: str) -> str | float:
    """`1e-4` as the number it is meant as (PyYAML follows YAML 1.1 and reads it as a string)."""
    try:
        return float(text)
    except ValueError:
        return text


def plain_message(error: Any) -> str:
    """What is wrong with a value, from pydantic's account of it."""
    if error["type"] in PLAIN_MESSAGES:
        return PLAIN_MESSAGES[error["type"]]
    message = str(error["msg"]).removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    given = error.get("input")
    if error["type"] == "value_error" or isinstance(given, dict | Section):
        return message
    return f"{message} (given: {_shown(given)})"


def _shown(value: Any) -> str:
    """A value in a message, in little space however large it is."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = MOST_SHOWN_CHARACTERS
    return short.repr(value)


def shortened(text: str) -> str:
    """Text from a user in a message, in little space however long it is."""
    return text if len(text) <= MOST_SHOWN_CHARACTERS else text[:MOST_SHOWN_CHARACTERS] + "..."
