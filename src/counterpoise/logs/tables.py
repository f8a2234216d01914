"""Logs that are tables: CSV, TSV, columns under a header, tables with lines drawn around cells."""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping

from counterpoise.errors import UserError
from counterpoise.logs.columns import (
    MOST_NUMBERED,
    is_apart,
    naming_advice,
    number_of,
    position_of,
    put_value,
    table_column,
    table_columns,
)
from counterpoise.logs.formats import PAIR
from counterpoise.logs.names import KNOWN, plain
from counterpoise.logs.runs import RunCollector
from counterpoise.logs.text import clean_lines
from counterpoise.trace import COLUMNS

# What parts the cells of a table that is drawn: "|" stands for all of them.
_VERTICAL = re.compile("[|\u2502\u2503\u2551]")
# A line between rows: "---|---", "+====+", lines of Unicode.
_RULE = re.compile("[\\s|+=:\u2500-\u257f-]+")
_WHITE = re.compile(r"\s+")
_WIDE = re.compile(r"\s{2,}")
_NAME = re.compile(r"[A-Za-z_][\w()./]*")
_NAME_WITH_SPACES = re.compile(r"[A-Za-z_][\w()./ -]*")
# A line with one of these as a pair, or a box, may be a step's.
LOSSES = frozenset(
    name for name in COLUMNS if name.startswith(("d_loss", "g_loss", "g_adv", "d_real", "d_fake"))
)
SPACES, WIDE_SPACES, DRAWN = "", "  ", "|"


def table_delimiter(header: str) -> str | None:
    """What parts the columns of a header line; None for no header.

    "" is white space, "  " two spaces or more, "|" any line that is drawn between cells.
    """
    plainly = ":" not in header and "=" not in header
    if plainly and _VERTICAL.search(header):
        cells = split_cells(header, DRAWN)
        names = [cell for cell in cells if cell]
        if len(names) > 1 and all(_NAME_WITH_SPACES.fullmatch(cell) for cell in names):
            return DRAWN
    for delimiter in (",", "\t", ";"):
        if delimiter in header and plainly:
            return delimiter
    cells = _WIDE.split(header.strip())
    if any(" " in cell for cell in cells) and len(cells) > 1:
        return WIDE_SPACES if all(_NAME_WITH_SPACES.fullmatch(cell) for cell in cells) else None
    cells = header.split()
    if all(cell.lower() in ("nan", "inf", "infinity") for cell in cells):
        return None  # values that look like names
    if len(cells) == 1 and plain(header) in KNOWN:
        return SPACES
    if len(cells) >= 2 and all(_NAME.fullmatch(cell) for cell in cells):
        return SPACES
    return None


class TableReader:
    """Reads a table with a header line; lines may come in portions."""

    def __init__(
        self, delimiter: str, source: str, objective: str | None, mapping: Mapping[str, str]
    ) -> None:
        self._delimiter, self._source, self._mapping = delimiter, source, mapping
        name = {",": "csv", "\t": "tsv", ";": "csv"}.get(delimiter, "columns")
        self._collector = RunCollector(source, name, objective)
        self._header: list[str] | None = None
        self._columns: list[str | None] | None = None
        self._broken = 0
        self._notes: list[str] = []

    def feed(self, lines: Iterable[str]) -> None:
        """Read further lines; `UserError` where no column of the header is known."""
        for cells in _cells(table_lines(lines), self._delimiter):
            if self._header is None:
                self._header = cells
            elif self._columns is None:
                # The first row shows what the header does not: which columns are numbers.
                self._columns = self._checked(self._header, cells)
                self._read_row(cells, self._columns)
            else:
                self._read_row(cells, self._columns)

    def finish(self) -> None:
        """No line will come."""

    def collectors(self) -> list[RunCollector]:
        """The runs in the lines so far."""
        broken = f"{self._broken} lines of the table had no number that could be read"
        self._collector.notes[:] = [*self._notes, *([broken] if self._broken else [])]
        return [self._collector]

    @property
    def unknown_names(self) -> tuple[str, ...]:
        """None: a header without a known column is refused by its own names."""
        return ()

    def _checked(self, header: list[str], row: list[str]) -> list[str | None]:
        columns = table_columns(header, self._mapping)
        if not any(column not in (None, "step", "epoch") for column in columns):
            names = ", ".join(header[:12])
            cells = zip(header, row, strict=False)
            numbers = {name: n for name, cell in cells if (n := self._number(cell)) is not None}
            # Whole numbers count something, whatever the language of their names.
            numbers = {n: x for n, x in numbers.items() if not x.is_integer()} or numbers
            raise UserError(
                f"{self._source}: no known column in its header ({names}); name them, e.g. "
                f"{naming_advice(numbers)}"
            )
        for name, column in zip(header, columns, strict=True):
            if column is None and is_apart(table_column(name, self._mapping), name):
                self._notes = [f"of several columns of one number one is read, not {name}"]
        # Rows of pandas begin with their index, which has no name.
        return [None, *columns] if _has_index(header, row, self._delimiter) else columns

    def _number(self, cell: str) -> float | None:
        return number_of(cell.replace(",", ".") if self._delimiter == ";" else cell)

    def _read_row(self, cells: list[str], columns: list[str | None]) -> None:
        values: dict[str, float] = {}
        position: dict[str, int] = {}
        any_number = False
        for column, cell in zip(columns, cells, strict=False):
            number = self._number(cell)
            if number is None:
                continue
            any_number = True
            if column in ("step", "epoch"):
                if abs(number) < MOST_NUMBERED:
                    position[column] = int(number)
            elif column is not None:
                put_value(values, column, number)
        if values:
            self._collector.add(position_of(position), values)
        # A header may be repeated; a row of a validation has other numbers.
        elif not any_number and cells != self._header:
            self._broken += 1


