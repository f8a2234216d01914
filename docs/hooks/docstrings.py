"""Docstrings of this project as Markdown: lists of parameters become lists, comments are read.

A field of a class is documented by the comment over it, or behind it, as it is in the source.
"""

import re
from pathlib import Path

import griffe

# Loaded by then: MkDocs reads its hooks before its plugins are used.
from generated.comments import comment_of
from generated.markdown import without_emphasis

ITEM = re.compile(r"^(\w+(?:, \w+)*): (.+)$")


class Docstrings(griffe.Extension):
    """Rewrites docstrings in place, and gives fields their comments."""

    def on_instance(self, *, obj: griffe.Object, **_: object) -> None:
        """Paragraphs of `name: what it is` lines are lists; an asterisk is an asterisk."""
        if obj.docstring is not None:
            obj.docstring.value = as_lists(without_emphasis(obj.docstring.value))

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: object) -> None:
        """The comment of a field of a class."""
        if attr.docstring is None and attr.lineno and attr.parent and attr.parent.is_class:
            assert isinstance(attr.filepath, Path)
            lines = attr.filepath.read_text(encoding="utf-8").split("\n")
            text = comment_of(lines, attr.lineno, attr.endlineno or attr.lineno)
            if text:
                attr.docstring = griffe.Docstring(without_emphasis(text), parent=attr)


def as_lists(text: str) -> str:
    """Text whose paragraphs of at least two `name: what` lines are lists."""
    return "\n\n".join(_paragraph(part) for part in re.split(r"\n{2,}", text))


def _paragraph(text: str) -> str:
    lines = text.split("\n")
    starts = [bool(ITEM.match(line)) for line in lines]
    continued = all(
        start or line.startswith("    ") for start, line in zip(starts, lines, strict=True)
    )
    if not starts[0] or not continued or sum(starts) < 2:
        return text
    return "\n".join(
        ITEM.sub(r"- **\1**: \2", line) if start else line
        for start, line in zip(starts, lines, strict=True)
    )
