"""Logs that are one JSON document over several lines: a history, an array, a notebook."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from counterpoise.logs.json_reader import JsonReader
from counterpoise.logs.lines import LineReader
from counterpoise.logs.runs import FormatReader

# What rows are called that are named by their place.
_STEP = re.compile(r"(?:step|iter(?:ation)?|epoch)?[ _-]?(\d{1,15})", re.IGNORECASE)


def read_document(text: str, mapping: Mapping[str, str]) -> FormatReader | None:
    """A reader that has read a JSON document; None for a text that is none, or has no rows."""
    try:
        document = json.loads(text.lstrip("\ufeff"))
    except (ValueError, RecursionError):
        return None
    if isinstance(document, dict) and "nbformat" in document:
        printed = LineReader(mapping)
        printed.feed(_printed(document))
        printed.finish()
        return printed
    reader = JsonReader(mapping)
    # An object is rows itself (a history) before a list in it is (`log_history`).
    for rows in _rows(document):
        for row in rows:
            reader.read_row(row)
        if any(collector.last_step is not None for collector in reader.collectors()):
            return reader
    return None


def _rows(document: Any) -> Iterator[list[dict[str, Any]]]:
    """What the rows of a document may be, likeliest first: its items, objects that are named by
    their step, the document itself, the longest list of objects in it."""
    if not isinstance(document, dict):
        yield _dicts(document)
        return
    places = [_STEP.fullmatch(name) for name in document]
    if len(places) > 1 and all(places) and all(isinstance(v, dict) for v in document.values()):
        rows = zip(places, document.values(), strict=True)
        yield [{"step": int(place[1]), **row} for place, row in rows if place]
    yield [document]
    yield max((_dicts(value) for value in document.values()), key=len, default=[])


def _printed(notebook: Mapping[str, Any]) -> Iterator[str]:
    """The lines that a notebook's cells printed, also as their results."""
    for cell in _dicts(notebook.get("cells")):
        for output in _dicts(cell.get("outputs")):
            data = output.get("data")
            text = data.get("text/plain") if isinstance(data, dict) else output.get("text")
            parts = text if isinstance(text, list) else [text]
            whole = "".join(part for part in parts if isinstance(part, str))
            # Each output ends its last line, or the next one would go on with it.
            yield from (f"{line}\n" for line in whole.split("\n") if line)


def _dicts(items: Any) -> list[dict[str, Any]]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
