"""On the site a module has all of its docstrings, where the file has a table and its source."""

import re

# For docstrings.py, which MkDocs loads when this folder is not on the path any more.
import generated.comments
import generated.markdown  # noqa: F401

MODULE = re.compile(r"^## (counterpoise\S*)\n.*?^Source: [^\n]*$", re.DOTALL | re.MULTILINE)


def on_page_markdown(text: str, **_: object) -> str:
    """What `generated.layers` writes of a module gives way to mkdocstrings'."""
    return MODULE.sub(r"## \1\n\n::: \1", text)
