"""The text formats that are known, a row of `formats.toml` each. One scanner reads `name: number`
pairs of any line; a format says which line betrays it, where that stands in the training, and what
its own names mean."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from counterpoise.logs.names import EPOCH_NAMES, STEP_NAMES
from counterpoise.logs.runs import Position
from counterpoise.programs import PROGRAMS, Program
from counterpoise.registry import Registry, read_table

_ROWS = read_table("counterpoise.logs", "formats.toml")
_PARTS = {**_ROWS["parts"], "STEP": "|".join(STEP_NAMES), "EPOCH": "|".join(EPOCH_NAMES)}


def _pattern(text: str, flags: int = 0) -> re.Pattern[str]:
    for name, part in _PARTS.items():
        text = text.replace(f"{{{name}}}", part)
    return re.compile(text, flags)


PATTERNS = {name: _pattern(text, re.IGNORECASE) for name, text in _ROWS["patterns"].items()}
PAIR, SPACED_PAIR, CELL = map(_pattern, _ROWS["pairs"].values())
VERTICAL = PATTERNS["vertical"]
Span = tuple[int, int]  # of a number in a line
PLACES = frozenset(("step", "epoch"))
LONGEST_COUNT = 19  # characters of a count of steps, commas among them


def value_of(text: str) -> float:
    """A number as it is printed. A single comma without a point is that of 0,693, as the last is
    behind points (1.234,56): who groups the digits of a loss prints a point, too. Raises
    `ValueError` for what is no number."""
    if "," not in text:
        return float(text)
    before, _, after = text.rpartition(",")
    is_decimal = "." in before or not ("." in after or "," in before)
    return float(before.replace(".", "").replace(",", "") + "." * is_decimal + after)


def _count_of(text: str) -> int:
    """A count of steps as it is printed: 1,000 or 1k."""
    number = text.replace(",", "").lower()
    return round(1000 * float(number[:-1])) if number.endswith("k") else int(number)


class Place(NamedTuple):
    """Where in a line its position stands: the spans of its numbers."""

    step: Span | None = None
    epoch: Span | None = None
    total: Span | None = None  # of the steps of an epoch
    is_bar: bool = False  # or of a progress bar that does not say whose it is
    first_epoch: int = 1  # what the log calls its first epoch, or the second of those from 0

    def position(self, line: str) -> Position:
        """The position that a line says."""
        at_step, at_epoch, at_total, is_bar, first_epoch = self
        step = at_step and _count_of(line[at_step[0] : at_step[1]])
        epoch = at_epoch and int(line[at_epoch[0] : at_epoch[1]]) + 1 - first_epoch
        total = at_total and _count_of(line[at_total[0] : at_total[1]])
        return Position(step, epoch, None, total) if is_bar else Position(step, epoch, total)


def _span(match: re.Match[str] | None, name: str) -> Span | None:
    """Where a group of a match stands; None where it is not in it, or too long to be a count."""
    found = match.groupdict().get(name) if match is not None else None
    return None if match is None or not found or len(found) > LONGEST_COUNT else match.span(name)


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

    def read(self, line: str) -> tuple[Place, dict[str, Span]] | None:
        """Where a line's position stands, and its numbers without names; None for a line of
        something else."""
        match = self.place.search(line)
        if match is None:
            return None
        spans = {name: _span(match, name) for name in self.place.groupindex}
        step, epoch, total = (spans.pop(name, None) for name in ("step", "epoch", "total"))
        place = Place(step, epoch, total, first_epoch=self.first_epoch)
        if not self.place.groupindex.keys() & PLACES:
            place = generic_place(line)
        return place, {name: span for name, span in spans.items() if span is not None}


def program_of(text: str) -> Program | None:
    """The program that printed a line, or these names; None for any other."""
    return next((program for sign, program in _SIGNS if sign.search(text)), None)


def generic_place(line: str) -> Place:
    """Where a line of an unknown format says its position; nothing at all is allowed."""
    if found := _find("whole_step", line) or _find("epoch_and_step", line):
        return Place(_span(found, "step"), _span(found, "epoch"))
    step, epoch = _find("step", line), _find("epoch", line)
    bar = _find("bar", line) if step is None else None
    if bar and epoch and epoch.start() < bar.start() < epoch.end():
        bar = _find("bar", line, epoch.end())  # "Epoch 0/9 ━━━━ 100/200 0:00:10"
    if bar and not epoch and (first := _find("leading_fraction", line)):
        # "[12/100] ...: 13/13 [00:15<00:00]": a bar for each epoch.
        return Place(_span(bar, "step"), _span(first, "step"), _span(bar, "total"))
    step = step or bar or _find("leading", line)
    step = step or (epoch if epoch and epoch["step"] else None)
    step = step or _find("fraction", line, epoch.end() if epoch else 0)
    is_bar = bar is not None and not epoch
    return Place(_span(step, "step"), _span(epoch, "epoch"), _span(step, "total"), is_bar)


def heading_place(line: str) -> Place:
    """Where a line without numbers of the game says the place of those after it."""
    if _find("past", line):
        return Place()
    both = generic_place(line)
    if both.step and both.epoch:
        return both
    step = _find("whole_step", line) or _find("heading_step", line) or _find("step_and_rate", line)
    epoch = _find("heading_epoch", line)
    return Place(_span(step, "step"), _span(epoch, "epoch"))


def _find(place: str, line: str, start: int = 0) -> re.Match[str] | None:
    return PATTERNS[place].search(line, start)


_FORMATS = (
    LineFormat(**{**row, "place": _pattern(row["place"], re.IGNORECASE)}) for row in _ROWS["format"]
)
FORMATS: Registry[LineFormat] = Registry("log format", *((row.name, row) for row in _FORMATS))
_SIGNS = [(_pattern(program.sign), program) for program in PROGRAMS.values()]
