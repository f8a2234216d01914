"""Logs that are one JSON document over several lines: a history, an array, a notebook."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from counterpoise.errors import UserError
from counterpoise.logs.json_reader import JsonReader, begins_json
from counterpoise.logs.runs import FormatReader, RunCollector

# A document is read whole: one of nothing but brackets takes 25 times its size then.
MOST_BYTES = 16 << 20
# Also a line that is cut before its end begins so.
_BEGINS = re.compile(r'[\[{]\s*(?:$|["{])')
# What rows are called that are named by their place.
_STEP = re.compile(r"(?:step|iter(?:ation)?|epoch)?[ _-]?(\d{1,15})", re.IGNORECASE)
# A notebook says so at its end; at its beginning it has cells, with their kinds.
NOTEBOOK_LOOK_BYTES = 1 << 20


class DocumentReader:
    """Reads what begins like a JSON document, which only its end can show to be one.

    Lines may come in portions. Until `finish` it has what `lines` reads in them, and that it keeps
    where they turn out to be no document (a printed configuration with a log below): so a document
    that is watched as it grows tells nothing.
    """

    def __init__(
        self, source: str, lines: FormatReader, rows: JsonReader, printed: FormatReader
    ) -> None:
        """`rows` reads the objects of a document, `printed` what a notebook's cells printed."""
        self._source = source
        self._reader = lines
        self._rows, self._printed = rows, printed
        self._document = bytearray()
        self._is_too_large = False

    def feed(self, lines: Iterable[str]) -> None:
        """Read further lines."""
        self._reader.feed(self._kept(lines))

    def _kept(self, lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            if not self._is_too_large:
                self._document += line.encode("utf-8", errors="replace")
                self._is_too_large = len(self._document) > MOST_BYTES
            yield line

    def finish(self) -> None:
        """No line will come: read the document; `UserError` for one that is too large."""
        if self._is_too_large:
            begin = self._document[:NOTEBOOK_LOOK_BYTES]
            known = any(collector.last_step is not None for collector in self._reader.collectors())
            if b'"cell_type"' in begin or not known:
                raise UserError(
                    f"{self._source}: one JSON document of more than {MOST_BYTES >> 20} MiB; give "
                    "its numbers as JSON lines (an object to a line) or CSV"
                )
            document = None
        else:
            try:
                document = json.loads(self._document.removeprefix(b"\xef\xbb\xbf"))
            except (ValueError, RecursionError):
                document = None
        self._document = bytearray()
        if isinstance(document, dict) and "nbformat" in document:
            self._reader = self._printed
            self._reader.feed(_printed(document))
        elif document is not None:
            # An object is rows itself (a history) before a list in it is (`log_history`).
            for rows in _rows(document):
                for row in rows:
                    self._rows.read_row(row)
                if any(c.last_step is not None for c in self._rows.collectors()):
                    self._reader = self._rows
                    break
        self._reader.finish()

    def collectors(self) -> list[RunCollector]:
        """The runs in what was read so far."""
        return self._reader.collectors()

    @property
    def unknown_names(self) -> tuple[str, ...]:
        """Some names of numbers that were read and are not known."""
        return self._reader.unknown_names


def begins_document(first: list[str]) -> bool:
    """Whether the first lines of a file may begin a JSON document, and are no JSON lines.

    An array with an object to a line counts as JSON lines: it can be read line by line.
    """
    begin = first[0].strip("\ufeff \t\r\n")
    if begin == "[":
        return len(first) > 1 and not begins_json(first[1].strip())
    is_notebook = begin.startswith("{") and '"nbformat"' in begin
    return _BEGINS.match(begin) is not None and (is_notebook or not begins_json(begin))


def _rows(document: Any) -> Iterator[list[dict[str, Any]]]:
    """What the rows of a document may be, likeliest first: its items, objects that are named by
    their step, the document itself, the longest list of objects in it."""
    if not isinstance(document, dict):
        yield list(_dicts(document))
        return
    places = [_STEP.fullmatch(name) for name in document]
    if len(places) > 1 and all(places) and all(isinstance(v, dict) for v in document.values()):
        rows = zip(places, document.values(), strict=True)
        yield [{"step": int(place[1]), **row} for place, row in rows if place]
    yield [document]
    yield max((list(_dicts(value)) for value in document.values()), key=len, default=[])


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


def _dicts(items: Any) -> Iterator[dict[str, Any]]:
    yield from (item for item in items if isinstance(item, dict)) if isinstance(items, list) else ()
