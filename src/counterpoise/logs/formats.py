"""The text formats and the programs that are known, a row of `formats.toml` each. One scanner reads
`name: number` pairs of any line; a format says which line betrays it, where that stands in the
training, and what its own names mean."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from counterpoise.logs.names import EPOCH_NAMES, STEP_NAMES
from counterpoise.logs.runs import Position
from counterpoise.registry import Registry

# Digits are never given back (`++`): a long line must cost no more than its length.
NUMBER = r"[-+]?(?:(?:\d++(?:,\d++)*+(?:\.\d*+)?+|\.\d++)(?:[eE][-+]?\d++)?+|nan|inf(?:inity)?)"
STEP_DIGITS = 15  # longer numbers count no steps
_COUNT = r"\d[\d,]*+"
_SIMPLE_NUMBER = r"[-+]?(?:\d[\w.+-]*|nan|inf)"  # in the patterns of formats.toml
# Letters of the scripts in use; a class of this kind is matched sooner than `[^\W\d]`.
_LETTERS = r"A-Za-z_\u00c0-\u1fff\u3040-\ud7ff"
# A name begins where its letters do and has at most twelve words, for the same reason.
_NAME = (
    rf"(?<![{_LETTERS}])(?P<name>[{_LETTERS}][\w()]*+"
    rf"(?:[ /.-][{_LETTERS}(][\w()]*+){{0,11}}+)"
)
# Before a space "nan" is no word of a name, but the number.
_SPACED_NAME = _NAME.replace("[ /.-]", r"[ /.-](?!(?:nan|inf(?:inity)?)\b)")
# How libraries print a number of theirs: tensor(0.7, device="cuda:0"), np.float64(0.7), [0.7].
_WRAPPED = r"(?:(?:tensor|(?:device)?array|(?:tf|np|numpy|jnp)\.\w++)\()?+[\[(]{0,3}+"
# name : number, with a second number after a slash (D(G(z)): before / after), maybe in per cent.
PAIR = re.compile(
    rf"{_NAME}\.?['\"]?\s*+[:=\uff1a]\s*+{_WRAPPED}"
    rf"(?P<number>{NUMBER})(?!\w|:\d)(?:\s*/\s*(?P<second>{NUMBER}))?\s*(?P<percent>%)?",
    re.IGNORECASE,
)
VERTICAL = re.compile("[|\u2502\u2503\u2551]")  # what is drawn between the cells of a table
# | name | number |: a row of a table with a number to a line.
CELL = re.compile(
    rf"{VERTICAL.pattern}\s*+(?P<name>[{_LETTERS}][\w()/ .-]*+)\s*{VERTICAL.pattern}\s*+"
    rf"(?P<number>{NUMBER})(?P<second>(?!))?(?P<percent>(?!))?\s*+(?={VERTICAL.pattern})",
    re.IGNORECASE,
)
# name number: of lines without any pair of the former kind that is known.
SPACED_PAIR = re.compile(
    rf"{_SPACED_NAME}\s++\(?(?P<number>{NUMBER})(?![\w:])(?P<second>(?!))?(?P<percent>(?!))?",
    re.IGNORECASE,
)


def value_of(text: str) -> float:
    """A number as it is printed. A single comma without a point is that of 0,693: who groups the
    digits of a loss prints a point, too. Raises `ValueError` for what is no number."""
    if "," in text:
        grouped = "." in text or text.count(",") > 1
        text = text.replace(",", "" if grouped else ".")
    return float(text)


def whole(text: str | None) -> int | None:
    """A printed whole number, commas between its digits or not; None for what is none."""
    digits = "" if text is None else text.replace(",", "")
    return int(digits) if digits.isdecimal() and len(digits) <= STEP_DIGITS else None


@dataclass(frozen=True)
class LineFormat:
    """One log format of text lines."""

    name: str
    title: str  # a line of it
    # Betrays a line of the format and says where it stands, by groups `epoch`, `step` and `total`;
    # further groups are columns whose numbers have no names.
    place: re.Pattern[str]
    first_epoch: int = 0  # what the log calls its first epoch
    # Plain names that mean something else here than elsewhere, or nothing ("").
    names: Mapping[str, str] = field(default_factory=dict)
    # Whether names may end with the pair of networks that they are of ("_A").
    has_pairs: bool = False
    d_loss_is_mean: bool = False  # whether its loss of D is the mean of the two halves
    note: str = ""  # what a person must know about the reading

    def read(self, line: str) -> tuple[Position, dict[str, float]] | None:
        """The position of a line, and its numbers without names; None for a line of something
        else."""
        match = self.place.search(line)
        if match is None:
            return None
        groups = match.groupdict()
        epoch, step, total = (whole(groups.pop(name, None)) for name in ("epoch", "step", "total"))
        place = Position(step, None if epoch is None else epoch + 1 - self.first_epoch, total)
        if not groups:
            return place, {}
        try:
            values = {name: value_of(text) for name, text in groups.items() if text is not None}
        except ValueError:
            return None
        return (generic_position(line) if place == Position() else place), values


@dataclass(frozen=True)
class Program:
    """A program that is known by what it prints."""

    name: str
    sign: re.Pattern[str]  # in a line of it, or in the names of a table side by side
    # Plain names that mean something else here than elsewhere, or nothing ("").
    names: Mapping[str, str] = field(default_factory=dict)
    advice: str = ""  # where to look, if the log has no losses


def program_of(text: str) -> Program | None:
    """The program that printed a line, or these names; None for any other."""
    return next((program for program in PROGRAMS if program.sign.search(text)), None)


# A name that stands for all of the training; one that a step is counted by; an epoch, maybe with
# its number of them and a bare number of a step behind.
_GLOBAL_STEP = re.compile(rf"\bglobal_step\W{{1,12}}(?P<step>{_COUNT})(?P<total>(?!))?", re.I)
_GENERIC_STEP = re.compile(
    rf"\b(?:{'|'.join(STEP_NAMES)})\b\W{{0,12}}(?P<step>{_COUNT})(?!\s*%)"
    r"(?:\s*/\s*(?P<total>\d+))?",
    re.I,
)
_GENERIC_EPOCH = re.compile(
    rf"\b(?:{'|'.join(EPOCH_NAMES)})\b\W{{0,12}}(?P<epoch>\d+)(?:\s*(?:/|of)\s*\d+\W?)?"
    r"(?:\s+(?P<step>\d+)(?P<total>(?!))?(?=\s+[a-z]))?",
    re.I,
)
# A number that a line begins with ("0 [D loss: ...", "0: ...").
_LEADING = re.compile(r"^\s*(?P<step>\d+)(?:\s+\[|:\s)(?P<total>(?!))?")
_BAR = re.compile(r"(?:^|\s)(?P<step>\d+)/(?P<total>\d+)\s*(?:\[|\u2501|-|\||(?<=\s)\d+:\d\d)")
_FRACTION = re.compile(r"\[\s*(?P<step>\d+)\s*/\s*(?P<total>\d+)(?:\s*\([^)\]]*\))?\s*\]")
# In a line of its own, with nothing behind but dates and times: "Epoch 1/5", "--- Epoch 3 ---".
_HEADING_EPOCH = re.compile(
    r"\bepoch(?:_train)?\b\W{0,12}(?P<epoch>\d+)(?:\s*(?:/|of)\s*\d+)?[^A-Za-z]*$", re.I
)
_HEADING_STEP = re.compile(
    rf"\b(?:global_step|step(?!.*global_step)|iter(?:ation)?)\b\W{{0,12}}(?P<step>{_COUNT})(?!\s*%)",
    re.I,
)
# Lines that name a step or an epoch that was, or is to come.
_PAST = re.compile(
    r"sav(?:e|ing)|load|resum|restor|checkpoint|best.*epoch|\b(?:total|num|number|max)\s", re.I
)
# A step and a learning rate in a line of their own.
_STEP_AND_RATE = re.compile(r"\[(?P<step>\d+), \d[\d.e-]*\]\s*$")


def generic_position(line: str) -> Position:
    """What a line of an unknown format says of its place; nothing at all is allowed."""
    if ("lobal" in line or "LOBAL" in line) and (found := _GLOBAL_STEP.search(line)):
        return Position(whole(found["step"]))
    step, epoch = _GENERIC_STEP.search(line), _GENERIC_EPOCH.search(line)
    bar = _BAR.search(line) if step is None else None
    if bar and epoch and epoch.start() < bar.start() < epoch.end():
        bar = _BAR.search(line, epoch.end())  # "Epoch 0/9 ━━━━ 100/200 0:00:10"
    if step is None and epoch is None and bar and (first := _FRACTION.match(line.lstrip())):
        # "[12/100] ...: 13/13 [00:15<00:00]": a bar for each epoch.
        return Position(whole(bar["step"]), whole(first["step"]), whole(bar["total"]))
    step = step or bar or _LEADING.search(line)
    step = step or (epoch if epoch and epoch["step"] else None)
    step = step or _FRACTION.search(line, epoch.end() if epoch else 0)
    total = whole(step["total"]) if step else None
    return Position(
        step=whole(step["step"]) if step else None,
        epoch=whole(epoch["epoch"]) if epoch else None,
        epoch_steps=None if bar and not epoch else total,
        bar_steps=total if bar and not epoch else None,
    )


def heading_position(line: str) -> Position:
    """What a line without numbers of the game says of the place of those after it."""
    if _PAST.search(line):
        return Position()
    step, epoch = _HEADING_STEP.search(line), _HEADING_EPOCH.search(line)
    if step is None and line.endswith("]"):
        step = _STEP_AND_RATE.search(line)
    if step is None and epoch is None:
        both = generic_position(line)
        return both if both.step is not None and both.epoch is not None else Position()
    return Position(whole(step["step"]) if step else None, whole(epoch["epoch"]) if epoch else None)


def _pattern(text: str, flags: int = 0) -> re.Pattern[str]:
    return re.compile(text.replace("{N}", _SIMPLE_NUMBER), flags)


_ROWS = tomllib.loads(Path(__file__).with_name("formats.toml").read_text(encoding="utf-8"))
_FORMATS = (
    LineFormat(**{**row, "place": _pattern(row["place"], re.IGNORECASE)}) for row in _ROWS["format"]
)
FORMATS: Registry[LineFormat] = Registry("log format", *((row.name, row) for row in _FORMATS))
PROGRAMS = [Program(**{**row, "sign": _pattern(row["sign"])}) for row in _ROWS["program"]]
