"""MkDocs' events: add the generated pages, fill them into the navigation, and parts into pages."""

import re
from pathlib import Path
from typing import Any

from generated import (
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
from loads import problems_of_site
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PART = re.compile(r"^<!-- generated: (.+?) -->$", re.MULTILINE)
FOLDER = re.compile(r"^([\w-]+)/\*$")
# A list item's further paragraphs and tables, indented by two columns as GitHub reads them.
LIST_ITEM = re.compile(r"^- ")

_made: Pages = {}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Make the pages, and put them where the navigation says `folder/*`."""
    _made.clear()
    for module in (
        findings,
        cures,
        policies,
        losses,
        programs,
        configuration,
        study,
        command_line,
        layers,
    ):
        _made.update(module.pages())
    config.nav = _filled(config.nav)
    return config


def _filled(nav: Any) -> Any:
    """The navigation with the generated pages of each folder in the order they were made."""
    if isinstance(nav, dict):
        return {title: _filled(item) for title, item in nav.items()}
    if not isinstance(nav, list):
        return nav
    items: list[Any] = []
    for item in nav:
        folder = FOLDER.match(item) if isinstance(item, str) else None
        if folder is None:
            items.append(_filled(item))
        elif folder[1] == "api":
            items += layers.navigation()
        else:
            items += [path for path in _made if path.startswith(f"{folder[1]}/")]
    return items


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for path, text in _made.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Put generated parts in their places."""

    def part(match: re.Match[str]) -> str:
        if match[1] not in PARTS:
            known = ", ".join(PARTS)
            raise PluginError(
                f"{page.file.src_uri}: no generated part '{match[1]}'; known: {known}"
            )
        return PARTS[match[1]]()

    return PART.sub(part, nested_by_four(markdown))


def nested_by_four(markdown: str) -> str:
    """What belongs to a list item, indented by four columns where it was by two.

    GitHub takes both, Python-Markdown only four.
    """
    lines, in_item, fenced = [], False, False
    for line in markdown.split("\n"):
        fenced ^= line.startswith("```")
        if line.strip() and not line.startswith("  "):
            in_item = bool(LIST_ITEM.match(line)) and not fenced
        nested = in_item and line.startswith("  ") and not line.startswith("    ")
        lines.append(f"  {line}" if nested else line)
    return "\n".join(lines)


def on_post_build(config: MkDocsConfig) -> None:
    """Refuse a site that cannot be read without a network."""
    problems = problems_of_site(Path(config.site_dir))
    if problems:
        raise PluginError("; ".join(problems))
