"""Every key of the configuration with its type, default and meaning; and the shipped presets."""

import ast
import importlib.resources
import inspect
import re
from collections.abc import Iterator
from typing import Any

from counterpoise.config import RunConfig, Section
from counterpoise.config_file import load_config, preset_names
from counterpoise.objectives import OBJECTIVES
from counterpoise.registry import read_table
from generated import Pages
from generated.comments import comment_of
from generated.markdown import capitalised, code, docstring, fence, table, with_links

HEADING = ("key", "default", "may be", "meaning")
CONSTRAINED = {
    "PositiveInt": "whole, 1 or more",
    "NonNegativeInt": "whole, 0 or more",
    "Threads": "whole, 0 or more",
    "Width": "whole, from 1 to 65,536",
    "PositiveFloat": "above 0",
    "NonNegativeFloat": "0 or more",
    "Fraction": "from 0 to below 1",
    "Probability": "from 0 to 1",
    "Range": "a range: two numbers, the second not smaller",
    "Qualities": "a range from 1 to 100",
    "Factors": "from 0.05 to 1, from 1 to 4",
    "Weights": "a list of weights",
    "ObjectiveName": ", ".join(code(name) for name in OBJECTIVES),
    "Switch": "`auto`, `always`, `never`",
    "bool": "true or false",
    "str": "text",
    "AnyPath": "a path",
    "Source": "`spandrel:FILE`, or a dotted path",
    "Colour": "a list of numbers",
}


def pages() -> Pages:
    """The reference of keys, and the presets."""
    return {"reference/configuration.md": _reference(), "reference/presets.md": _presets()}


def _reference() -> str:
    parts = [
        "# Configuration",
        "Every key, with its default. One value is `--set train.batch_size=8`; several belong "
        "into a YAML file, for `--config mine.yaml`. A preset is such a file "
        "([Presets](presets.md)). Unknown keys and wrong values are all reported at once, and "
        "`counterpoise train ... --dry-run` prints what came out. This page is made from "
        "`counterpoise.config`.",
    ]
    for name, field in RunConfig.model_fields.items():
        section = field.annotation
        assert isinstance(section, type)
        assert issubclass(section, Section)
        parts += [f"## {name}", docstring(section), table(HEADING, _rows(name, section))]
    theirs = read_table("counterpoise", "known_names.toml")["names"]
    rows = [(code(name), code(ours)) for name, ours in theirs.items()]
    parts += [
        "## Names of other trainers",
        "What BasicSR and traiNNer-redux call it, in whatever section, and what it is here; "
        "`train` answers a configuration of theirs with these names.",
        table(("theirs", "here"), rows),
    ]
    return "\n\n".join(parts) + "\n"


def _rows(path: str, section: type[Section]) -> Iterator[tuple[str, str, str, str]]:
    written = _fields(section)
    for name, field in section.model_fields.items():
        key = f"{path}.{name}"
        nested = field.annotation
        if isinstance(nested, type) and issubclass(nested, Section):
            yield from _rows(key, nested)
            continue
        annotation, meaning = written[name]
        kind = _kind(annotation)
        yield code(key), code(_shown(field.default)), kind, capitalised(with_links(meaning))


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return str(value)


def _kind(annotation: str) -> str:
    """What a field with this annotation may be, in words."""
    annotation = re.sub(r"^Annotated\[(\w+), .*", r"\1", annotation)
    plain, optional = re.subn(r" \| None$", "", annotation)
    if plain.startswith("Literal["):
        choices = ast.literal_eval(f"({plain.removeprefix('Literal[').removesuffix(']')},)")
        text = ", ".join(code(choice) for choice in choices)
    elif plain.startswith("tuple["):
        text = "a list of paths" if "Path" in plain else "a list of numbers"
    elif plain.startswith("dict["):
        text = "a mapping"
    else:
        text = CONSTRAINED[plain]
    return text + (" or null" if optional else "")


def _fields(section: type[Section]) -> dict[str, tuple[str, str]]:
    """The annotation of each field as it is written, and its comment; inherited ones first."""
    parent = section.__base__
    inherited = {}
    if parent is not None and issubclass(parent, Section) and parent is not Section:
        inherited = _fields(parent)
    source = inspect.getsource(section)
    lines = source.split("\n")
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.ClassDef)
    return inherited | {
        node.target.id: (
            ast.unparse(node.annotation),
            comment_of(lines, node.lineno, node.end_lineno or node.lineno),
        )
        for node in definition.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def _presets() -> str:
    files = importlib.resources.files("counterpoise.presets")
    parts = [
        "# Presets",
        "`counterpoise train --preset NAME`; what a preset does not say is the default of "
        "[Configuration](configuration.md).",
        table(
            ("preset", "losses", "policy", "steps"),
            [
                (f"[`{name}`](#{name})", c.loss.letters, c.balance.policy, _steps(c))
                for name in preset_names()
                for c in [load_config(name)]
            ],
        ),
    ]
    for name in preset_names():
        text = (files / f"{name}.yaml").read_text(encoding="utf-8")
        parts += [f"## {name}", fence(text, "yaml")]
    parts.append(
        "The letters are the paper's: E squared error, P perceptual, A adversarial, T texture."
    )
    return "\n\n".join(parts) + "\n"


def _steps(config: RunConfig) -> str:
    pretrain = config.train.pretrain_steps
    return (f"{pretrain:,} of E, then " if pretrain else "") + f"{config.train.steps:,}"
