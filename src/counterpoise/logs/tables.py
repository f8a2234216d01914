"""Logs that are tables: CSV, TSV, columns under a header, and JSON lines."""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from counterpoise.errors import UserError
from counterpoise.logs.names import CONTENT, EPOCH_NAMES, KNOWN, STEP_NAMES, column_of, plain
from counterpoise.logs.runs import Position, RunCollector
from counterpoise.logs.text import MOST_ACCURACY, clean_lines
from counterpoise.trace import as_float, signals_row_values

STYLEGAN = "stylegan-stats"
SIGNALS = "signals"
# StyleGAN's names; its signs are E[sign(logit)], so accuracies by another scale.
STYLEGAN_NAMES = {
    "Loss/scores/real": "real_logit_mean",
    "Loss/scores/fake": "fake_logit_mean",
    "Loss/G/loss": "g_loss",
    "Loss/D/loss": "d_loss",
    "Loss/r1_penalty": "d_penalty",
}
# Larger numbers count no steps.
MOST_NUMBERED = 1e15
# Names whose columns are kept; a log whose names never end must not fill the memory.
MOST_NAMES = 4096
_WHITE = re.compile(r"\s+")


def table_delimiter(header: str) -> str | None:
    """What parts the columns of a header line; "" for white space, None for no header."""
    for delimiter in (",", "\t", ";"):
        if delimiter in header and ":" not in header and "=" not in header:
            return delimiter
    cells = header.split()
    if all(cell.lower() in ("nan", "inf", "infinity") for cell in cells):
        return None  # values that look like names
    if len(cells) == 1 and plain(header) in KNOWN:
        return ""
    if len(cells) >= 2 and all(re.fullmatch(r"[A-Za-z_][\w()./]*", cell) for cell in cells):
        return ""
    return None


class TableReader:
    """Reads a table with a header line; lines may come in portions."""

    def __init__(
        self, delimiter: str, source: str, objective: str | None, mapping: Mapping[str, str]
    ) -> None:
        self._delimiter, self._source, self._mapping = delimiter, source, mapping
        name = {",": "csv", "\t": "tsv", ";": "csv"}.get(delimiter, "columns")
        self._collector = RunCollector(source, name, objective)
        self._columns: list[str | None] | None = None
        self._broken = 0

    def feed(self, lines: Iterable[str]) -> None:
        """Read further lines; `UserError` where no column of the header is known."""
        rows = _cells(clean_lines(lines), self._delimiter)
        if self._columns is None and (header := next(rows, None)) is not None:
            self._columns = self._checked(header)
        for cells in rows:
            self._read_row(cells, self._columns or [])

    def finish(self) -> None:
        """No line will come."""

    def collectors(self) -> list[RunCollector]:
        """The runs in the lines so far."""
        if self._broken:
            note = f"{self._broken} lines of the table had no number that could be read"
            self._collector.notes[:] = [note]
        return [self._collector]

    def _checked(self, header: list[str]) -> list[str | None]:
        columns = [table_column(cell, self._mapping) for cell in header]
        if not any(column not in (None, "step", "epoch") for column in columns):
            names = ", ".join(header[:12])
            raise UserError(
                f"{self._source}: no known column in its header ({names}); name them, e.g. "
                f"--map {header[-1] if header else 'errD'}=d_loss"
            )
        return columns

    def _read_row(self, cells: list[str], columns: list[str | None]) -> None:
        values: dict[str, float] = {}
        position: dict[str, int] = {}
        for column, cell in zip(columns, cells, strict=False):
            number = _number(cell.replace(",", ".") if self._delimiter == ";" else cell)
            if column is None or number is None:
                continue
            if column in ("step", "epoch"):
                if abs(number) < MOST_NUMBERED:
                    position[column] = int(number)
            else:
                _put(values, column, number)
        if values:
            self._collector.add(_position(position), values)
        elif [table_column(cell, self._mapping) for cell in cells] != columns:
            self._broken += 1


