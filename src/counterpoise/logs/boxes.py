"""Logs of boxes with a name and its number in each line, as stable-baselines prints them."""

from collections.abc import Iterable, Mapping

from counterpoise.logs.columns import number_of, table_column
from counterpoise.logs.json_reader import JsonReader
from counterpoise.logs.runs import RunCollector
from counterpoise.logs.tables import DRAWN, LOSSES, has_losses, is_drawn, is_rule, split_cells
from counterpoise.logs.text import clean_lines

# Numbers of a box; a box without end must not fill the memory.
MOST_IN_BOX = 1000


class BoxReader:
    """Reads boxes, each of which is a row; lines may come in portions."""

    def __init__(self, source: str, objective: str | None, mapping: Mapping[str, str]) -> None:
        self._rows = JsonReader(source, objective, mapping, "columns")
        self._box: dict[str, float] = {}

    def feed(self, lines: Iterable[str]) -> None:
        """Read further lines."""
        for line in clean_lines(lines):
            if is_rule(line):
                self.finish()
            elif (pair := _pair(line)) is not None and len(self._box) < MOST_IN_BOX:
                self._box.setdefault(*pair)

    def finish(self) -> None:
        """No line will come to the box: it is a row."""
        if self._box:
            self._rows.read_row(self._box)
            self._box = {}

    def collectors(self) -> list[RunCollector]:
        """The runs in the boxes that are whole."""
        return self._rows.collectors()

    @property
    def unknown_names(self) -> tuple[str, ...]:
        """The first names of numbers that are no column."""
        return self._rows.unknown_names


def begins_boxes(first: list[str], mapping: Mapping[str, str]) -> bool:
    """Whether the first lines of a file have a box with a number that is known."""
    lines = list(clean_lines(first))
    pairs = [pair for line in lines if (pair := _pair(line)) is not None]
    columns = {table_column(name, mapping) for name, _ in pairs} & LOSSES
    if any(has_losses(line, mapping) for line in lines if not is_drawn(line)):
        return False  # a configuration in a log of lines
    return len(pairs) > 1 and bool(columns) and any(is_rule(line) for line in lines)


def _pair(line: str) -> tuple[str, float] | None:
    """The name and the number in a line of a box; None for another line."""
    cells = split_cells(line, DRAWN) if is_drawn(line) else []
    number = number_of(cells[1]) if len(cells) == 2 and cells[0] else None
    return None if number is None else (cells[0], number)
