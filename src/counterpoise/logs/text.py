"""Log lines of programs: found between anything else that a terminal shows."""

import re
from collections.abc import Iterable, Iterator, Mapping, Set
from functools import lru_cache
from typing import NamedTuple

from counterpoise.logs.columns import NAMES_LISTED
from counterpoise.logs.formats import (
    FORMATS,
    PAIR,
    SPACED_PAIR,
    LineFormat,
    generic_position,
    value_of,
)
from counterpoise.logs.names import AMBIGUOUS, CONTENT, G_CONTENT, column_of, plain, put_value
from counterpoise.logs.runs import FormatReader, Position, RunCollector

GENERIC = "name: value lines"
KERAS = "keras"
LINE_CHARACTERS = 4000  # what is read of a line
# Names whose columns are kept: a log in which they never end must not fill the memory.
NAMES_KEPT = 4096
ACCURACY = "d_accuracy"
# Colours, and titles of windows, which end with BEL or ESC and a backslash.
_ANSI = re.compile(r"\x1b(?:\[[0-?]*+[ -/]*+[@-~]|\][^\x07\x1b]*+(?:\x07|\x1b\\)|[@-Z\\-_])")
_KERAS_EPOCH = re.compile(r"^\s*Epoch \d+/\d+\s*$")
# A line that says the epoch of those after it: "Epoch 1/5", "--- Epoch 3 ---", "Epoch [3/10]".
_EPOCH_LINE = re.compile(
    r"^[\W_]{0,80}epoch\W{0,3}(\d{1,15})(?:\s*(?:/|of)\s*\d+)?[\W_]*+$", re.IGNORECASE
)
# Numbers of a validation are not the game's.
_VALIDATION = re.compile(
    r"^[\W\d]*+(?:INFO\W+)?(?:val(?:id(?:ation)?)?|eval(?:uation)?)\b", re.IGNORECASE
)
_RANK = re.compile(r"\b(?:rank|Rank|RANK)\W{0,3}(\d{1,6})\b")
# Of networks side by side: CycleGAN's A and B, or a first and a second D.
_SIDE_BY_SIDE = re.compile(r"^(?:(.+)_([ab])|(.{2,}?)_?([12]))$")
TORN = "the last line is torn: left out"
# What networks side by side have, each its own.
_ON_SIDES = frozenset(("d_loss", "d_loss_real", "d_loss_fake", "g_loss", "g_adversarial"))
_G_ONLY = frozenset({"g_loss", "g_adversarial", G_CONTENT})


def clean_lines(lines: Iterable[str]) -> Iterator[str]:
    """Lines without colours, each state of a progress bar by itself, cut where they have no end."""
    for line in lines:
        if "\x1b" in line:
            line = _ANSI.sub("", line)
        for part in line.rstrip("\r\n").split("\r"):
            if part and not part.isspace():
                yield part[:LINE_CHARACTERS]


class Number(NamedTuple):
    """A known number in a line."""

    name: str
    column: str
    side: str  # of two pairs of networks, "" where there is one
    value: float
    in_percent: bool = False


