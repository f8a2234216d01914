"""A log's line: what it showed, and which of its known numbers count."""

import re
from collections.abc import Container, Iterable
from typing import NamedTuple

from counterpoise.logs import names

LINE_CHARACTERS = 4000  # what is read of a line
ACCURACY = "d_accuracy"
# Colours, and titles of windows, which end with BEL or ESC and a backslash.
_ANSI = re.compile(r"\x1b(?:\[[0-?]*+[ -/]*+[@-~]|\][^\x07\x1b]*+(?:\x07|\x1b\\)|[@-Z\\-_])")
# Marks as wide as a letter of Chinese or Japanese, and what they are elsewhere.
_FULL_WIDTH = {"\uff0c": ", ", "\uff1a": ":", "\uff1d": "=", "\uff08": "(", "\uff09": ")"}
# Beside its gradient penalty, these are a critic's scores, whatever they are elsewhere.
_OF_CRITIC = re.compile(r"(?:.*_)?(?:gp|grad(?:ient)?_penalty)(?:_loss)?")
_SCORES = {"D_real": "real_logit_mean", "D_fake": "fake_logit_mean"}


def states(line: str) -> list[str]:
    """What a line showed: without colours and full-width marks, each state of a progress bar by
    itself, cut where it has no end."""
    if not line.isascii():
        for mark, narrow in _FULL_WIDTH.items():
            line = line.replace(mark, narrow)
    if "\x1b" in line:
        line = _ANSI.sub("", line)
    line = line.rstrip("\r\n")
    parts = line.split("\r") if "\r" in line else (line,)
    return [part[:LINE_CHARACTERS] for part in parts if part and not part.isspace()]


class Number(NamedTuple):
    """A known number in a line."""

    name: str
    column: str
    side: str  # of two pairs of networks, "" where there is one
    start: int  # where it stands in the line
    end: int
    in_percent: bool = False


def of_quality(numbers: Iterable[Number]) -> list[Number]:
    """Those that measure images."""
    return [number for number in numbers if number.column in names.QUALITY]


def alone(numbers: list[Number], known: Container[str] = ()) -> list[Number]:
    """Numbers of a line without those that others of it stand for; `known` are names that say their
    column more surely than any other."""
    if any(_OF_CRITIC.fullmatch(names.plain(number.name)) for number in numbers):
        numbers = [n._replace(column=_SCORES.get(n.name, n.column)) for n in numbers]
    # Of several names of one column the last is read; a weight is of the loss before it.
    numbers = sorted(numbers, key=lambda n: (n.column == "d_weight", names.sureness(n.name, known)))
    columns = {number.column for number in numbers}
    if columns == {ACCURACY} and all(
        names.plain(number.name) in names.AMBIGUOUS for number in numbers
    ):
        return []  # alone on its line it is a classifier's as likely as D's
    single = [number for number in numbers if not names.MEAN.search(number.name)]
    steps = {(number.column, number.side) for number in single}
    numbers = [n for n in numbers if n in single or (n.column, n.side) not in steps]
    common = [number for number in numbers if not number.side]
    if columns <= {number.column for number in common}:
        return common  # beside their total, those of the parts are left out
    sides = dict.fromkeys(number.side for number in numbers if number.side)
    shared = [number._replace(side=side) for side in sides for number in common]
    return shared + [number for number in numbers if number.side]