def split_cells(line: str, delimiter: str) -> list[str]:
    """The cells of a line of a table, quotes taken off."""
    return next(iter(_cells(iter([line]), delimiter)), [])


def _cells(lines: Iterator[str], delimiter: str) -> Iterator[list[str]]:
    for line in lines:
        if not delimiter:
            yield _WHITE.split(line.strip())
            continue
        try:
            yield from csv.reader([line.replace("\0", "")], delimiter=delimiter)
        except csv.Error:  # A line of something else.
            yield []


def table_column(name: str, mapping: Mapping[str, str]) -> str | None:
    """A column of a trace, `step`, `epoch`, `+g_content` for a further term of G, or None."""
    known = plain(name)
    if known in mapping:
        return mapping[known]
    # Exported by a tracker: "train/step".
    for tail in (known, known.partition("_")[2]):
        if tail in STEP_NAMES:
            return "step"
        if tail in EPOCH_NAMES:
            return "epoch"
    if len(known) > 1 and (column := column_of(known, mapping, most_before=1)) is not None:
        return column
    return "+g_content" if CONTENT.fullmatch(known) else None


def _put(values: dict[str, float], column: str, number: float) -> None:
    if column == "+g_content":
        values["g_content"] = values.get("g_content", 0.0) + number
        return
    if column.startswith("d_accuracy") and number > MOST_ACCURACY:
        number /= 100
    values[column] = number


def _number(cell: Any) -> float | None:
    if isinstance(cell, bool):
        return float(cell)
    if isinstance(cell, int | float):
        return as_float(cell)
    if isinstance(cell, str):
        if cell.strip().lower() in ("true", "false"):
            return float(cell.strip().lower() == "true")
        try:
            return float(cell)
        except ValueError:
            return None
    return None


def _position(position: Mapping[str, int]) -> Position:
    return Position(step=position.get("step"), epoch=position.get("epoch"))


# A step of more digits is no step.
MOST_STEP_DIGITS = 18


class JsonReader:
    """Reads JSON lines: our own signals, StyleGAN's stats, or objects with known names.

    Lines may come in portions.
    """

    def __init__(self, source: str, objective: str | None, mapping: Mapping[str, str]) -> None:
        self._source, self._objective, self._mapping = source, objective, mapping
        self._collector: RunCollector | None = None
        self._columns: dict[str, str | None] = {}
        self._broken = 0
        # Values of the row that the trace has kept last, of our signals.
        self._kept_values = 0

    def feed(self, lines: Iterable[str]) -> None:
        """Read further lines."""
        for line in lines:
            if self._passes_over(line):
                continue
            for row in _objects([line]):
                if row is None:
                    self._broken += 1
                else:
                    self._read_row(row)

    def _passes_over(self, line: str) -> bool:
        """Whether a line is a whole row of our signals that a trace does not keep: of a million
        rows most are, and reading JSON is what takes the time."""
        collector = self._collector
        if collector is None or collector.format != SIGNALS:
            return False
        # A torn line and the next one after it are one line.
        whole = line.rfind('{"step":') == 0 and line.endswith("}\n")
        if not whole or '"d_loss"' not in line or '"non_finite"' in line or "NaN" in line:
            self._kept_values = 0
            return False
        digits = line[8 : line.find(",")].strip()
        if not digits.isascii() or not digits.isdigit() or len(digits) > MOST_STEP_DIGITS:
            return False
        values = _count_values(line)
        # Of neighbouring rows the one with the most values is kept: that with most readings.
        if collector.keeps(int(digits)) or values > self._kept_values:
            self._kept_values = values
            return False
        collector.pass_over(int(digits), lambda: _signals_values(line))
        return True

    def finish(self) -> None:
        """No line will come."""

    def collectors(self) -> list[RunCollector]:
        """The runs in the lines so far."""
        if self._collector is None:
            return []
        if self._broken:
            word = "line is" if self._broken == 1 else "lines are"
            note = f"{self._broken} {word} torn or not a JSON object: left out"
            self._collector.notes[:] = [note]
        return [self._collector]

    def _read_row(self, row: Mapping[str, Any]) -> None:
        collector = self._collector
        if collector is None:
            name = _json_format(row)
            # StyleGAN's only objective is the non-saturating logistic one.
            known = self._objective or ("non-saturating" if name == STYLEGAN else None)
            collector = self._collector = RunCollector(self._source, name, known)
        if collector.format == STYLEGAN:
            _add_stylegan(collector, row)
        elif collector.format == SIGNALS:
            # Stages without a discriminator have nothing to judge.
            if "d_loss" in row and isinstance(row.get("step"), int):
                collector.add(Position(step=row["step"]), signals_row_values(row))
        else:
            _add_object(collector, row, self._columns, self._mapping)


