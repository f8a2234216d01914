"""Log lines of programs: found between anything else that a terminal shows."""

import re
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from counterpoise.logs.columns import MEANS, bare_name, note_unknown, number_of
from counterpoise.logs.formats import (
    CELL,
    FORMATS,
    PAIR,
    SPACED_PAIR,
    VERTICAL,
    LineFormat,
    Program,
    generic_position,
    heading_position,
    program_of,
    value_of,
)
from counterpoise.logs.names import (
    AMBIGUOUS,
    CONTENT,
    G_CONTENT,
    column_of,
    names_network,
    plain,
    put_value,
)
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
# In how many lines a format and a program show themselves, where one with numbers tells as much as
# many without.
LINES_TELL, LINES_WITHOUT_NUMBERS = 5000, 25
VALIDATION_WITHIN = 160  # characters of a line
# Numbers of a validation are not the game's, nor is the mean of an epoch one of its steps; of a
# line, what stands before its first number.
_VALIDATION = re.compile(
    r"^(?:(?!(?<!\d)[:=]\s*[-+]?\d).)*?(?<![\w/.-])(?:val(?:id(?:ation)?)?|eval(?:uation)?|"
    r"train summary)(?![\w/.-])",
    re.IGNORECASE,
)
_EVALUATION, _TRAINING = "EVALUATION", "TRAINING"  # headings of coqui's
_RANK = re.compile(r"\b(?:rank|Rank|RANK)\W{0,3}(\d{1,6})\b")
# Of networks side by side: CycleGAN's A and B, or a first and a second D.
_SIDE_BY_SIDE = re.compile(r"^(?:(.+)_(a|b|ab|ba|a2b|b2a)|(.{2,}?)_?([12]))$")
# "loss_h_AB(D)": the network behind the name of one of its losses, and the side before it.
_OF_NETWORK = re.compile(r".*loss(?:.*?_?(_[AB]{1,2}))?\(([DG])\)", re.IGNORECASE)
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


