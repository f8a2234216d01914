"""Writes into docs/ what is made from the code: whole pages, and blocks in other pages.

It is committed, so that the documentation reads as plain files too. A block stands between
`<!-- generated: NAME -->` and `<!-- end of generated -->`, in YAML behind `#`.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from generated import (
    ROOT,
    Pages,
    command_line,
    configuration,
    cures,
    findings,
    layers,
    losses,
    policies,
    programs,
    study,
)
from generated.parts import PARTS

DOCS = ROOT / "docs"
MAKERS = (
    findings,
    cures,
    policies,
    losses,
    programs,
    configuration,
    study,
    command_line,
    layers,
)
# Folders below docs/ whose files are all written here.
FOLDERS = ("findings", "programs", "reference", "api")
BLOCK = re.compile(
    r"(^ *(?:<!--|#) generated: (.+?)(?: -->)?\n).*?(^ *(?:<!--|#) end of generated)",
    re.DOTALL | re.MULTILINE,
)


def out_of_date() -> dict[Path, str | None]:
    """Files that are not what the code makes of them, and what that is; None: none."""
    made: Pages = {}
    for maker in MAKERS:
        made |= maker.pages()
    wanted: dict[Path, str | None] = {DOCS / name: text for name, text in made.items()}
    there = {path for name in FOLDERS for path in (DOCS / name).glob("*.*")}
    wanted |= dict.fromkeys(there - set(wanted))
    blocks = {name: f"\n{part().strip()}\n\n" for name, part in PARTS.items()}
    blocks |= {f"navigation {name}": text for name, text in _navigation(made)}
    for path in (*DOCS.rglob("*.md"), ROOT / "mkdocs.yml"):
        if path not in wanted:
            wanted[path] = BLOCK.sub(lambda m: m[1] + blocks[m[2]] + m[3], path.read_text("utf-8"))
    return {path: text for path, text in wanted.items() if text != _there(path)}


def _navigation(made: Pages) -> Iterator[tuple[str, str]]:
    """The entries of the site's navigation for each folder of pages."""
    for folder in ("findings", "programs", "reference"):
        pages = (name for name in made if name.startswith(f"{folder}/"))
        yield folder, "".join(f"      - {name}\n" for name in pages)
    yield "api", layers.navigation()


def _there(path: Path) -> str | None:
    return path.read_text("utf-8") if path.is_file() else None


if __name__ == "__main__":
    for path, text in out_of_date().items():
        if text is None:
            path.unlink()
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))
