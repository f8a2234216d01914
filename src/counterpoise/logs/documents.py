"""Logs that are one JSON document over several lines: a history, an array, a notebook."""

import contextlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from counterpoise.errors import UserError
from counterpoise.logs.json_reader import JsonReader, begins_json
from counterpoise.logs.runs import FormatReader, RunCollector

# A document is read whole: one of nothing but brackets takes 25 times its size then.
DOCUMENT_BYTES = 16 << 20
# Also a line that is cut before its end begins so.
_BEGINS = re.compile(r'[\[{]\s*(?:$|["{])')
# What rows are called that are named by their place.
_STEP = re.compile(r"(?:step|iter(?:ation)?|epoch)?[ _-]?(\d{1,15})", re.IGNORECASE)


class DocumentReader(FormatReader):
    """Reads what begins like a JSON document, which only its end can show to be one.

    Until `finish` it has what `lines` reads in them, and that it keeps where they turn out to be no
    document (a printed configuration with a log below): so a document that is watched as it grows
    tells nothing.
    """

    def __init__(
        self, source: str, lines: FormatReader, rows: JsonReader, printed: FormatReader
    ) -> None:
        """`rows` reads the objects of a document, `printed` what a notebook's cells printed."""
        self._source, self._reader, self._rows, self._printed = source, lines, rows, printed
        # None for one that is too large.
        self._document: bytearray | None = bytearray()
        self._is_notebook = False

    def feed(self, lines: Iterable[str]) -> None:
        self._reader.feed(self._kept(lines))
        self.unknown_names = self._reader.unknown_names

    def _kept(self, lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            # A notebook says so at its end; at its beginning it has cells, with their kinds.
            self._is_notebook |= '"cell_type"' in line
            if self._document is not None:
                self._document += line.encode("utf-8", errors="replace")
                if len(self._document) > DOCUMENT_BYTES:
                    self._document = None
            yield line

    def finish(self) -> None:
        """No line will come: read the document; `UserError` for one that is too large."""
        document = None
        if self._document is None:
            if self._is_notebook or not _has_rows(self._reader):
                raise UserError(
                    f"{self._source}: one JSON document of more than {DOCUMENT_BYTES >> 20} MiB; "
                    "give its numbers as JSON lines (an object to a line) or CSV"
                )
        else:
            with contextlib.suppress(ValueError, RecursionError):
                document = json.loads(self._document.removeprefix(b"\xef\xbb\xbf"))
            self._document.clear()
        if isinstance(document, dict) and "nbformat" in document:
            self._reader = self._printed
            self._reader.feed(_printed(document))
        elif document is not None:
            # An object is rows itself (a history) before a list in it is (`log_history`).
            for rows in _rows(document):
                for row in rows:
                    self._rows.read_row(row)
                if _has_rows(self._rows):
                    self._reader = self._rows
                    break
        self._reader.finish()
        self.unknown_names = self._reader.unknown_names

    def collectors(self) -> list[RunCollector]:
        return self._reader.collectors()


def _has_rows(reader: FormatReader) -> bool:
    return any(collector.last_step is not None for collector in reader.collectors())


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
