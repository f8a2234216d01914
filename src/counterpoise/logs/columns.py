"""Rows of named numbers, of tables and JSON: which columns of a trace the names are."""

import math
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from counterpoise.logs import names
from counterpoise.logs.formats import PLACES, program_of
from counterpoise.logs.runs import FormatReader, Position, RunCollector
from counterpoise.trace import as_float

LARGEST_COUNT = 1e15  # larger numbers count no steps
LEAST_ROWS = 3  # with a number of an unknown name, and then with NaN, that show it broken
WALL_TIME = "wall_time"  # a column of TensorBoard's exports
# Names of numbers may end with "_step": no steps are counted by them.
_OF_A_NUMBER = re.compile(r"loss|err|acc|score")
# How a tensor that was not brought to a number prints itself.
_TENSOR = re.compile(r"^\s*tensor\(([^,)]+).*$")
# Of a number over its neighbours, in Weights & Biases' export of a curve.
_EXTREMES = ("__MIN", "__MAX")
_PUT_OTHERWISE = {None, *PLACES, *names.PUT_OTHERWISE}


def table_column(
    name: str, mapping: Mapping[str, str], own: Mapping[str, str] | None = None
) -> str | None:
    """A column of a trace, `step`, `epoch`, or None for another number; `own` are names of the
    program that wrote them."""
    known = names.plain(name)
    if name.endswith(_EXTREMES) and known not in mapping:
        return None
    # Weights & Biases' export: "noble-sun-12 - loss_D".
    _, dash, last = name.rpartition(" - ")
    if dash and known not in names.KNOWN and known not in mapping:
        return table_column(last, mapping, own)
    # Exported by a tracker: "train/step".
    before, _, after = known.partition("_")
    for tail in () if known in mapping else (known, "" if _OF_A_NUMBER.search(before) else after):
        if tail in names.STEP_NAMES:
            return "step"
        if tail in names.EPOCH_NAMES:
            return "epoch"
    return names.column_of(known, mapping, own) if len(known) > 1 else mapping.get(known)


def number_of(cell: Any) -> float | None:
    """The number in a cell of a table or in a value of JSON; None where there is none."""
    if type(cell) is float:
        return cell
    if isinstance(cell, str):
        try:
            return float(cell)
        except ValueError:
            if (tensor := _TENSOR.match(cell)) is not None:
                return number_of(tensor[1])
            word = cell.strip().lower()
            return float(word == "true") if word in ("true", "false") else None
    return as_float(cell) if isinstance(cell, int | float) else None


class NamedRows(FormatReader):
    """Reads rows of numbers by name into a run; each column is read from one name."""

    def __init__(self, mapping: Mapping[str, str], format: str = "") -> None:
        super().__init__(mapping)
        self.collector = RunCollector(format)
        self._columns: dict[str, str | None] = {}
        self._own: Mapping[str, str] = {}  # what the program's own names mean
        self._rows = 0
        # Of numbers that are no column, where they became NaN and in how many rows they are since.
        self._broken: dict[str, tuple[int, float]] = {}

    def collectors(self) -> list[RunCollector]:
        broken = self._broken.items()
        self.collector.broken = sorted(
            (step, names.plain(name)) for name, (step, rows) in broken if rows >= LEAST_ROWS
        )
        return [self.collector]

    def columns_of(self, together: Collection[str]) -> list[str | None]:
        """The columns of names that stand side by side, none twice.

        Of names of one column the mapping's has it, else the one that came first, of several at
        once one that is no mean over an epoch: two numbers are never mixed in one column. Different
        terms of G are all kept.
        """
        try:
            return [self._columns[name] for name in together]
        except KeyError:
            new = [name for name in together if name not in self._columns]
        taken = {column for column in self._columns.values() if column not in (None, *PLACES)}
        if not self.collector.program:
            self.recognise((*self._columns, *new))
        self.collector.is_export |= WALL_TIME in map(names.plain, new)
        for name in sorted(new, key=self._rank):
            known, column = names.plain(name), table_column(name, self._mapping, self._own)
            # A term of G that is logged for each step and for each epoch is one term.
            what = f"{column} {names.bare_name(known)}" if column == names.G_CONTENT else column
            if known in self._mapping:
                others = self._columns.items()
                self._columns = {n: None if c == column else c for n, c in others}
            elif what in taken:
                column = None
            if what is not None:
                taken.add(what)
            self._columns[name] = column
            if column is None:
                self.note_unknown(name)
        return [self._columns[name] for name in together]

    def recognise(self, together: Iterable[str]) -> str:
        """See whether names tell the program that they are of; its name, or ""."""
        if (program := program_of(" ".join(together))) is not None:
            self._own, self.collector.program = program.names, program.name
            self.advice = program.advice
        return self.collector.program

    def _rank(self, name: str) -> int:
        known = names.plain(name)
        # Batches begin anew in each epoch, where steps may not.
        is_last = known == "batch" or names.MEAN.search(known) is not None
        return -names.sureness(name, self._mapping) + 3 * is_last

    def add(self, row: Mapping[str, float], position: Position | None = None) -> None:
        """Add a row, where its own numbers say or at a position."""
        values: dict[str, float] = {}
        place: dict[str, int] = {}
        for number, column in zip(row.values(), self.columns_of(row), strict=True):
            if column not in _PUT_OTHERWISE:
                values[column] = number  # type: ignore[index]
            elif column in PLACES:
                if abs(number) < LARGEST_COUNT:
                    place.setdefault(column, round(number))
            elif column is not None:
                names.put_value(values, column, number)
        self.collector.add(position or Position(place.get("step"), place.get("epoch")), values)
        self._rows += 1
        total = sum(row.values())
        if self._broken or total - total != 0:
            self._look_for_broken(row, max(self.collector.last_step or 0, *place.values(), 0))

    def _look_for_broken(self, row: Mapping[str, float], step: int) -> None:
        """See which numbers that are no column are NaN from this step on: what an evaluation
        measures is it in the first rows, or comes back."""
        for name, number in row.items():
            if self._columns[name] is None and (name in self._broken or number != number):
                begun, rows = self._broken.get(name, (step, 0))
                is_usual = number == number or self._rows <= LEAST_ROWS
                self._broken[name] = (begun, -math.inf if is_usual else rows + 1)