@dataclass
class _OpenRow:
    """What the lines of one step say so far."""

    own: Position  # as its first line says it
    position: Position
    values: dict[str, float]
    torn: bool


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
        self._program: Program | None = None
        self._collectors: dict[str, RunCollector] = {}
        self._format_name = GENERIC
        self._looked = 0  # lines that were looked at for a format and a program
        self._heading = Position()  # as a line before has said it
        self._open: _OpenRow | None = None  # its step may have further lines
        self._name = lru_cache(NAMES_KEPT)(self._column_and_side)
        self._rank: str | None = None
        # By what the first losses were read: if by PAIR, numbers after a space are prose.
        self._losses_by: re.Pattern[str] | None = None
        self._may_be_torn = self._evaluating = False
        self._latest: dict[str, Set[str]] = {}  # the columns of the latest line
        self._header: list[str] = []  # of a table with a row for each network

    def feed(self, lines: Iterable[str]) -> None:
        for raw in lines:
            # Only the last line can be without an end: it may be torn.
            self._may_be_torn = not raw.endswith(("\n", "\r"))
            for line in clean_lines([raw]):
                self._read_line(line)

    def finish(self) -> None:
        """No line will come: what may be a part of a step's lines is the whole."""
        if self._open is not None:
            row, self._open = self._open, None
            if row.values.keys() != {G_CONTENT}:
                self._add("", row.position, row.values, row.torn)

    def collectors(self) -> list[RunCollector]:
        if self._open is not None and not _is_half(self._open.values):
            self.finish()
        for collector in self._collectors.values():
            collector.program = self._program.name if self._program else ""
        return list(self._collectors.values())

    def _read_line(self, line: str) -> None:
        if self._looked < LINES_TELL:
            self._looked += 1
            if self._program is None and (program := program_of(line)) is not None:
                self._program, self.advice = program, program.advice
                self._name.cache_clear()
            if self._format is None and self._recognise(line):
                return
        if self._format is None:
            if not self._is_of_none(line):
                self._read_generic(line)
        elif (found := self._format.read(line)) is not None:
            sides = self._sides(line, found[1])
            self._add_sides(found[0], sides, sides.pop("", {}))

    def _recognise(self, line: str) -> bool:
        """Read a line of a known format; whether it is one."""
        for known in FORMATS.values():
            if (found := known.read(line)) is None:
                continue
            self._format = known
            self._name.cache_clear()
            if sides := self._sides(line, found[1]):
                # What stood before was no part of the log (a printed configuration).
                self._open = None
                self._collectors.clear()
                self._format_name = known.name
                self._add_sides(found[0], sides, sides.pop("", {}))
                return True
            self._format = None
            self._name.cache_clear()
        return False

    def _is_of_none(self, line: str) -> bool:
        """Whether a line is of a validation, or of another process."""
        if self._evaluating and _TRAINING in line:
            self._evaluating = False
        begin = line[:VALIDATION_WITHIN].lower()
        if ("val" in begin or "summary" in begin) and _VALIDATION.match(begin):
            self._evaluating |= _EVALUATION in line
            return True
        return self._evaluating or self._is_of_another_process(line)

    def _read_generic(self, line: str) -> None:
        """Read a line of an unknown format; those of one step become one row."""
        sides = self._sides(line, {}, with_content=True)
        own, common = generic_position(line), sides.pop("", {})
        if not sides and common.keys() <= {G_CONTENT}:
            self._read_heading(line)
            if not common:
                return
        self._looked += LINES_WITHOUT_NUMBERS
        if sides:
            self.finish()
            self._add_sides(self._placed(own), sides, common)
            return
        row = self._open
        if row is not None:
            if own in (row.own, Position()) and row.values.keys() & common.keys() <= {G_CONTENT}:
                content = row.values.get(G_CONTENT, 0.0) + common.get(G_CONTENT, 0.0)
                row.values |= common
                if G_CONTENT in row.values:
                    row.values[G_CONTENT] = content
                row.torn |= self._may_be_torn
                return
            self.finish()
        self._open = _OpenRow(own, self._placed(own), common, self._may_be_torn)
        self._heading = replace(self._heading, step=None)  # it is that of one row

    def _placed(self, own: Position) -> Position:
        """The position of a line, with what headings said before it."""
        step = self._heading.step if own.step is None else own.step
        epoch = self._heading.epoch if own.epoch is None else own.epoch
        length = own.epoch_steps or (self._heading.epoch_steps if own.step is None else None)
        if epoch is None:
            return replace(own, step=step)
        return Position(step, epoch, length or (own.bar_steps if own.epoch is None else None))

    def _read_heading(self, line: str) -> None:
        """Read what a line without numbers says of the place of those after it."""
        found = heading_position(line)
        if found.epoch is None and found.step is None:
            return
        self.finish()
        self._heading = (
            found if found.epoch is not None else replace(self._heading, step=found.step)
        )
        if self._format_name == GENERIC and _KERAS_EPOCH.match(line):
            self._format_name = KERAS

    def _is_of_another_process(self, line: str) -> bool:
        """Whether a line says a rank, and not that of the first line that did."""
        rank = _RANK.search(line)
        if rank is None or ((pair := PAIR.search(line)) and pair.start() < rank.start()):
            return False  # behind another number it is one of the line's own
        self._rank = self._rank or rank[1]
        return rank[1] != self._rank

    def _sides(
        self, line: str, values: dict[str, float], *, with_content: bool = False
    ) -> dict[str, dict[str, float]]:
        """The known numbers of a line, by side and column; "" is what all sides share. `values` are
        those that need no name. Where there is nothing but terms of G, none, unless they are asked
        for."""
        if values:
            return {"": values}
        numbers, pattern = list(self._numbers(line)), PAIR
        if not numbers and self._format is None and self._losses_by is not PAIR:
            pattern = CELL if VERTICAL.search(line) else SPACED_PAIR
            numbers = list(self._numbers(line, CELL)) or list(self._of_a_network(line))
            if not numbers:
                pattern, found = SPACED_PAIR, self._numbers(line, SPACED_PAIR)
                # Accuracies and single letters, but for D and G, stand before numbers in any text.
                numbers = [n for n in found if not n.column.startswith(ACCURACY)]
                if {n.name.lower() for n in numbers if len(n.name) == 1} != {"d", "g"}:
                    numbers = [n for n in numbers if len(n.name) > 1]
        if self._losses_by is not PAIR and any(n.column in _ON_SIDES for n in numbers):
            if pattern is PAIR and self._losses_by and not self._collectors:
                self._open = None  # a table that was printed before
            self._losses_by = pattern if pattern is PAIR else self._losses_by or pattern
        sides: dict[str, dict[str, float]] = {}
        for name, column, side, value, in_percent in numbers:
            of_side = sides.setdefault(side, {})
            if column not in of_side or column == G_CONTENT or not name.endswith(MEANS):
                put_value(of_side, column, value, in_percent=in_percent)
        common = sides.get("", {})
        if all(values.keys() <= common.keys() for values in sides.values()):
            sides = {"": common} if common else {}  # beside their total, the parts are left out
        columns = {number.column for number in numbers}
        if columns == {ACCURACY} and all(plain(number.name) in AMBIGUOUS for number in numbers):
            return {}  # alone on its line it is a classifier's as likely as D's
        return sides if with_content or columns - {G_CONTENT} else {}

    def _numbers(self, line: str, pattern: re.Pattern[str] = PAIR) -> Iterator[Number]:
        """Each known number of a line."""
        for match in pattern.finditer(line):
            name, number, second, percent = match.group("name", "number", "second", "percent")
            if (known := self._name(name)) is None:
                continue
            yield Number(name, *known, value_of(number), percent is not None)
            if known[0] == "d_fake_before" and second is not None:
                yield Number(name, "d_fake_after", known[1], value_of(second))

    def _of_a_network(self, line: str) -> Iterator[Number]:
        """The numbers of a table's row that is named by a network: "generator (train) | 0.7"."""
        if not VERTICAL.search(line):
            return
        first, *cells = (cell.strip() for cell in VERTICAL.split(line.strip(" |\u2502\u2503")))
        if not any(character.isdigit() for character in line):
            self._header = cells
        elif len(cells) == len(self._header) and names_network(first):
            for head, cell in zip(self._header, cells, strict=True):
                name = f"{first} {head}"
                if (number := number_of(cell)) is not None and (known := self._name(name)):
                    yield Number(name, *known, number)

    def _column_and_side(self, name: str) -> tuple[str, str] | None:
        """Column and side ("A" of two pairs) of a printed name; None for another number."""
        if ends := _OF_NETWORK.fullmatch(name):
            name = f"loss_{ends[2]}{ends[1] or ''}"
        known, side = plain(name), ""
        column, of = self._look_up(known), _SIDE_BY_SIDE.match(known)
        in_pairs = self._format is not None and self._format.has_pairs
        if of and (of[2] if in_pairs else column is None and self._format is None):
            alone = self._look_up(of[1] or of[3])
            column, side = column or alone, (of[2] or of[4]).upper()
            if not in_pairs and column not in _ON_SIDES:
                column = None
        if column is None:
            note_unknown(self.unknown_names, name)
            return None
        return column, side

    def _look_up(self, name: str) -> str | None:
        if name in self._mapping:
            return self._mapping[name]
        own = dict(self._format.names if self._format else {})
        own |= self._program.names if self._program else {}
        for each in (name, bare_name(name)):
            if each in own:
                return own[each] or None
        column = column_of(name, self._mapping, most_before=2)
        return G_CONTENT if column is None and CONTENT.fullmatch(name) else column

    def _add_sides(
        self, position: Position, sides: dict[str, dict[str, float]], common: dict[str, float]
    ) -> None:
        """Add a line, to the game of each of its sides, with what is of all."""
        for side, values in (sides or {"": {}}).items():
            self._add(side, position, common | values, self._may_be_torn)

    def _add(
        self, suffix: str, position: Position, values: dict[str, float], may_be_torn: bool
    ) -> None:
        if not values:
            return
        if suffix not in self._collectors:
            is_mean = self._format is not None and self._format.d_loss_is_mean
            notes = [self._format.note] if self._format and self._format.note else []
            self._collectors[suffix] = RunCollector(
                suffix=suffix, d_loss_is_mean=is_mean, notes=notes
            )
        collector = self._collectors[suffix]
        collector.format = self._format_name
        if may_be_torn and values.keys() < self._latest.get(suffix, set()):
            if TORN not in collector.notes:
                collector.notes.append(TORN)
            return
        self._latest[suffix] = values.keys()
        collector.add(position, values)


def _is_half(values: dict[str, float]) -> bool:
    """Whether these are numbers of one network alone."""
    of_g = values.keys() & _G_ONLY
    return not of_g or of_g == values.keys()
