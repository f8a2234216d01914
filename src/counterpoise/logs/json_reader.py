"""Logs in JSON: an object to a line, or one document with all rows in it."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from counterpoise.logs.columns import (
    MOST_LISTED,
    MOST_NUMBERED,
    number_of,
    position_of,
    put_value,
    table_columns,
)
from counterpoise.logs.names import plain
from counterpoise.logs.runs import Position, RunCollector
from counterpoise.trace import signals_row_values

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
# Names whose columns are kept; a log whose names never end must not fill the memory.
MOST_NAMES = 4096
# Objects within objects that are looked into.
MOST_NESTED = 4
# A step of more digits is no step.
MOST_STEP_DIGITS = 18


class JsonReader:
    """Reads JSON lines: our own signals, StyleGAN's stats, or objects with known names.

    Lines may come in portions. Names of objects within objects are joined ("losses/d_loss"), and
    lists of numbers are as many rows.
    """

    def __init__(
        self, source: str, objective: str | None, mapping: Mapping[str, str], title: str = ""
    ) -> None:
        """`title` names the format; it is told by the first object where there is none."""
        self._source, self._objective, self._mapping = source, objective, mapping
        self._title = title
        self._collector: RunCollector | None = None
        self._columns: dict[str, str | None] = {}
        self._unknown: list[str] = []
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
                    self.read_row(row)

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

    @property
    def unknown_names(self) -> tuple[str, ...]:
        """The first names of numbers that are no column."""
        return tuple(self._unknown)

    def read_row(self, row: Mapping[str, Any]) -> None:
        """Read an object."""
        collector = self._collector
        if collector is None:
            name = self._title or _json_format(row)
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
            self._add_object(collector, row)

    def _add_object(self, collector: RunCollector, row: Mapping[str, Any]) -> None:
        """Add an object of anybody's: a row, or as many as its lists are long."""
        numbers, lists = _parted(row)
        # Beside a number that is known a list is no column: Adam's betas, say. A number of epochs
        # may be that of a whole history.
        if not lists or set(self._look_up(numbers)) - {None, "epoch"}:
            self._add(collector, numbers)
            return
        columns = zip(lists.items(), self._look_up(lists), strict=True)
        known = {name: each for (name, each), column in columns if column is not None}
        for place in range(max(map(len, known.values()), default=0)):
            some = {name: each[place] for name, each in known.items() if place < len(each)}
            self._add(collector, _numbers(some))

    def _add(self, collector: RunCollector, row: Mapping[str, float]) -> None:
        values: dict[str, float] = {}
        position: dict[str, int] = {}
        for number, column in zip(row.values(), self._look_up(row), strict=True):
            if column in ("step", "epoch"):
                if abs(number) < MOST_NUMBERED:
                    position.setdefault(column, int(number))
            elif column is not None:
                put_value(values, column, number)
        collector.add(position_of(position), values)

    def _look_up(self, row: Collection[str]) -> list[str | None]:
        """The columns of a row's names; of two names of one column the first has it."""
        try:
            return [self._columns[name] for name in row]
        except KeyError:
            if len(self._columns) + len(row) > MOST_NAMES:
                self._columns.clear()
            self._learn([name for name in row if name not in self._columns])
            return [self._columns[name] for name in row]

    def _learn(self, names: list[str]) -> None:
        taken = {c for c in self._columns.values() if c not in (None, "step", "epoch")}
        for name, column in zip(names, table_columns(names, self._mapping, taken), strict=True):
            if plain(name) in self._mapping:
                self._columns = {n: None if c == column else c for n, c in self._columns.items()}
            self._columns[name] = column
            if column is None and len(self._unknown) < MOST_LISTED:
                self._unknown.append(name)


def _parted(row: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, list[Any]]]:
    """The numbers in an object, and the lists that begin with some."""
    numbers: dict[str, float] = {}
    lists: dict[str, list[Any]] = {}
    for name, value in _flat(row, MOST_NESTED):
        if isinstance(value, list):
            if any(number_of(item) is not None for item in value[:8]):
                lists[name] = value
        elif (number := number_of(value)) is not None:
            numbers[name] = number
    return numbers, lists


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    return {name: n for name, value in row.items() if (n := number_of(value)) is not None}


def _flat(row: Mapping[str, Any], most_nested: int) -> Iterator[tuple[str, Any]]:
    """The names and values of an object and of those in it."""
    for name, value in row.items():
        if not isinstance(value, dict):
            yield name, value
        elif most_nested:
            yield from ((f"{name}/{inner}", v) for inner, v in _flat(value, most_nested - 1))


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
    return number_of(entry.get("mean")) if isinstance(entry, dict) else number_of(entry)
