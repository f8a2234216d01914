"""Logs that are tables: CSV, TSV, columns under a header, tables with lines drawn around cells."""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping

from counterpoise.logs.columns import NamedRows, number_of, table_column
from counterpoise.logs.formats import PAIR, PLACES, VERTICAL
from counterpoise.logs.lines import states
from counterpoise.logs.names import KNOWN, MEAN, names_network, plain
from counterpoise.trace import GAME_COLUMNS

# A line between rows: "---|---", "+====+", lines of Unicode.
_RULE = re.compile("[\\s|+=:\u2500-\u257f-]+")
_WHITE = re.compile(r"\s+")
_WIDE = re.compile(r"\s{2,}")
_NAME = re.compile(r"[A-Za-z_][\w()./]*")
_NAME_WITH_SPACES = re.compile(r"[A-Za-z_][\w()./ -]*")
SPACES, WIDE_SPACES, DRAWN = "", "  ", "|"


def table_delimiter(header: str) -> str | None:
    """What parts the columns of a header line: "" is white space, "  " two spaces or more, "|" any
    line that is drawn between cells. None for no header."""
    plainly = ":" not in header and "=" not in header
    if plainly and VERTICAL.search(header):
        names = [cell for cell in split_cells(header, DRAWN) if cell]
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
    if len(cells) == 1:
        return SPACES if plain(header) in KNOWN else None
    return SPACES if all(_NAME.fullmatch(cell) for cell in cells) else None


class TableReader(NamedRows):
    """Reads a table with a header line."""

    def __init__(self, delimiter: str, mapping: Mapping[str, str]) -> None:
        super().__init__(mapping, {",": "csv", "\t": "tsv", ";": "csv"}.get(delimiter, "columns"))
        self._delimiter = delimiter
        self._header: list[str] = []
        # The header, with a name for the index that rows of pandas begin with.
        self._names: list[str] = []

    def feed(self, lines: Iterable[str]) -> None:
        broken = 0
        for line in table_lines(lines):
            if not self._header:
                own = table_delimiter(line.strip())
                self._header = split_cells(line, self._delimiter if own is None else own)
                continue
            cells = split_cells(line, self._delimiter)
            if not self._names:
                # The first row shows what the header does not: which columns are numbers.
                has_index = _has_index(self._header, cells, self._delimiter)
                self._names = ["", *self._header] if has_index else self._header
                self._check()
            named = zip(self._names, cells, strict=False)
            found = [(name, _number(cell, self._delimiter)) for name, cell in named]
            numbers = {name: number for name, number in found if number is not None}
            self.add(numbers)
            # A header may be repeated; a row of a validation has other numbers.
            if not numbers and cells != self._header:
                broken += 1
        if broken:
            note = f"{broken} lines of the table had no number that could be read"
            self.collector.notes.append(note)

    def _check(self) -> None:
        names = dict.fromkeys(self._header)
        for name, column in zip(names, self.columns_of(names), strict=True):
            other = table_column(name, self._mapping) not in (None, *PLACES)
            if not name and PLACES.isdisjoint(self._columns.values()):
                self._columns[name] = "step"  # pandas' index
            if column is None and other and not MEAN.search(plain(name)):
                note = f"of several columns of one number one is read, not {name}"
                self.collector.notes = [note]


def table_lines(lines: Iterable[str]) -> Iterator[str]:
    """The lines of a table that are no rules between its rows."""
    return (line for raw in lines for line in states(raw) if not _RULE.fullmatch(line))


def split_cells(line: str, delimiter: str) -> list[str]:
    """The cells of a line of a table, quotes taken off; none of a line of something else."""
    if delimiter == DRAWN:
        inner = VERTICAL.sub("|", line.strip()).removeprefix("|").removesuffix("|")
        return [cell.strip() for cell in inner.split("|")]
    if delimiter in (SPACES, WIDE_SPACES):
        return (_WIDE if delimiter else _WHITE).split(line.strip())
    if '"' not in line:
        return line.replace("\0", "").split(delimiter)
    try:
        return next(csv.reader([line.replace("\0", "")], delimiter=delimiter), [])
    except csv.Error:
        return []


def table_start(first: list[str], mapping: Mapping[str, str]) -> tuple[int, str] | None:
    """The row of a table's header and what parts its columns, where the lines are a table."""
    for row, line in enumerate(first[:-1]):
        header = next(iter(states(line)), "").strip()
        delimiter = table_delimiter(header)
        if delimiter is None:
            if any(table_column(m["name"], mapping) in GAME_COLUMNS for m in PAIR.finditer(header)):
                return None  # a log of lines, whatever tables come in it
            continue
        names = split_cells(header, delimiter)
        below = next(table_lines(first[row + 1 :]), "")
        # Blanks in the header, and lines between the cells below: these may be more.
        is_drawn = delimiter in (SPACES, WIDE_SPACES) and VERTICAL.search(below) is not None
        delimiter = DRAWN if is_drawn else delimiter
        cells = split_cells(below.strip(), delimiter)
        has_index = _has_index(names, cells, delimiter)
        if not has_index and len(cells) != len(names) and not (is_drawn and cells[len(names) :]):
            continue
        # Words with numbers below may stand anywhere in a log.
        known = any(table_column(name, mapping) for name in names)
        numbers = sum(_number(cell, delimiter) is not None for cell in cells)
        empty = sum(not cell.strip() for cell in cells)
        mostly_numbers = numbers >= 1 and 2 * (numbers + empty) > len(cells)
        if mostly_numbers and (names_network(cells[0]) or table_column(cells[0], mapping)):
            return None  # a row for each network, or for each number
        if mostly_numbers and (known or not (row or has_index)):
            return row, delimiter
    return None


def _has_index(names: list[str], cells: list[str], delimiter: str) -> bool:
    """Whether rows have a cell before the first that the header names: a counter."""
    spaced = delimiter in (SPACES, WIDE_SPACES) and len(names) > 1
    return spaced and len(cells) == len(names) + 1 and cells[0].isdecimal()


def _number(cell: str, delimiter: str) -> float | None:
    """The number in a cell; where semicolons part cells, a comma is a point."""
    return number_of(cell.replace(",", ".") if delimiter == ";" else cell)
