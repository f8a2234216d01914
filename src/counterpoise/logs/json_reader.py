"""Logs in JSON: an object to a line, or one document with all rows in it."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from counterpoise.logs.columns import NamedRows, number_of
from counterpoise.logs.formats import PLACES
from counterpoise.logs.runs import FIRST_OF_LIST

STYLEGAN = "stylegan-stats"
_SNAPSHOT = re.compile(r"(\d+)\.pkl$")  # by thousands of images
_decode = json.JSONDecoder().decode  # without what `json.loads` looks at in every line
FEW = 8  # losses of several D's, not a history
_LINE_NUMBER = re.compile(r'^\s*\d+\s+(?=\{")')  # an editor's
_TEXTS = "log", "message", "msg", "text"  # what a line is called that is logged as JSON
DEPTH = 4  # objects within objects that are looked into
# A document's first line, or the part of it that is there.
_DOCUMENT = re.compile(r'[\[{]\s*(?:$|["{]|\[\d)')


class JsonReader(NamedRows):
    """Reads JSON lines: StyleGAN's stats, or objects with known names, those of objects within
    objects joined ("losses/d_loss"); lists of numbers are as many rows. Its format is known from
    the first object on."""

    def feed(self, lines: Iterable[str]) -> None:
        broken = 0
        for row in (row for line in lines for row in _objects(line)):
            if row is None:
                broken += 1
            else:
                self.read_row(row)
        if broken:
            word = "line is" if broken == 1 else "lines are"
            self.collector.notes.append(f"{broken} {word} torn or not a JSON object: left out")

    def read_row(self, row: Mapping[str, Any]) -> None:
        """Read an object."""
        collector = self.collector
        if not collector.format:
            collector.format = "jsonl"
            if any(name.startswith(("Loss/scores/", "Loss/D/")) for name in row):
                collector.format = STYLEGAN
                self.recognise(row)  # by names that say nothing else here, too
        if collector.format == STYLEGAN:
            self.add(_stylegan_row(row))
        else:
            self._read_object(row)

    def _read_object(self, row: Mapping[str, Any]) -> None:
        """Add an object of any program: a row, or as many as its lists are long."""
        numbers: dict[str, float] = {}
        if snapshot := _SNAPSHOT.search(str(row.get("snapshot_pkl"))):
            self.recognise(row)
            numbers["step"] = 1000.0 * int(snapshot[1])
        lists: dict[str, list[Any]] = {}
        for name, value in _flat(row, DEPTH):
            if isinstance(value, list):
                if any(number_of(item) is not None for item in value[:8]):
                    lists[name] = value
            elif (number := number_of(value)) is not None:
                numbers[name] = number
        if not lists:
            self.add(numbers)
            return
        beside = set(self.columns_of(numbers)) - {None}
        columns = zip(lists.items(), self.columns_of(lists), strict=True)
        known = {name: each for (name, each), column in columns if column is not None}
        # Beside a step alone short lists are of that row; beside another number that is known they
        # are no column: Adam's betas, say. A number of epochs may be that of a whole history.
        if "step" in beside <= PLACES and max(map(len, known.values()), default=FEW + 1) <= FEW:
            firsts = {name: number_of(each[0]) for name, each in known.items()}
            numbers |= {name: first for name, first in firsts.items() if first is not None}
            self.collector.note(FIRST_OF_LIST)
        if beside - {"epoch"}:
            self.add(numbers)
            return
        for place in range(max(map(len, known.values()), default=0)):
            some = {n: number_of(each[place]) for n, each in known.items() if place < len(each)}
            self.add({n: number for n, number in some.items() if number is not None})


def _flat(row: Mapping[str, Any], depth: int) -> list[tuple[str, Any]]:
    """The names and values of an object and of those in it."""
    flat = []
    for name, value in row.items():
        if not isinstance(value, dict):
            flat.append((name, value))
        elif depth:
            flat += [(f"{name}/{inner}", v) for inner, v in _flat(value, depth - 1)]
    return flat


def begins_json(line: str) -> bool:
    """Whether the first line of a file is that of JSON objects, or of an array of them."""
    if line.strip() == "[":
        return True
    begin = _LINE_NUMBER.sub("", line)[:1]
    return begin in ("{", "[") and any(row is not None for row in _objects(line))


def begins_document(first: list[str]) -> bool:
    """Whether the first lines of a file may begin a JSON document. An array with an object to a
    line counts as JSON lines: it can be read line by line."""
    begin = first[0].strip("\ufeff \t\r\n")
    if begin == "[":
        return len(first) > 1 and not begins_json(first[1].strip())
    is_notebook = begin.startswith("{") and '"nbformat"' in begin
    return _DOCUMENT.match(begin) is not None and (is_notebook or not begins_json(begin))


def text_in(line: str) -> str:
    """The line of text in an object of a logger's or a container's; any other line as it is."""
    row = _objects(line)[0] if line.lstrip()[:1] == "{" else None
    text = next((text for name in _TEXTS if isinstance(text := (row or {}).get(name), str)), None)
    return line if text is None else text.rstrip("\n") + "\n"


def _objects(line: str) -> list[dict[str, Any] | None]:
    """The objects of a JSON line, or of a line of an array with an object to a line; None for what
    is none."""
    text = _LINE_NUMBER.sub("", line.strip()).removeprefix("[").removesuffix("]").strip()
    try:
        # An array on one line is as many objects.
        rows = _decode(f"[{text.removesuffix(',')}]")
    except (ValueError, RecursionError):
        rows = [None]
    return [row if isinstance(row, dict) else None for row in rows]


def _stylegan_row(row: Mapping[str, Any]) -> dict[str, float]:
    """StyleGAN's means by their names; thousands of images as steps, and E[sign(logit)] as shares
    of images that D judges rightly."""
    known = {}
    for name, value in row.items():
        if name.startswith(("Loss/", "Progress/kimg")):
            mean = number_of(value.get("mean") if isinstance(value, dict) else value)
            if mean is not None:
                known[name] = mean
    for side, sign in (("real", 1), ("fake", -1)):
        if (mean := known.get(f"Loss/signs/{side}")) is not None:
            known[f"d_accuracy_{side}"] = (1 + sign * mean) / 2
    if (kimg := known.pop("Progress/kimg", None)) is not None:
        known["step"] = kimg * 1000
    return known