class TextReader(FormatReader):
    """Reads lines of any of `FORMATS`: the first that a line betrays is the file's. Before that,
    and where none does, lines are read as `name: value` pairs of any program."""

    def __init__(self, mapping: Mapping[str, str]) -> None:
        super().__init__(mapping)
        self._format: LineFormat | None = None
        self._collectors: dict[str, RunCollector] = {}
        self._format_name = GENERIC
        self._epoch: int | None = None  # as a line of its own has said it
        # Values of a line that is half of what a loop prints, and its position.
        self._half: tuple[Position, dict[str, float]] | None = None
        self._name = lru_cache(NAMES_KEPT)(self._column_and_side)
        self._rank: str | None = None
        # By what the first losses were read: if by PAIR, numbers after a space are prose.
        self._losses_by: re.Pattern[str] | None = None
        self._may_be_torn = False
        self._latest: dict[str, Set[str]] = {}  # the columns of the latest line

    def feed(self, lines: Iterable[str]) -> None:
        for raw in lines:
            # Only the last line can be without an end: it may be torn.
            self._may_be_torn = not raw.endswith(("\n", "\r"))
            for line in clean_lines([raw]):
                self._read_line(line)

    def finish(self) -> None:
        """No line will come: what may be half of a step's lines is the whole."""
        if self._half is not None:
            (position, values), self._half = self._half, None
            self._add("", position, values)

    def collectors(self) -> list[RunCollector]:
        return list(self._collectors.values())

    def _read_line(self, line: str) -> None:
        if self._format is None:
            self._recognise(line)
        if self._format is not None:
            position = self._format.position(line)
        elif epoch := _EPOCH_LINE.match(line):
            self._epoch = int(epoch[1])
            if self._format_name == GENERIC and _KERAS_EPOCH.match(line):
                self._format_name = KERAS
            return
        elif _VALIDATION.match(line) or self._is_of_another_process(line):
            return
        else:
            position = generic_position(line)
            if self._epoch is not None and position.epoch is None:
                length = position.epoch_steps or position.bar_steps
                position = Position(position.step, self._epoch, length)
        sides = {} if position is None else self._sides(line)
        if position is None or not sides:
            return
        common = sides.pop("", {})
        # Beside their total, those of the parts are left out.
        if not all(values.keys() <= common.keys() for values in sides.values()):
            for side, values in sides.items():
                self._add(side, position, common | values)
        elif self._format is None:
            self._join(position, common)
        else:
            self._add("", position, common)

    def _is_of_another_process(self, line: str) -> bool:
        """Whether a line says a rank, and not that of the first line that did."""
        rank = _RANK.search(line)
        if rank is None or ((pair := PAIR.search(line)) and pair.start() < rank.start()):
            return False  # behind another number it is one of the line's own
        self._rank = self._rank or rank[1]
        return rank[1] != self._rank

    def _recognise(self, line: str) -> None:
        for name, known in FORMATS.items():
            if known.position(line) is not None:
                # What stood before the first such line was no part of the log (a printed config).
                self._half = None
                self._collectors.clear()
                self._format, self._format_name = known, name
                self._name.cache_clear()
                return

    def _sides(self, line: str) -> dict[str, dict[str, float]]:
        """The known numbers of a line, by side and column; "" is what all sides share."""
        numbers = list(self._numbers(line))
        pattern = PAIR
        if not numbers and self._format is None and self._losses_by is not PAIR:
            pattern, found = SPACED_PAIR, self._numbers(line, SPACED_PAIR)
            # Single letters and accuracies stand before numbers in any text.
            numbers = [n for n in found if len(n.name) > 1 and not n.column.startswith(ACCURACY)]
        if self._losses_by is None and any(n.column in _ON_SIDES for n in numbers):
            self._losses_by = pattern
        sides: dict[str, dict[str, float]] = {}
        for _, column, side, value, in_percent in numbers:
            put_value(sides.setdefault(side, {}), column, value, in_percent=in_percent)
        columns = {number.column for number in numbers} - {G_CONTENT}
        if columns == {ACCURACY} and all(plain(number.name) in AMBIGUOUS for number in numbers):
            return {}  # alone on its line it is a classifier's as likely as D's
        return sides if columns else {}

    def _numbers(self, line: str, pattern: re.Pattern[str] = PAIR) -> Iterator[Number]:
        """Each known number of a line."""
        for match in pattern.finditer(line):
            name, number, second, percent = match.group("name", "number", "second", "percent")
            if (known := self._name(name)) is None:
                continue
            yield Number(name, *known, value_of(number), percent is not None)
            if known[0] == "d_fake_before" and second is not None:
                yield Number(name, "d_fake_after", known[1], value_of(second))

    def _column_and_side(self, name: str) -> tuple[str, str] | None:
        """Column and side ("A" of two pairs) of a printed name; None for another number."""
        known, side = plain(name), ""
        column, of = self._look_up(known), _SIDE_BY_SIDE.match(known)
        in_pairs = self._format is not None and self._format.has_pairs
        if of and (of[2] if in_pairs else column is None and self._format is None):
            column, side = self._look_up(of[1] or of[3]), (of[2] or of[4]).upper()
            if not in_pairs and column not in _ON_SIDES:
                column = None
        unknown = self.unknown_names
        if column is None and name not in unknown and len(unknown) < NAMES_LISTED:
            unknown.append(name)
        return None if column is None else (column, side)

    def _look_up(self, name: str) -> str | None:
        own = {**(self._format.names if self._format else {}), **self._mapping}
        if name in own:
            return own[name] or None
        column = column_of(name, self._mapping, most_before=2)
        return G_CONTENT if column is None and CONTENT.fullmatch(name) else column

    def _join(self, position: Position, values: dict[str, float]) -> None:
        """Add a line of an unknown format; D's and G's lines of one step become one row."""
        if self._half is not None:
            earlier, first = self._half
            same_place = position in (earlier, Position())
            if same_place and not first.keys() & values.keys() and _is_half(values):
                self._half = None
                self._add("", earlier, first | values)
                return
            self.finish()
        if _is_half(values):
            self._half = (position, values)
        else:
            self._add("", position, values)

    def _add(self, suffix: str, position: Position, values: dict[str, float]) -> None:
        if not values:
            return
        if suffix not in self._collectors:
            is_mean = self._format is not None and self._format.d_loss_is_mean
            self._collectors[suffix] = RunCollector(suffix=suffix, d_loss_is_mean=is_mean)
        collector = self._collectors[suffix]
        collector.format = self._format_name
        if self._may_be_torn and values.keys() < self._latest.get(suffix, set()):
            if TORN not in collector.notes:
                collector.notes.append(TORN)
            return
        self._latest[suffix] = values.keys()
        collector.add(position, values)


def _is_half(values: dict[str, float]) -> bool:
    """Whether these are numbers of one network alone."""
    of_g = values.keys() & _G_ONLY
    return not of_g or of_g == values.keys()
