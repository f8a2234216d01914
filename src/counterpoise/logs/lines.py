"""Reads the lines of a log whose format shows itself in them: all at once, or as they come."""

import io
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import IO

from counterpoise.errors import UserError
from counterpoise.logs.json_reader import JsonReader, begins_document, begins_json
from counterpoise.logs.runs import FormatReader, RunCollector
from counterpoise.logs.tables import TableReader, refuse_headless, table_start
from counterpoise.logs.text import TextReader

LOOK_BYTES = 4096  # bytes that tell a text from another file
# A cell of a table in HTML, or the end of its row; what belongs to such a table.
_CELL = re.compile(r"<t[hd]\b[^>]*>([^<]*)</t[hd]>|(</tr>)", re.IGNORECASE)
_TAG = re.compile(r"</?t(?:able|r|h|d|head|body)\b", re.IGNORECASE)
LOOK_AHEAD = 50  # lines that are looked at to tell what a file is


def text_encoding(file: IO[bytes], name: str) -> str:
    """The encoding of a text file that is open at its beginning, by its first bytes, which are left
    in it; raises `UserError` as `refuse_binary` does. UTF-8 where it cannot be looked into."""
    start = file.peek(LOOK_BYTES)[:LOOK_BYTES] if isinstance(file, io.BufferedReader) else b""
    refuse_binary(start, name)
    return encoding_of(start)


def encoding_of(start: bytes) -> str:
    """The encoding of a text that begins so: UTF-8, or UTF-16 where its mark says so, as Windows'
    PowerShell writes it."""
    return "utf-16" if start.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"


def refuse_binary(start: bytes, name: str) -> None:
    """Raise `UserError` where a file that begins like this is no text that can be read."""
    is_gzip = start.startswith(b"\x1f\x8b")
    if is_gzip or (b"\0" in start and encoding_of(start) != "utf-16"):
        raise UserError(f"{name}: a binary file, not a log; give a text log or a run folder")


def html_rows(lines: Iterable[str], cells: list[str]) -> Iterator[str]:
    """Lines, and each row of HTML's tables as one, with "|" between its cells; `cells` are those of
    a row that is not whole yet, and are kept there."""
    for line in lines:
        if _TAG.search(line) is None:
            yield line
        for cell, end in _CELL.findall(line):
            if not end:
                cells.append(cell.strip())
            elif cells:
                yield "|".join(cells) + "\n"
                cells.clear()


class LineReader(FormatReader):
    """Reads the lines of any text log, at once or in portions; memory does not grow with them."""

    def __init__(self, mapping: Mapping[str, str]) -> None:
        super().__init__(mapping)
        # The first lines, until there are enough to tell by; blank ones before them tell nothing.
        self._first: list[str] = []
        self._reader: FormatReader | None = None
        self._html: list[str] | None = None  # of a log of HTML: see `html_rows`

    @property
    def is_empty(self) -> bool:
        """Whether there was no line with anything in it."""
        return self._reader is None and not self._first

    def feed(self, lines: Iterable[str]) -> None:
        """Read further lines, each with its end but for a last one, which may be torn; `UserError`
        for a table without a header."""
        rest = iter(lines)
        while self._reader is None and (line := next(rest, None)) is not None:
            if self._first or line.strip():
                self._first.append(line)
            if len(self._first) == LOOK_AHEAD:
                self._decide()
        if self._reader is not None:
            self._reader.feed(rest if self._html is None else html_rows(rest, self._html))

    def finish(self) -> None:
        """No line will come: a log shorter than the look ahead is known by what it has."""
        if self._first:
            self._decide()
        if self._reader is not None:
            self._reader.finish()
            self.advice = self._reader.advice

    def collectors(self) -> list[RunCollector]:
        if self.is_empty:
            return []
        return (self._reader or self._decided()).collectors()

    def _decide(self) -> None:
        refuse_headless(self._first)
        self._reader, self._first = self._decided(), []
        self.unknown_names = self._reader.unknown_names

    def _decided(self) -> FormatReader:
        """A reader for what the first lines show, which has read them."""
        first = self._first
        self._html = [] if any(map(_TAG.search, first)) else None
        if self._html is not None:
            first = list(html_rows(first, self._html))
        reader: FormatReader = TextReader(self._mapping)
        if not first or begins_document(first):
            pass  # Of a document that is not whole yet, a line says what it can by itself.
        elif begins_json(first[0].lstrip("\ufeff \t")):
            reader = JsonReader(self._mapping)
        elif (start := table_start(first, self._mapping)) is not None:
            row, delimiter = start
            first = first[row:]
            reader = TableReader(delimiter, self._mapping)
        reader.feed(first)
        return reader
