"""Reads the lines of a log whose format shows itself in them: all at once, or as they come."""

from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Protocol

from counterpoise.logs.runs import RunCollector
from counterpoise.logs.tables import (
    JsonReader,
    TableReader,
    begins_json,
    split_cells,
    table_column,
    table_delimiter,
)
from counterpoise.logs.text import TextReader, clean_lines

# Longer lines are read in parts, so that a file without line ends fits into memory.
MOST_CHARACTERS_AT_ONCE = 1 << 16
# Lines that are looked at to tell what a file is.
LOOK_AHEAD = 50


def bounded_lines(file: IO[str]) -> Iterator[str]:
    """The lines of a file, those without an end in parts."""
    while line := file.readline(MOST_CHARACTERS_AT_ONCE):
        yield line


class FormatReader(Protocol):
    """Reads lines of one kind, which may come in portions."""

    def feed(self, lines: Iterable[str]) -> None: ...
    def finish(self) -> None: ...
    def collectors(self) -> list[RunCollector]: ...


class LineReader:
    """Reads the lines of any text log; memory does not grow with them.

    What is fed in portions is read as it would be at once, wherever it is parted.
    """

    def __init__(self, source: str, objective: str | None, mapping: Mapping[str, str]) -> None:
        """`mapping` is one that `names.checked_mapping` made."""
        self._source, self._objective, self._mapping = source, objective, mapping
        # The first lines, until there are enough to tell by; blank ones before them tell nothing.
        self._first: list[str] = []
        self._reader: FormatReader | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there was no line with anything in it."""
        return self._reader is None and not self._first

    def feed(self, lines: Iterable[str]) -> None:
        """Read further lines, each with its end but for a last one, which may be torn.

        Raises `UserError` for a table without a column that is known.
        """
        rest = iter(lines)
        if self._reader is None:
            for line in rest:
                if self._first or line.strip():
                    self._first.append(line)
                if len(self._first) == LOOK_AHEAD:
                    self._reader, self._first = self._decided(), []
                    break
        if self._reader is not None:
            self._reader.feed(rest)

    def finish(self) -> None:
        """No line will come: a log that is shorter than the look ahead is told by what it has."""
        if self._first:
            self._reader, self._first = self._decided(), []
        if self._reader is not None:
            self._reader.finish()

    def collectors(self) -> list[RunCollector]:
        """The runs in the lines so far, one for each pair of networks."""
        if self.is_empty:
            return []
        return (self._reader or self._decided()).collectors()

    def _decided(self) -> FormatReader:
        """A reader for what the first lines show, which has read them."""
        first = self._first
        reader: FormatReader
        if begins_json(first[0].lstrip("\ufeff \t")):
            reader = JsonReader(self._source, self._objective, self._mapping)
        elif (start := _table_start(first, self._mapping)) is not None:
            row, delimiter = start
            first = first[row:]
            reader = TableReader(delimiter, self._source, self._objective, self._mapping)
        else:
            reader = TextReader(self._source, self._objective, self._mapping)
        reader.feed(first)
        return reader


def _table_start(first: list[str], mapping: Mapping[str, str]) -> tuple[int, str] | None:
    """The row of a table's header and what parts its columns, where the lines are a table."""
    for row, line in enumerate(first[:-1]):
        header = next(clean_lines([line]), "").strip()
        delimiter = table_delimiter(header)
        if delimiter is None:
            continue
        names = split_cells(header, delimiter)
        # Words with numbers below may stand anywhere in a log.
        if row and not any(table_column(name, mapping) for name in names):
            continue
        below = next(clean_lines(first[row + 1 :]), "")
        cells = split_cells(below.strip(), delimiter)
        if delimiter == ";":
            cells = [cell.replace(",", ".") for cell in cells]
        if len(cells) == len(names) and _numeric(cells):
            return row, delimiter
    return None


def _numeric(cells: list[str]) -> bool:
    """Whether more than half of some cells are numbers or empty, and one is a number."""
    numbers = 0
    for cell in cells:
        try:
            float(cell)
        except ValueError:
            continue
        numbers += 1
    empty = sum(not cell.strip() for cell in cells)
    return numbers >= 1 and 2 * (numbers + empty) > len(cells)
