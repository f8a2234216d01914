"""The layers of the package: their picture, and the API reference by layer."""

import ast
import functools
import textwrap
import tomllib
from pathlib import Path
from typing import Any

from generated import ROOT, Pages
from generated.markdown import capitalised, code, fence, table, with_links, without_emphasis

PACKAGE = ROOT / "src" / "counterpoise"
TABLE = ROOT / "docs" / "layers.toml"


@functools.cache
def layers() -> dict[str, dict[str, Any]]:
    """The units of each layer by name, as `docs/layers.toml` has them, the highest layer first."""
    rows = tomllib.loads(TABLE.read_text(encoding="utf-8"))["layers"]
    return {row["name"]: row["units"] for row in reversed(rows)}


def picture() -> str:
    """The layers, highest on top."""
    width = max(map(len, layers())) + 2
    lines = []
    for layer, units in layers().items():
        lines += textwrap.wrap(
            f"{layer:<{width}}{', '.join(units)}", 90, subsequent_indent=" " * width, tabsize=1,
            drop_whitespace=False, break_long_words=False,
        )  # fmt: skip
    return fence("\n".join(line.rstrip() for line in lines), "text")


def unit_list() -> str:
    """Every unit with what it is for and where its API is described."""
    rows = []
    for units in layers().values():
        for name, unit in units.items():
            link = f"[API](api/{name}.md)" if "public" in unit else "internal"
            rows.append((code(name), unit["what"], link))
    return table(("unit", "what it is for", "reference"), rows)


def pages() -> Pages:
    """The API reference: an index, and a page for each unit that has public modules."""
    made: Pages = {}
    parts = [
        "# API",
        "The public modules from their own docstrings, grouped by [layer](../architecture.md), "
        "highest first. For a loop of your own, "
        f"[`counterpoise.Balance`](anyloop.md#{anchor('counterpoise.anyloop.handle')}) is all it "
        "takes; the rest is for those who build on the parts.",
    ]
    for layer, units in _public().items():
        parts.append(f"## {layer}")
        rows = []
        for unit, of in units.items():
            named = [f"counterpoise.{unit}.{module}".rstrip(".") for module in of["public"]]
            modules = "\n".join(map(_module, named))
            made[f"api/{unit}.md"] = f"# {unit}\n\n{capitalised(of['what'])}.\n\n{modules}"
            rows += [
                (f"[`{name}`]({unit}.md#{anchor(name)})", _summary(_parsed(name))) for name in named
            ]
        parts.append(table(("module", "what it is for"), rows))
    return {"api/index.md": "\n\n".join(parts) + "\n"} | made


def _module(name: str) -> str:
    """A module in short, for who reads the file; `site_hook.py` puts all of it in its place."""
    definitions = (
        node
        for node in _parsed(name).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")
    )
    rows = [(code(node.name), _summary(node)) for node in definitions]
    source = _file(name).relative_to(ROOT).as_posix()
    parts = [
        f"## {name}",
        _summary(_parsed(name)),
        *([table(("name", "what it is"), rows)] if rows else []),
        f"Source: [{source}](../../{source})",
    ]
    return "\n\n".join(parts) + "\n"


def anchor(module: str) -> str:
    """A module's anchor in its page, the same for a code host and for the site."""
    return module.replace(".", "")


def navigation() -> str:
    """The API pages for MkDocs' navigation, by layer."""
    lines = ["      - api/index.md"]
    for layer, units in _public().items():
        lines.append(f"      - {layer}:")
        lines += [f"          - api/{unit}.md" for unit in units]
    return "\n".join(lines) + "\n"


def _public() -> dict[str, dict[str, Any]]:
    """Layers with their units that have public modules."""
    chosen = {
        layer: {name: unit for name, unit in units.items() if "public" in unit}
        for layer, units in layers().items()
    }
    return {layer: units for layer, units in chosen.items() if units}


def _file(module: str) -> Path:
    path = ROOT / "src" / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@functools.cache
def _parsed(module: str) -> ast.Module:
    return ast.parse(_file(module).read_text(encoding="utf-8"))


def _summary(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> str:
    """The first paragraph of a docstring."""
    paragraph = (ast.get_docstring(node) or "").partition("\n\n")[0]
    return with_links(without_emphasis(" ".join(paragraph.split())))
