"""Log lines of programs: found between anything else that a terminal shows."""

import re
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import NamedTuple

from counterpoise.logs.formats import (
    FORMATS,
    NUMBER,
    PAIR,
    SPACED_PAIR,
    LineFormat,
    generic_position,
    value_of,
)
from counterpoise.logs.names import ANYBODYS, CONTENT, KNOWN, column_of, plain
from counterpoise.logs.runs import Position, RunCollector

GENERIC = "name: value lines"
KERAS = "keras"
MOST_CHARACTERS = 4000
# Kinds of lines that are read the quick way, and names whose columns are kept: a log in which
# either never ends must not take time or memory for each.
MOST_TEMPLATES = 8
MOST_NAMES = 4096
ACCURACY = "d_accuracy"
# Whoever prints D's accuracy above this prints per cent.
MOST_ACCURACY = 1.5
# Colours, and titles of windows, which end with BEL or ESC and a backslash.
_ANSI = re.compile(r"\x1b(?:\[[0-?]*+[ -/]*+[@-~]|\][^\x07\x1b]*+(?:\x07|\x1b\\)|[@-Z\\-_])")
_ANY_NUMBER = re.compile(NUMBER, re.IGNORECASE)
# One of these in the pattern of a line: quick to match, and checked when it is read. Nothing is
# given back (`++`): a pattern of many would take for ever on a line that fits almost.
_A_NUMBER = r"([-+]?[\d.]++(?:,\d[\d.]*+)*+(?:[eE][-+]?\d++)?+|[-+]?(?i:nan|inf(?:inity)?+))"
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
# Networks side by side: CycleGAN's A and B, or a first and a second D.
_PAIR_OF = re.compile(r"^(?:d|g|cycle|idt|d_real|d_fake|g_gan)_([ab])$")
_SIDE_BY_SIDE = re.compile(r"^(?:(.+)_([ab])|(.{2,}?)_?([12]))$")
# Names of unknown numbers that are kept, to be told where nothing is known.
MOST_UNKNOWN = 8
# Halves of what a loop prints in two lines.
CONTENT_TERM = "g_content"
TORN = "the last line is torn: left out"
# What networks side by side have, each its own.
_ON_SIDES = frozenset(("d_loss", "d_loss_real", "d_loss_fake", "g_loss", "g_adversarial"))
_G_ONLY = frozenset({"g_loss", "g_adversarial", "g_content"})


def clean_lines(lines: Iterable[str]) -> Iterator[str]:
    """Lines without colours, each state of a progress bar by itself, cut where they have no end."""
    for line in lines:
        if "\x1b" in line:
            line = _ANSI.sub("", line)
        for part in line.rstrip("\r\n").split("\r"):
            if part and not part.isspace():
                yield part[:MOST_CHARACTERS]


class Number(NamedTuple):
    """A known number in a line."""

    span: tuple[int, int]
    name: str
    column: str
    side: str  # of two pairs of networks, "" where there is one
    text: str
    in_percent: bool


def _put(values: dict[str, float], number: Number) -> None:
    column, value = number.column, value_of(number.text)
    if column == CONTENT_TERM:
        values[column] = values.get(column, 0.0) + value
    elif column.startswith(ACCURACY):
        share = number.in_percent or value > MOST_ACCURACY
        # The first is D's; after it may come that of the model that G is trained in.
        values.setdefault(column, value / 100 if share else value)
    else:
        values[column] = value


class Template:
    """Reads lines that differ from one that was scanned in their numbers alone: most do.

    It is one match instead of one for each number, which is what a million lines need.
    """

    def __init__(
        self,
        line: str,
        places: Mapping[tuple[int, int], str],
        numbers: list[Number],
    ) -> None:
        """`line` as scanned, the spans of its place in the training, and its known numbers."""
        self._places: list[tuple[int, str]] = []
        # Numbers that are a column's value as they stand, and those that are summed or shares.
        self._plain: list[tuple[int, str]] = []
        self._special: list[tuple[int, Number]] = []
        known = {number.span: number for number in numbers}
        pattern, end = "", 0
        for group, match in enumerate(_ANY_NUMBER.finditer(line)):
            pattern += re.escape(line[end : match.start()]) + _A_NUMBER
            end = match.end()
            if match.span() in places:
                self._places.append((group, places[match.span()]))
            elif (number := known.get(match.span())) is not None:
                if number.column == CONTENT_TERM or number.column.startswith(ACCURACY):
                    self._special.append((group, number))
                else:
                    self._plain.append((group, number.column))
        # A line that was not understood to its last number is no template.
        understood = len(self._plain) + len(self._special)
        whole = len(self._places) == len(places) and understood == len(known)
        spaces = r"\s+"
        pattern = re.sub(r"(?:\\\s)+", lambda _: spaces, pattern + re.escape(line[end:].rstrip()))
        self._pattern = re.compile(pattern + r"\s*") if whole else None

    def read(self, line: str) -> tuple[dict[str, str], dict[str, float]] | None:
        """The place and the values of a line; None where it is another kind of line."""
        match = self._pattern.fullmatch(line) if self._pattern is not None else None
        if match is None:
            return None
        texts = match.groups()
        values: dict[str, float] = {}
        try:
            for group, column in self._plain:
                text = texts[group]
                values[column] = value_of(text) if "," in text else float(text)
            for group, number in self._special:
                _put(values, number._replace(text=texts[group]))
        except ValueError:  # "1.2.3" or "e": not a line of this kind.
            return None
        places = {name: texts[group] for group, name in self._places}
        if not all(text.replace(",", "").isdecimal() for text in places.values()):
            return None
        return places, values


