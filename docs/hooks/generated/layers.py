"""The layers of the package: their picture, and the API reference by layer."""

import ast
import functools
import textwrap
import tomllib
from dataclasses import dataclass
from pathlib import Path

from generated import ROOT, Pages
from generated.markdown import capitalised, code, fence, table, with_links, without_emphasis

PACKAGE = ROOT / "src" / "counterpoise"
TABLE = ROOT / "docs" / "layers.toml"


@dataclass(frozen=True)
class Unit:
    """A module or package of `counterpoise`, and its modules in the API reference."""

    name: str
    what: str
    public: tuple[str, ...]

    @property
    def dotted(self) -> str:
        """Its name for an import."""
        return f"counterpoise.{self.name}"

    @property
    def page(self) -> str:
        """Its page of the API reference."""
        return f"api/{self.name}.md"

    def modules(self) -> list[str]:
        """The dotted names of its public modules."""
        return [f"{self.dotted}.{module}" if module else self.dotted for module in self.public]


@dataclass(frozen=True)
class Layer:
    """Units that may import what is below them."""

    name: str
    units: tuple[Unit, ...]


def layers() -> list[Layer]:
    """The table of `docs/layers.toml`, lowest first."""
    rows = tomllib.loads(TABLE.read_text(encoding="utf-8"))["layers"]
    return [
        Layer(
            row["name"],
            tuple(
                Unit(name, unit["what"], tuple(unit.get("public", ())))
                for name, unit in row["units"].items()
            ),
        )
        for row in rows
    ]


def picture() -> str:
    """The layers, highest on top."""
    width = max(len(layer.name) for layer in layers()) + 2
    lines = []
    for layer in reversed(layers()):
        units = ", ".join(unit.name for unit in layer.units)
        lines += textwrap.wrap(
            f"{layer.name:<{width}}{units}", 90, subsequent_indent=" " * width, tabsize=1,
            drop_whitespace=False, break_long_words=False,
        )  # fmt: skip
    return fence("\n".join(line.rstrip() for line in lines), "text")


def unit_list() -> str:
    """Every unit with what it is for and where its API is described."""
    rows = []
    for layer in reversed(layers()):
        for unit in layer.units:
            link = f"[API]({unit.page})" if unit.public else "internal"
            rows.append((code(unit.name), unit.what, link))
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
    for layer, units in _public():
        parts.append(f"## {layer.name}")
        rows = []
        for unit in units:
            modules = "\n".join(map(_module, unit.modules()))
            made[unit.page] = f"# {unit.name}\n\n{capitalised(unit.what)}.\n\n{modules}"
            rows += [
                (f"[`{name}`]({unit.name}.md#{anchor(name)})", _summary(_parsed(name)))
                for name in unit.modules()
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
    for layer, units in _public():
        lines.append(f"      - {layer.name}:")
        lines += [f"          - {unit.page}" for unit in units]
    return "\n".join(lines) + "\n"


def _public() -> list[tuple[Layer, list[Unit]]]:
    """Layers with units that have public modules, highest first."""
    chosen = [(layer, [u for u in layer.units if u.public]) for layer in reversed(layers())]
    return [(layer, units) for layer, units in chosen if units]


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
