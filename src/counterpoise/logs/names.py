"""What people call the numbers of a GAN training, and what they are here.

A name is compared in lower case with everything but letters (of any script) and digits as one
underscore, so `Loss_D`, `loss D` and `loss/d` are the same. What a name means may depend on the log
format (`D_real` is a loss in one and an output in another): those are said with the format.
"""

import itertools
import math
import re
from collections.abc import Container, Mapping
from typing import NamedTuple

from counterpoise.errors import UserError
from counterpoise.registry import read_table
from counterpoise.trace import COLUMNS

_NAMES = read_table("counterpoise.logs", "names.toml")
STEP_NAMES, EPOCH_NAMES = tuple(_NAMES["steps"]), tuple(_NAMES["epochs"])
# Recognised in any format; values are columns of a trace.
SPELLINGS: dict[str, list[str]] = _NAMES["spellings"]
KNOWN: dict[str, str] = {name: name for name in COLUMNS} | {
    spelling: column for column, spellings in SPELLINGS.items() for spelling in spellings
}
_OF_WORDS: dict[str, str] = _NAMES["of_words"]
AMBIGUOUS = frozenset(_NAMES["ambiguous"])
_OF_UNKNOWN = {kind: frozenset(words.split()) for kind, words in _NAMES["of_unknown"].items()}
_OF_ANOTHER = _OF_UNKNOWN["another"] | _OF_UNKNOWN["validation"]
_OF_GAME = frozenset(("D", "G", "adversarial", "loss"))
_OF_NO_LOSS = frozenset(("accuracy", *_OF_UNKNOWN))
_LIKELY = [(set(kinds.split()), column) for kinds, column in _NAMES["likely"].items()]
_WORDS = {word: what for what, words in _NAMES["words"].items() for word in words.split()}
_OF_MEASURED = frozenset(_NAMES["of_measured"].split())
QUALITY = frozenset(name for name in SPELLINGS if name.startswith("held_out_"))
CONTENT = re.compile(_NAMES["content"], re.VERBOSE)
G_CONTENT = "g_content"  # the column that is a sum of what is printed
RATES = frozenset(("g_learning_rate", "d_learning_rate"))
# What a line may say beside a game's losses, and a heading above them.
BESIDE = RATES | QUALITY | {G_CONTENT}
_OUTPUT = re.compile(r"[DP]\w*\(", re.IGNORECASE)  # "D(x)", "p(real)"
LARGEST_SHARE = 1.5  # whoever prints D's accuracy above this prints per cent
# Columns whose numbers are not but put there: see `put_value`.
PUT_OTHERWISE = {
    G_CONTENT,
    "d_weight",
    *QUALITY,
    *(name for name in COLUMNS if name.startswith("d_accuracy")),
}
# How Lightning logged a number, or of what it is the mean; where a tracker has it.
_AROUND = re.compile(r"^(?:train(?:ing)?_)+|_(?:step|epoch|avg)$")
MEAN = re.compile("_(?:epoch|avg)$|^(?:mean|avg)_")  # of a number that may stand beside it
_NOT_PLAIN = re.compile(r"[\W_]+")
# Words that are written without spaces between them: of Chinese and Japanese; the longest first.
_JOINED = sorted((word for word in _WORDS if word[0] >= "\u3040"), key=len, reverse=True)
_EACH_JOINED = re.compile("|".join(_JOINED))
_ALL_JOINED = re.compile(f"(?:{_EACH_JOINED.pattern})++")


def plain(name: str) -> str:
    """A name as it is compared: `D(G(z))` is `d_g_z`."""
    return _NOT_PLAIN.sub("_", name.lower().replace("+", "_plus_")).strip("_")


def checked_mapping(mapping: Mapping[str, str] | None) -> dict[str, str]:
    """Columns (or `step`) by a user's names, as `plain`; a column may be said by any name that it
    is known by. `UserError` for an unknown one."""
    checked = {}
    for theirs, ours in (mapping or {}).items():
        column = ours if ours in COLUMNS or ours == "step" else KNOWN.get(plain(ours))
        if column is None:
            known = ", ".join(("step", *list(COLUMNS)[:12]))
            raise UserError(f"--map {theirs}={ours}: no column '{ours}'; there are {known}, ...")
        checked[plain(theirs)] = column
    return checked


def column_of(
    name: str, mapping: Mapping[str, str], own: Mapping[str, str] | None = None
) -> str | None:
    """The column that a plain name is, by the mapping, the names of its program (`own`), and
    anybody's; None for another number."""
    each = name, bare_name(name)
    for known in (mapping, own or {}):
        if found := [known[one] for one in each if one in known]:
            return found[0] or None
    for one in each:
        if (column := _anybodys(one, mapping)) is not None:
            return column
        if CONTENT.fullmatch(one):
            return G_CONTENT
    return None