class TextReader:
    """Reads lines of any of `FORMATS`, or `name: value` lines of no known format.

    The first format that a line betrays is the file's; before that, and where none does, lines are
    read generically. Lines may come in portions, and be asked about in between.
    """

    def __init__(self, source: str, objective: str | None, mapping: Mapping[str, str]) -> None:
        self._source, self._objective, self._mapping = source, objective, mapping
        self._format: LineFormat | None = None
        self._collectors: dict[str, RunCollector] = {}
        self._format_name = GENERIC
        # As a line of its own has said it.
        self._epoch: int | None = None
        # Values of a line that is half of what a loop prints, and its position.
        self._half: tuple[Position, dict[str, float]] | None = None
        # Column and side ("A" of two pairs) of each name; None for another number.
        self._names: dict[str, tuple[str, str] | None] = {}
        self._unknown: dict[str, None] = {}
        self._rank: str | None = None
        # By what the first losses were read: if by PAIR, numbers after a space are prose.
        self._losses_by: re.Pattern[str] | None = None
        self._templates: list[Template] = []
        self._may_be_torn = False
        # The columns of the latest line.
        self._latest: dict[str, Set[str]] = {}

    def feed(self, lines: Iterable[str]) -> None:
        """Read further lines."""
        for raw in lines:
            # Only the last line can be without an end: it may be torn.
            self._may_be_torn = not raw.endswith(("\n", "\r"))
            for line in clean_lines([raw]):
                self._read_line(line)

    def finish(self) -> None:
        """No line will come: what may be half of a step's lines is the whole."""
        self._flush()

    def collectors(self) -> list[RunCollector]:
        """The runs of each pair of networks in the lines so far."""
        return list(self._collectors.values())

    @property
    def unknown_names(self) -> tuple[str, ...]:
        """Names of some numbers that are not known, as they are printed."""
        return tuple(self._unknown)

    def _read_line(self, line: str) -> None:
        if self._format is None:
            self._recognise(line)
        if self._format is not None:
            self._read_known(self._format, line)
            return
        if epoch := _EPOCH_LINE.match(line):
            self._epoch = int(epoch[1])
            if self._format_name == GENERIC and _KERAS_EPOCH.match(line):
                self._format_name = KERAS
            return
        if _VALIDATION.match(line) or self._is_of_another_process(line):
            return
        sides = self._sides(line)
        if not sides:
            return
        position = generic_position(line)
        if self._epoch is not None and position.epoch is None:
            length = position.epoch_steps or position.bar_steps
            position = Position(position.step, self._epoch, length)
        common = sides.pop("", {})
        # Beside their total, those of the parts are left out.
        if all(values.keys() <= common.keys() for values in sides.values()):
            sides = {}
        if not sides:
            self._join(position, common)
        for side, values in sides.items():
            self._add(side, position, common | values)

    def _is_of_another_process(self, line: str) -> bool:
        """Whether a line says a rank, and not that of the first line that did."""
        if not any(word in line for word in ("rank", "Rank", "RANK")):
            return False  # sooner than the pattern says so
        rank, pair = _RANK.search(line), PAIR.search(line)
        if rank is None or (pair is not None and pair.start() < rank.start()):
            return False  # behind another number it is one of the line's own
        self._rank = self._rank or rank[1]
        return rank[1] != self._rank

    def _read_known(self, known: LineFormat, line: str) -> None:
        """A line of a file whose format is known."""
        for place, template in enumerate(self._templates):
            if (read := template.read(line)) is not None:
                if place:  # most lines are of the kind of the line before
                    self._templates.insert(0, self._templates.pop(place))
                places, values = read
                self._add("", known.position_from(places), values)
                return
        match = known.place.search(line)
        if match is None:
            return
        position = known.position_from(match.groupdict())
        if known.pairs:
            self._read_pairs(position, line)
            return
        if len(self._templates) < MOST_TEMPLATES:
            self._learn(match, line)
        self._add("", position, self._values(line))

    def _learn(self, match: re.Match[str], line: str) -> None:
        """Keep what a line looks like, to read others of its kind quickly."""
        roles = {match.span(name): name for name in match.groupdict() if match[name] is not None}
        self._templates.append(Template(line, roles, list(self._numbers(line))))

    def _recognise(self, line: str) -> None:
        for name in FORMATS:
            if FORMATS[name].position(line) is not None:
                # What stood before the first such line was no part of the log (a printed config).
                self._half = None
                self._collectors.clear()
                self._format, self._format_name = FORMATS[name], name
                self._names.clear()
                return

    def _values(self, line: str) -> dict[str, float]:
        """The known numbers of a line, by column."""
        return self._sides(line).get("", {})

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
        for number in numbers:
            _put(sides.setdefault(number.side, {}), number)
        told = {number.column for number in numbers} - {CONTENT_TERM}
        if told == {ACCURACY} and all(plain(number.name) in ANYBODYS for number in numbers):
            return {}  # alone on its line it is a classifier's as likely as D's
        return sides if told else {}

    def _numbers(self, line: str, pattern: re.Pattern[str] = PAIR) -> Iterator[Number]:
        """Each known number of a line."""
        for match in pattern.finditer(line):
            name = match["name"]
            if (known := self._name(name)) is None:
                continue
            column, side = known
            percent = match["percent"] is not None
            yield Number(match.span("number"), name, column, side, match["number"], percent)
            if column == "d_fake_before" and (second := match["second"]) is not None:
                yield Number(match.span("second"), name, "d_fake_after", side, second, False)

    def _name(self, name: str) -> tuple[str, str] | None:
        """Column and side of a name as it is printed; None for another number."""
        if name not in self._names:
            if len(self._names) == MOST_NAMES:
                self._names.clear()
            known = plain(name)
            column, side = self._look_up(known), ""
            if column is None and self._format is None and (of := _SIDE_BY_SIDE.match(known)):
                column, side = self._look_up(of[1] or of[3]), (of[2] or of[4]).upper()
                if column not in _ON_SIDES:
                    column = None
            if column is None and len(self._unknown) < MOST_UNKNOWN:
                self._unknown[name] = None
            self._names[name] = None if column is None else (column, side)
        return self._names[name]

    def _look_up(self, name: str) -> str | None:
        if name in self._mapping:
            return self._mapping[name]
        if self._format is not None:
            if name in self._format.content:
                return CONTENT_TERM
            if name in self._format.names:
                return self._format.names[name] or None
        column = column_of(name, self._mapping, most_before=2)
        if column is not None:
            return column
        return CONTENT_TERM if CONTENT.fullmatch(name) else None

    def _join(self, position: Position, values: dict[str, float]) -> None:
        """Add a line of an unknown format; D's and G's lines of one step become one row."""
        if self._half is not None:
            earlier, first = self._half
            same_place = position in (earlier, Position())
            if same_place and not first.keys() & values.keys() and self._is_half(values):
                self._half = None
                self._add("", earlier, first | values)
                return
            self._flush()
        if self._is_half(values):
            self._half = (position, values)
        else:
            self._add("", position, values)

    @staticmethod
    def _is_half(values: dict[str, float]) -> bool:
        """Whether these are numbers of one network alone."""
        of_g = values.keys() & _G_ONLY
        return not of_g or of_g == values.keys()

    def _flush(self) -> None:
        if self._half is not None:
            (position, values), self._half = self._half, None
            self._add("", position, values)

    def _read_pairs(self, position: Position, line: str) -> None:
        """A line that may have two pairs of networks (CycleGAN's A and B)."""
        apart: dict[str, dict[str, float]] = {}
        for match in PAIR.finditer(line):
            name = plain(match["name"])
            of = _PAIR_OF.match(name)
            if of is None:
                continue
            values = apart.setdefault(of[1].upper(), {})
            number = value_of(match["number"])
            stem = name[:-2]
            if stem in ("cycle", "idt"):
                values["g_content"] = values.get("g_content", 0.0) + number
            else:
                column = {"d": "d_loss", "g": "g_adversarial"}.get(stem) or KNOWN.get(stem)
                if column is not None:
                    values[column] = number
        if not apart:
            self._add("", position, self._values(line))
        for suffix, values in apart.items():
            self._add(suffix, position, values)

    def _add(self, suffix: str, position: Position, values: dict[str, float]) -> None:
        if not values:
            return
        if suffix not in self._collectors:
            self._collectors[suffix] = RunCollector(
                self._source,
                self._format_name,
                self._objective,
                suffix,
                d_loss_is_mean=self._format is not None and self._format.d_loss_is_mean,
            )
        collector = self._collectors[suffix]
        collector.format = self._format_name
        if self._may_be_torn and values.keys() < self._latest.get(suffix, set()):
            if TORN not in collector.notes:
                collector.notes.append(TORN)
            return
        self._latest[suffix] = values.keys()
        collector.add(position, values)
