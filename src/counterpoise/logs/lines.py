"""Reads the lines of a log whose format shows itself in them: all at once, or as they come."""

from collections.abc import Iterable, Iterator, Mapping
from typing import IO

from counterpoise.logs.json_reader import JsonReader, begins_document, begins_json
from counterpoise.logs.runs import FormatReader, RunCollector
from counterpoise.logs.tables import TableReader, refuse_headless, table_start
from counterpoise.logs.text import TextReader

# Longer lines are read in parts, so that a file without line ends fits into memory.
CHARACTERS_AT_ONCE = 1 << 16
# Lines that are looked at to tell what a file is.
LOOK_AHEAD = 50


def bounded_lines(file: IO[str]) -> Iterator[str]:
    """The lines of a file, those without an end in parts."""
    while line := file.readline(CHARACTERS_AT_ONCE):
        yield line


class LineReader(FormatReader):
    """Reads the lines of any text log; memory does not grow with them.

    What is fed in portions is read as it would be at once, wherever it is parted.
    """

    def __init__(self, source: str, objective: str | None, mapping: Mapping[str, str]) -> None:
        super().__init__(source, objective, mapping)
        # The first lines, until there are enough to tell by; blank ones before them tell nothing.
        self._first: list[str] = []
        self._reader: FormatReader | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there was no line with anything in it."""
        return self._reader is None and not self._first

    @property
    def unknown_names(self) -> list[str]:
        return self._reader.unknown_names if self._reader else []

    def feed(self, lines: Iterable[str]) -> None:
        """Read further lines, each with its end but for a last one, which may be torn.

        Raises `UserError` for a table without a header, or without a column that is known.
        """
        rest = iter(lines)
        while self._reader is None and (line := next(rest, None)) is not None:
            if self._first or line.strip():
                self._first.append(line)
            if len(self._first) == LOOK_AHEAD:
                self._decide()
        if self._reader is not None:
            self._reader.feed(rest)

    def finish(self) -> None:
        """No line will come: a log that is shorter than the look ahead is known by what it has.

        Raises `UserError` as `feed` does.
        """
        if self._first:
            self._decide()
        if self._reader is not None:
            self._reader.finish()

    def collectors(self) -> list[RunCollector]:
        if self.is_empty:
            return []
        return (self._reader or self._decided()).collectors()

    def _decide(self) -> None:
        refuse_headless(self._first, self._source)
        self._reader, self._first = self._decided(), []

    def _decided(self) -> FormatReader:
        """A reader for what the first lines show, which has read them."""
        first = self._first
        what = (self._source, self._objective, self._mapping)
        reader: FormatReader = TextReader(*what)
        if begins_document(first):
            pass  # Of a document that is not whole yet, a line says what it can by itself.
        elif begins_json(first[0].lstrip("\ufeff \t")):
            reader = JsonReader(*what)
        elif (start := table_start(first, self._mapping)) is not None:
            row, delimiter = start
            first = first[row:]
            reader = TableReader(delimiter, *what)
        reader.feed(first)
        return reader