def table_lines(lines: Iterable[str]) -> Iterator[str]:
    """The lines of a table that are no rules between its rows."""
    return (line for line in clean_lines(lines) if not is_rule(line))


def is_rule(line: str) -> bool:
    """Whether a line parts rows and has nothing in it."""
    return _RULE.fullmatch(line) is not None


def is_drawn(line: str) -> bool:
    """Whether a line begins with one that is drawn before a cell."""
    return _VERTICAL.match(line.lstrip()) is not None


def split_cells(line: str, delimiter: str) -> list[str]:
    """The cells of a line of a table, quotes taken off."""
    return next(iter(_cells(iter([line]), delimiter)), [])


def _cells(lines: Iterator[str], delimiter: str) -> Iterator[list[str]]:
    for line in lines:
        if delimiter == DRAWN:
            inner = _VERTICAL.sub("|", line.strip()).removeprefix("|").removesuffix("|")
            yield [cell.strip() for cell in inner.split("|")]
        elif delimiter in (SPACES, WIDE_SPACES):
            yield (_WIDE if delimiter else _WHITE).split(line.strip())
        else:
            try:
                yield from csv.reader([line.replace("\0", "")], delimiter=delimiter)
            except csv.Error:  # A line of something else.
                yield []


def table_start(first: list[str], mapping: Mapping[str, str]) -> tuple[int, str] | None:
    """The row of a table's header and what parts its columns, where the lines are a table."""
    for row, line in enumerate(first[:-1]):
        header = next(clean_lines([line]), "").strip()
        delimiter = table_delimiter(header)
        if delimiter is None:
            if has_losses(header, mapping):
                return None  # a log of lines, whatever tables come in it
            continue
        names = split_cells(header, delimiter)
        below = next(table_lines(first[row + 1 :]), "")
        cells = split_cells(below.strip(), delimiter)
        has_index = _has_index(names, cells, delimiter)
        if not has_index and len(cells) != len(names):
            continue
        # Words with numbers below may stand anywhere in a log.
        known = any(table_column(name, mapping) for name in names)
        if _mostly_numbers(cells, delimiter) and (known or not (row or has_index)):
            return row, delimiter
    return None


def has_losses(line: str, mapping: Mapping[str, str]) -> bool:
    """Whether a line has a loss or an output of D as `name: number`."""
    return any(table_column(match["name"], mapping) in LOSSES for match in PAIR.finditer(line))


def _has_index(names: list[str], cells: list[str], delimiter: str) -> bool:
    """Whether rows have a cell before the first that the header names: a counter."""
    spaced = delimiter in (SPACES, WIDE_SPACES) and len(names) > 1
    return spaced and len(cells) == len(names) + 1 and cells[0].isdecimal()


def _mostly_numbers(cells: list[str], delimiter: str) -> bool:
    """Whether more than half of some cells are numbers or empty, and one is a number."""
    numbers = sum(_is_number(cell, delimiter) for cell in cells)
    empty = sum(not cell.strip() for cell in cells)
    return numbers >= 1 and 2 * (numbers + empty) > len(cells)


def _is_number(cell: str, delimiter: str) -> bool:
    try:
        float(cell.replace(",", ".") if delimiter == ";" else cell)
    except ValueError:
        return False
    return True


def refuse_headless(first: list[str], source: str) -> None:
    """Raise `UserError` where the first lines of a file have nothing but numbers side by side."""
    delimiter = next((d for d in (";", "\t", ",") if d in first[0]), SPACES)
    rows = list(_cells(table_lines(first), delimiter))
    if rows and all(len(r) > 1 and all(_is_number(c, delimiter) for c in r) for r in rows):
        raise UserError(
            f"{source}: a table without a header; put a line with the names of its columns before "
            "it, e.g. step,d_loss,g_loss"
        )
