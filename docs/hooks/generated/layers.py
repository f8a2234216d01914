"""The layers of the package: their picture, and the API reference by layer."""

import ast
import html
import tomllib
from dataclasses import dataclass
from typing import Any

from generated import ROOT, Pages
from generated.markdown import capitalised, code, table

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
    """The layers, highest on top, as HTML."""
    rows = []
    for layer in reversed(layers()):
        units = "".join(
            f"<li><b>{html.escape(unit.name)}</b> <span>{html.escape(unit.what)}</span></li>"
            for unit in layer.units
        )
        rows.append(f"<li><em>{html.escape(layer.name)}</em><ul>{units}</ul></li>")
    return f'<ol class="layers" reversed>{"".join(rows)}</ol>'.replace("`", "") + "\n"


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
        "[`counterpoise.Balance`](anyloop.md#counterpoise.anyloop.handle.Balance) is all it takes; "
        "the rest is for those who build on the parts.",
    ]
    for layer, units in _public():
        parts.append(f"## {layer.name}")
        rows = []
        for unit in units:
            modules = "\n\n".join(f"::: {module}" for module in unit.modules())
            made[unit.page] = f"# {unit.name}\n\n{capitalised(unit.what)}.\n\n{modules}\n"
            rows += [
                (f"[`{name}`]({unit.name}.md#{name})", first_line(name)) for name in unit.modules()
            ]
        parts.append(table(("module", "what it is for"), rows))
    return {"api/index.md": "\n\n".join(parts) + "\n"} | made


def navigation() -> list[Any]:
    """The API pages for MkDocs' navigation, by layer."""
    return [
        "api/index.md",
        *({layer.name: [unit.page for unit in units]} for layer, units in _public()),
    ]


def _public() -> list[tuple[Layer, list[Unit]]]:
    """Layers with units that have public modules, highest first."""
    chosen = [(layer, [u for u in layer.units if u.public]) for layer in reversed(layers())]
    return [(layer, units) for layer, units in chosen if units]


def first_line(module: str) -> str:
    """The first line of a module's docstring."""
    path = ROOT / "src" / module.replace(".", "/")
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").split("\n")[0]
