"""Log lines of programs: found between anything else that a terminal shows."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import lru_cache, partial

from counterpoise.logs import formats, names
from counterpoise.logs.columns import number_of
from counterpoise.logs.formats import PAIR, PATTERNS, Place, value_of
from counterpoise.logs.lines import ACCURACY, Number, alone, of_quality, states
from counterpoise.logs.runs import FIRST_OF_LIST, NOWHERE, FormatReader, Position, RunCollector
from counterpoise.programs import UNKNOWN_PROGRAM, Program
from counterpoise.trace import LEAST_RATE

GENERIC = formats.LineFormat("name: value lines", "", re.compile("(?!)"), 1)  # no line betrays it
# Names whose columns are kept: a log in which they never end must not fill the memory.
NAMES_KEPT = 4096
# In how many lines a format and a program show themselves, where one with numbers tells as much as
# many without.
LINES_TELL, LINES_WITHOUT_NUMBERS = 5000, 25
PLANS_KEPT = 2048
_DIGITS = bytes.maketrans(b"123456789", b"0" * 9)
VALIDATION_WITHIN = 160  # characters of a line
# Behind a number, a second one that has no name.
_NEXT_OF_LIST = re.compile(r",\s*[-+]?\d++(?:\.\d++)?(?![\w./:]|\s*[:=])")
_EVALUATION, _TRAINING = "EVALUATION", "TRAINING"  # headings of coqui's
# The name before an object, or the end of one.
_BRACE = re.compile(r"(?:(?P<name>[A-Za-z_]\w*)['\"]?\s*[:=]\s*)?\{|\}")
# A line of nothing but numbers, the first NaN of them.
_NAMELESS = re.compile(r"(?=.*?\b(nan)\b)(?:[^a-z]|\b(?:nan|tensor|none)\b)*+", re.IGNORECASE)
_KIND = re.compile(r"(?<=\w) \([\w-]*[a-z]-?(?:net|gan)\)", re.IGNORECASE)  # "G (U-Net) loss"
# "G_loss (content/adversarial)" and such numbers.
_TERMS = re.compile(r"(.+?) ?\(([^()/]+(?:/[^()/]+)+)\)")
_BETWEEN_SLASHES = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
_SLASHED = re.compile(f"{_BETWEEN_SLASHES.pattern}(?: ?/ ?{_BETWEEN_SLASHES.pattern})+")
NAMELESS = "a number without a name"  # on a side of its own, as SUMMARY
# What losses are of that follow: "[D - real: 0.1, fake: 0.2]", "[D] loss: 0.1", "discriminator -
# loss: 0.1", "discriminator losses: real - 0.1", "D: real 0.1 fake 0.2", "Loss_G: 9 (L1: 8)".
_SECTION = re.compile(
    r"\[([DG])(?: -|\]) (?=\w+: )|\b(discriminator|generator) - (?=loss: )|"
    r"\b([DG]\w*|critic) loss(?:es)?: (?=[a-z])|\b(D\w*|critic): (?=real )|"
    r"\bLoss_?(G): [\d.]+\s+\((?=\w+: )|(?<=\d)\)",
    re.IGNORECASE,
)
HALVES, _HALF = ("real", "fake"), re.compile("real|fake")
SUMMARY = "means of epochs"  # a side of its own, for logs that have nothing else
TORN = "the last line is torn: left out"
# What networks side by side have, each its own.
_ON_SIDES = frozenset(("d_loss", "d_loss_real", "d_loss_fake", "g_loss", "g_adversarial"))


@dataclass(slots=True)
class _OpenRow:
    """What the lines of one step say so far."""

    own: Position  # as its first line says it
    position: Position
    values: dict[str, float]
    torn: bool


@dataclass(slots=True)
class _Plan:
    """How a line is read, and any that is the same but for its digits: most of a log's lines are
    like earlier ones, and are read by their plans alone."""

    place: Place
    numbers: Sequence[Number] = ()
    names: Sequence[tuple[int, int, str]] = ()  # with digits in them, which must be the same
    # By side: columns and spans of numbers that are taken as they are printed, and other numbers.
    sides: dict[str, tuple[list[tuple[str, int, int]], list[Number]]] = field(default_factory=dict)
    is_of_quality: bool = False  # whether there are numbers, and all measure images

    def __post_init__(self) -> None:
        self.is_of_quality = 0 < len(self.numbers) == len(of_quality(self.numbers))
        for number in self.numbers:
            as_printed, others = self.sides.setdefault(number.side, ([], []))
            if number.column in names.PUT_OTHERWISE or number.column in names.RATES:
                others.append(number)
            else:
                as_printed.append((number.column, number.start, number.end))

    def fits(self, line: str) -> bool:
        """Whether the names with digits are those of this line, too."""
        return all(line[start:end] == name for start, end, name in self.names)


class TextReader(FormatReader):
    """Reads lines of any of `FORMATS`: the first that a line betrays is the file's. Before that,
    and where none does, lines are read as `name: value` pairs of any program."""

    def __init__(self, mapping: Mapping[str, str]) -> None:
        super().__init__(mapping)
        self._format = GENERIC
        self._program: Program = UNKNOWN_PROGRAM
        self._collectors: dict[str, RunCollector] = {}
        self._looked = 0  # lines that were looked at for a format and a program
        self._heading = NOWHERE  # as a line before has said it
        self._open: _OpenRow | None = None  # its step may have further lines
        self._own: dict[str, str] = {}  # what names of the format and the program mean
        self._name = lru_cache(NAMES_KEPT)(self._column_and_side)
        # By what the first losses were read: if by PAIR, numbers after a space are prose.
        self._losses_by: re.Pattern[str] | None = None
        self._may_be_torn = self._evaluating = self._of_lists = False
        self._latest: dict[str, Set[str]] = {}  # the columns of the latest line
        self._played: set[str] = set()  # sides whose losses were other than 0
        self._from_0: set[str] = set()  # names that are counted from 0: parts, not sides
        self._header: list[str] = []  # of a table with a row for each network
        self._plans: dict[bytes, _Plan] = {}  # by the line with a 0 for every digit
        self._seen: list[tuple[int, int, str]] = []  # names with digits in the line

    def feed(self, lines: Iterable[str]) -> None:
        for raw in lines:
            # Only the last line can be without an end: it may be torn.
            self._may_be_torn = not raw.endswith(("\n", "\r"))
            for line in states(raw):
                self._read_line(line)

    def _close(self) -> None:
        """What may be a part of a step's lines is the whole."""
        row, self._open = self._open, None
        if row is None:
            return
        if not row.values.keys() <= names.BESIDE:
            self._add(row.position, {"": row.values}, torn=row.torn)
        elif quality := {name: row.values[name] for name in row.values.keys() & names.QUALITY}:
            self._evaluated(quality)

    def _evaluated(self, values: Mapping[str, float]) -> None:
        """What a line says of images alone: it belongs to the losses above it."""
        if self._open is not None:
            self._open.values = {**values, **self._open.values}
            return
        for collector in self._collectors.values():
            collector.add_to_latest(values)

    def collectors(self) -> list[RunCollector]:
        self._close()
        for side in (SUMMARY, NAMELESS):
            if len(self._collectors) > 1:
                self._collectors.pop(side, None)
        games = {k: game for k, game in self._collectors.items() if k in self._played}
        games = games or self._collectors
        idle = ", ".join(sorted(self._collectors.keys() - games.keys()))
        for collector in games.values():
            if idle:
                collector.note(f"left out, for all its losses are 0: {idle}")
            if self._of_lists:
                collector.note(FIRST_OF_LIST)
            collector.program = self._program.name
        return list(games.values())

    def _read_line(self, line: str) -> None:
        # What these lines say is not only where their numbers stand.
        odd = self._evaluating or _EVALUATION in line
        if odd and self._format is GENERIC and self._is_of_validation(line):
            return
        likeness = line.encode(errors="surrogatepass").translate(_DIGITS)
        plan = self._plans.get(likeness)
        if plan is None or (plan.names and not plan.fits(line)):
            if self._looked < LINES_TELL:
                self._looked += 1
                self._recognise(line)
            plan = self._plan(line)
            if len(self._plans) >= PLANS_KEPT:
                self._plans.clear()
            self._plans[likeness] = plan
        self._looked += LINES_WITHOUT_NUMBERS if plan.numbers else 0
        sides: dict[str, dict[str, float]] = {}
        for side, (as_printed, others) in plan.sides.items():
            sides[side] = values = {}
            for column, start, end in as_printed:
                text = line[start:end]
                values[column] = value_of(text) if "," in text else float(text)
            for _, column, _, start, end, in_percent in others:
                text = line[start:end]
                number = value_of(text) if "," in text else float(text)
                if not number and column in names.RATES and "e" in text.lower():
                    number = LEAST_RATE  # no rounding: a small rate has an exponent, too
                names.put_value(values, column, number, in_percent=in_percent)
        if plan.is_of_quality:
            for values in sides.values():
                self._evaluated(values)
            sides = {}
        own = plan.place.position(line)
        if self._format is GENERIC:
            self._read_generic(own, sides)
        else:
            self._add(own, sides, torn=self._may_be_torn)

    def _recognise(self, line: str) -> None:
        """See whether a line tells the program, and the format."""
        if self._program is UNKNOWN_PROGRAM and (program := formats.program_of(line)) is not None:
            self._program, self.advice = program, program.advice
            self._forget()
        for known in formats.FORMATS.values() if self._format is GENERIC else ():
            if known.read(line) is None:
                continue
            self._format = known
            self._forget()
            if not {number.column for number in self._plan(line).numbers} <= names.BESIDE:
                # What stood before was no part of the log (a printed configuration).
                self._open = None
                self._collectors.clear()
                return
            self._format = GENERIC
            self._forget()

    def _forget(self) -> None:
        """Forget what names mean: the format or the program has become known."""
        self._own = {**self._format.names, **self._program.names}
        self._name.cache_clear()
        self._plans.clear()

    def _is_of_validation(self, line: str) -> bool:
        if self._evaluating and _TRAINING in line:
            self._evaluating = False
        begin = line[:VALIDATION_WITHIN].lower()
        if ("val" in begin or "summary" in begin) and PATTERNS["validation"].match(begin):
            self._evaluating |= _EVALUATION in line
            return True
        return self._evaluating

    def _read_generic(self, own: Position, sides: dict[str, dict[str, float]]) -> None:
        """Read a line of an unknown format; those of one step become one row."""
        values = sides.get("", {})
        if (not sides or values.keys() <= names.BESIDE) and own != NOWHERE:
            # It says the place of the lines after it.
            self._close()
            is_step = own.epoch is None
            self._heading = self._heading._replace(step=own.step) if is_step else own
        if not values:
            if sides:
                self._close()
            self._add(self._placed(own), sides, torn=self._may_be_torn)
            return
        row = self._open
        if row is not None:
            if own in (row.own, NOWHERE) and row.values.keys() & values.keys() <= {names.G_CONTENT}:
                for column, value in values.items():
                    names.put_value(row.values, column, value)
                row.torn |= self._may_be_torn
                return
            self._close()
        self._open = _OpenRow(own, self._placed(own), values, self._may_be_torn)
        if self._heading.step is not None:
            self._heading = self._heading._replace(step=None)  # it is that of one row

    def _placed(self, own: Position) -> Position:
        """The position of a line, with what headings said before it."""
        if self._heading == NOWHERE:
            return own
        step = self._heading.step if own.step is None else own.step
        epoch = self._heading.epoch if own.epoch is None else own.epoch
        length = own.epoch_steps or (self._heading.epoch_steps if own.step is None else None)
        if epoch is None:
            return own._replace(step=step)
        return Position(step, epoch, length or (own.bar_steps if own.epoch is None else None))

    def _plan(self, line: str) -> _Plan:
        """How to read a line. Where there is nothing but terms of G in a known format, nothing."""
        self._seen = []
        if self._format is not GENERIC:
            place, spans = self._format.read(line) or (Place(), None)
            if spans is None:
                return _Plan(place, of_quality(self._numbers(line)), self._seen)
            numbers = [Number("", column, "", *span) for column, span in spans.items()]
            numbers = alone(numbers or list(self._numbers(line)), self._mapping)
            is_game = not {number.column for number in numbers} <= names.BESIDE
            return _Plan(place, numbers if is_game else of_quality(numbers), self._seen)
        if self._is_of_validation(line):
            numbers = list(self._numbers(line))
            if PATTERNS["summary"].search(line) and of_quality(numbers) != numbers:
                of_epoch = [number._replace(side=SUMMARY) for number in numbers]
                return _Plan(formats.generic_place(line), of_epoch, self._seen)
            return _Plan(Place(), of_quality(numbers), self._seen)
        if PATTERNS["weights"].match(line):
            return _Plan(Place())
        # What is remarked leaves its room, so that the numbers stand where they did.
        told = PATTERNS["remark"].sub(lambda match: " " * len(match[0]), line)
        numbers = alone(self._numbers_of_any(told), self._mapping)
        if not numbers and self._losses_by is None and (broken := _NAMELESS.fullmatch(told)):
            column = NAMELESS.replace("number", "loss") if "grad_fn" in line else NAMELESS
            numbers = [Number("", column, NAMELESS, *broken.span(1))]
        is_heading = {number.column for number in numbers} <= names.BESIDE
        place = (formats.heading_place if is_heading else formats.generic_place)(line)
        return _Plan(place, numbers, self._seen)

    def _numbers_of_any(self, line: str) -> list[Number]:
        """The known numbers of a line of an unknown format, however they stand behind names."""
        numbers, pattern = list(self._numbers(line)), PAIR
        if {n.column for n in numbers} <= names.RATES and self._losses_by is not PAIR:
            rates = numbers
            pattern = formats.CELL
            numbers = list(self._numbers(line, formats.CELL)) or list(self._of_a_network(line))
            if not numbers:
                # Accuracies and single letters, but for both D and G, stand before any number.
                found, pattern = self._numbers(line, formats.SPACED_PAIR), formats.SPACED_PAIR
                numbers = [n for n in found if not n.column.startswith(ACCURACY)]
                if not {"d", "g"} <= {n.name[0].lower() for n in numbers}:
                    numbers = [n for n in numbers if len(n.name) > 1]
            numbers += rates
        of = {n.column[0] for n in numbers if n.column in _ON_SIDES}
        if pattern is PAIR and len(of) == 1:  # "Loss_D: 0.61 Loss_G 1.7"
            spaced = self._numbers(line, formats.SPACED_PAIR)
            others = [n for n in spaced if n.column in _ON_SIDES and n.column[0] not in of]
            numbers += [n for n in others if "." in line[n.start : n.end] and len(n.name) > 1]
        if self._losses_by is not PAIR and of:
            if pattern is PAIR and self._losses_by and not self._collectors:
                self._open = None  # a table that was printed before
            by = pattern if pattern is PAIR else self._losses_by or pattern
            if by is not self._losses_by:
                self._losses_by = by
                self._plans.clear()
        return numbers

    def _numbers(self, line: str, pattern: re.Pattern[str] = PAIR) -> Iterator[Number]:
        """Each known number of a line."""
        before, is_of_another = "", False
        objects = self._objects(line)
        for match in pattern.finditer(line):
            name = match["name"]
            if any(map(str.isdigit, name)):
                self._seen.append((*match.span("name"), name))
            of = next(of for start, of in reversed(objects) if start <= match.start())
            known = self._name(f"{of}/{name}") if of else None
            if known is None and (not of or names.likeness(f"{of} loss").is_of_game):
                known = self._name(name)
            if "/" in name and (values := _SLASHED.match(line, match.start("number"))):
                numbers = _BETWEEN_SLASHES.finditer(line, *values.span())
                each = zip(_parts(name), numbers, strict=False)
                found = [(part, self._name(part), at.span()) for part, at in each]
                parts = [Number(part, *of, *span) for part, of, span in found if of is not None]
                if len({part.column for part in parts}) > 1:
                    yield from parts
                    continue
            if known is None and name in HALVES:  # "D real 0.6 fake 0.5"
                name = _HALF.sub(name, before)
                known = self._name(name)
            if names.plain(name) in names.AMBIGUOUS and is_of_another:
                known = None  # the accuracy of what has the loss before it
            before = name
            is_of_another = known is None and names.likeness(name).is_loss
            if known is None:
                if match["number"][-1] in "fnyFNY" and names.likeness(name).is_loss:
                    yield Number(name, names.plain(name), "", *match.span("number"))
                continue
            more = match.groupdict()
            is_list = _NEXT_OF_LIST.match(line, match.end("number")) is not None
            self._of_lists |= is_list and known[0] not in names.RATES
            percent = more.get("percent") is not None
            yield Number(name, *known, *match.span("number"), percent)
            if known[0] == "d_fake_before" and more.get("second") is not None:
                yield Number(name, "d_fake_after", known[1], *match.span("second"))

    def _objects(self, line: str) -> list[tuple[int, str]]:
        """Where objects begin and end in a line, and the names of those that are open from there
        on: "D" behind "{'D': {"."""
        found = _SECTION.finditer(line)
        sections = [(m.end(), f"{m[m.lastindex]} loss" if m.lastindex else "") for m in found]
        opened: list[str] = []
        places = [(0, ""), *sections]
        for brace in _BRACE.finditer(line) if "{" in line else ():
            if brace[0] == "}":
                opened = opened[:-1]
            else:
                opened.append(brace["name"] or "")
                self._seen.append((*brace.span("name"), opened[-1]))
            places.append((brace.end(), "/".join(filter(None, opened))))
        return sorted(places)

    def _of_a_network(self, line: str) -> Iterator[Number]:
        """The numbers of a table's row that is named by a network: "generator (train) | 0.7"."""
        first, *cells = (
            cell.strip() for cell in formats.VERTICAL.split(line.strip(" |\u2502\u2503"))
        )
        if not cells:
            return
        if not any(map(str.isdigit, line)):
            self._header = cells
            self._plans.clear()
        elif len(cells) == len(self._header) and names.names_network(first):
            end = 0
            for head, cell in zip(self._header, cells, strict=True):
                start = line.index(cell, end)
                end = start + len(cell)
                if number_of(cell) is not None and (known := self._name(f"{first} {head}")):
                    yield Number(f"{first} {head}", *known, start, end)

    def _column_and_side(self, name: str) -> tuple[str, str] | None:
        """Column and side ("A" of two pairs) of a printed name; None for another number."""
        if ends := PATTERNS["of_network"].fullmatch(name):
            name = f"loss_{ends[2]}{ends[1] or ''}"
        elif ends := PATTERNS["of_game"].fullmatch(name):
            name = f"{ends[1]}_loss_{ends[3]}_{ends[2]}"
        known, side = names.plain(_KIND.sub("", name)), ""
        look_up = partial(names.column_of, mapping=self._mapping, own=self._own)
        column, of = look_up(known), PATTERNS["side_by_side"].match(known)
        if known.endswith("0"):
            self._from_0.add(known.rstrip("_0"))
        if of and of[3] in self._from_0:
            of = None
        in_pairs = self._format.has_pairs
        if of and (of[2] if in_pairs else column is None and self._format is GENERIC):
            column, side = column or look_up(of[1] or of[3]), (of[2] or of[4]).upper()
            if not in_pairs and column not in _ON_SIDES:
                column = None
        if column is None:
            self.note_unknown(name)
            return None
        return column, side

    def _add(self, position: Position, sides: dict[str, dict[str, float]], *, torn: bool) -> None:
        """Add a line, which may be torn, to the game of each of its sides."""
        for side, values in sides.items():
            if side not in self._collectors:
                self._collectors[side] = RunCollector(
                    self._format.name,
                    suffix=side,
                    d_loss_is_mean=self._format.d_loss_is_mean,
                    first_epoch=self._format.first_epoch,
                    notes=[self._format.note] if self._format.note else [],
                )
            collector = self._collectors[side]
            if side not in self._played and any(values[n] for n in values.keys() - names.BESIDE):
                self._played.add(side)
            if torn and values.keys() < self._latest.get(side, set()):
                collector.note(TORN)
                continue
            self._latest[side] = values.keys()
            collector.add(position, values)


def _parts(name: str) -> list[str]:
    """The names that one with slashes stands for: "Gen loss" and "Dis loss" of "Gen/Dis loss"."""
    if terms := _TERMS.fullmatch(name):
        return [f"{terms[1]} {term}" for term in terms[2].split("/")]
    first, _, second = name.partition("/")
    _, blank, of = second.partition(" ")
    return [f"{first} {of}" if blank and " " not in first else first, second]