def _count_values(line: str) -> int:
    """How many values a row of our signals has, of its action as many as if it had none."""
    of_action = line.find('"action":{') + 9
    in_action = line.count('":', of_action, line.find("}", of_action))
    return line.count('":') - in_action - line.count('":null')


def _signals_values(line: str) -> Mapping[str, float]:
    """The values of a row of our signals; none where it turns out to be no JSON."""
    return next((signals_row_values(row) for row in _objects([line]) if row is not None), {})


def begins_json(line: str) -> bool:
    """Whether the first line of a file is that of JSON objects, or of an array of them."""
    if line.strip() == "[":
        return True
    return line[:1] in ("{", "[") and any(row is not None for row in _objects([line]))


def _objects(lines: Iterable[str]) -> Iterator[dict[str, Any] | None]:
    """The objects of JSON lines, or of an array with an object to a line; None for other lines."""
    for line in lines:
        text = line.strip().removeprefix("[").removesuffix("]").strip().removesuffix(",")
        if not text:
            continue
        try:
            # An array on one line is as many objects.
            rows = json.loads(f"[{text}]")
        except (ValueError, RecursionError):
            rows = [None]
        yield from (row if isinstance(row, dict) else None for row in rows)


def _json_format(row: Mapping[str, Any]) -> str:
    if any(name in row for name in STYLEGAN_NAMES):
        return STYLEGAN
    return SIGNALS if {"stage", "g_terms"} <= row.keys() else "jsonl"


def _add_stylegan(collector: RunCollector, row: Mapping[str, Any]) -> None:
    values = {}
    for name, column in STYLEGAN_NAMES.items():
        if (mean := _mean(row.get(name))) is not None:
            values[column] = mean
    for side, sign in (("real", 1), ("fake", -1)):
        if (mean := _mean(row.get(f"Loss/signs/{side}"))) is not None:
            values[f"d_accuracy_{side}"] = (1 + sign * mean) / 2
    kimg = _mean(row.get("Progress/kimg"))
    step = round(kimg * 1000) if kimg is not None and abs(kimg) < MOST_NUMBERED else None
    collector.add(Position(step=step), values)


def _mean(entry: Any) -> float | None:
    return _number(entry.get("mean")) if isinstance(entry, dict) else _number(entry)


def _add_object(
    collector: RunCollector,
    row: Mapping[str, Any],
    columns: dict[str, str | None],
    mapping: Mapping[str, str],
) -> None:
    values: dict[str, float] = {}
    position: dict[str, int] = {}
    for name, value in row.items():
        number = _number(value)
        if number is None:
            continue
        if name not in columns:
            if len(columns) == MOST_NAMES:
                columns.clear()
            columns[name] = table_column(name, mapping)
        column = columns[name]
        if column in ("step", "epoch"):
            if abs(number) < MOST_NUMBERED:
                position[column] = int(number)
        elif column is not None:
            _put(values, column, number)
    collector.add(_position(position), values)
