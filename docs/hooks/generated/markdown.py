"""Markdown from values."""

import inspect
import re
from collections.abc import Iterable, Sequence

ARXIV = re.compile(r"(?:arXiv\s+)?\b(\d{4}\.\d{5})\b")


def table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells are Markdown, with `|` and line ends taken care of."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def fence(code: str, language: str) -> str:
    """A block of code."""
    return f"```{language}\n{code.rstrip()}\n```"


def code(text: object) -> str:
    """Inline code, also for text with backticks or nothing in it."""
    shown = str(text)
    return f"`` {shown} ``" if "`" in shown else f"`{shown}`" if shown else "(empty)"


def with_links(text: str) -> str:
    """Text whose arXiv numbers are links."""
    return ARXIV.sub(r"[arXiv \1](https://arxiv.org/abs/\1)", text)


def without_emphasis(text: str) -> str:
    """Text whose asterisks are asterisks (`L*`), in code as outside of it."""
    lines = text.split("\n")
    return "\n".join(line if line.startswith("    ") else _escaped(line) for line in lines)


def _escaped(line: str) -> str:
    parts = line.split("`")
    parts[::2] = [part.replace("*", r"\*") for part in parts[::2]]
    return "`".join(parts)


def docstring(thing: object) -> str:
    """A docstring as Markdown; indented formulas and examples stay blocks of code."""
    return as_markdown(thing.__doc__ or "")


def as_markdown(text: str) -> str:
    """`docstring` of its text."""
    return with_links(without_emphasis(inspect.cleandoc(text)))


def first_sentence(text: str) -> tuple[str, str]:
    """The first clause of a text's first paragraph, without its stop, and the rest of it."""
    paragraph = " ".join(text.strip().partition("\n\n")[0].split())
    first, *rest = re.split(r"(?<=[.;:])\s", paragraph, maxsplit=1)
    return first.rstrip(".;:"), capitalised("".join(rest))


def capitalised(text: str) -> str:
    """A text with a large first letter."""
    return text[:1].upper() + text[1:]


def source_of(text: str) -> str:
    """What a docstring says after "Source:", up to its paragraph's end; empty where it does not."""
    match = re.search(r"Source: (.+?)(?:\n\n|\Z)", text, re.DOTALL)
    return capitalised(" ".join(match[1].split()).rstrip(".")) if match else ""