def sureness(name: str, known: Container[str]) -> int:
    """How surely a name is its column's: 2 where it is `known` to be (a mapping), 1 by its own
    spelling, 0 by its words."""
    each = {plain(name), bare_name(plain(name))}
    return 2 if any(one in known for one in each) else int(not each.isdisjoint(KNOWN))


def bare_name(name: str) -> str:
    """A plain name as a program has it: `train_d_loss_step` is `d_loss`."""
    return _AROUND.sub("", name)


def _anybodys(name: str, mapping: Mapping[str, str]) -> str | None:
    """The column of a name that is common. Up to two words before it may be a logger's or a
    tracker's ("INFO Loss_D: 1", "train/loss_d"), as long as they do not say that the number is
    something else's."""
    found = mapping.get(name) or KNOWN.get(name) or _by_words(_words_of(name))
    of_d = of_g = False
    for _ in range(2):
        word, _, name = name.partition("_")
        # What is left of a learning rate's name, "lr_disc", would be a loss's.
        is_others = word in _OF_ANOTHER or word in ("lr", "learning")
        if found is not None or not name or is_others:
            break
        of_d |= _WORDS.get(word) == "D"
        of_g |= _WORDS.get(word) in ("G", "E")
        if len(name) > 1 and name not in AMBIGUOUS:
            found = mapping.get(name) or KNOWN.get(name)
            if found is None and word not in _WORDS:
                found = _by_words(_words_of(name))
    is_others = found is not None and (of_g if not found.startswith("g_") else of_d and not of_g)
    return None if is_others else found


def _words_of(name: str) -> list[str]:
    """The words of a plain name, also those between which there is no space: `判别器损失`."""
    words = name.split("_")
    if name.isascii():
        return words
    each = (_EACH_JOINED.findall(w) if _ALL_JOINED.fullmatch(w) else [w] for w in words)
    return list(itertools.chain.from_iterable(each))


def _by_words(words: list[str]) -> str | None:
    """The column of a name that is made of words of losses, learning rates or measures of images
    alone, in any order."""
    measures = [word for word in words if word not in _OF_MEASURED]
    if len(measures) == 1 and (found := KNOWN.get(measures[0])) in QUALITY:
        return found
    each = [_WORDS.get(word, "") for word in words]
    if "" in each or len(words) < 2:
        return None
    says = set(each) - {"nothing"}
    if "D" in says and (of_g := says & {"G", "E"}):
        # G's loss that D gives, unless D comes first.
        if each.index("D") < min(map(each.index, of_g)):
            return None
        says = says - {"D", "E"} | {"G", "adversarial"}
    return _OF_WORDS.get(" ".join(sorted(says)))


def names_network(name: str) -> bool:
    """Whether a name begins with that of a network."""
    return _WORDS.get(plain(name).partition("_")[0]) in ("D", "G")


class Likeness(NamedTuple):
    """What the number of a name that is not known looks like."""

    is_loss: bool  # of a training, of whatever
    is_of_game: bool  # maybe a loss of G's or D's
    # What it is likely a loss of; "" where the name does not say that it is a loss, or not whose:
    # who takes another number for D's loss is told that a sick D is well.
    column: str


def likeness(name: str) -> Likeness:
    """What a name that is not known says, by the kinds of its words."""
    words = _words_of(plain(name))
    says = {_WORDS.get(word) or _WORDS.get(word.removesuffix("s")) for word in words}
    says |= {kind for kind, each in _OF_UNKNOWN.items() if each & set(words)}
    if any(word.endswith(("loss", "losses")) for word in words):
        says.add("loss")
    if _OUTPUT.match(name):
        says.add("accuracy")
    if CONTENT.fullmatch(plain(name)):
        says.add("another")
    is_of_game = not says.isdisjoint(_OF_GAME) and says.isdisjoint(_OF_NO_LOSS)
    column = next((column for kinds, column in _LIKELY if kinds <= says), "")
    return Likeness("loss" in says and "validation" not in says, is_of_game, column)


def put_value(
    values: dict[str, float], column: str, number: float, *, in_percent: bool = False
) -> None:
    """Add a number to a row's values as what its column is."""
    if column == G_CONTENT:
        values[column] = values.get(column, 0.0) + number
    elif column not in PUT_OTHERWISE:
        values[column] = number
    elif column in QUALITY:
        if math.isfinite(number):  # no evaluation yet, or of equal images
            values[column] = number
    elif column == "d_weight":
        if number > 0 and "d_loss" in values:  # before D starts it is 0
            values["d_loss"] /= number
    else:
        # The first is D's; after it may come that of the model that G is trained in.
        in_percent |= number > LARGEST_SHARE
        values.setdefault(column, number / 100 if in_percent else number)
