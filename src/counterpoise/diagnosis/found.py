"""What a rule is and what it answers, and how rules write."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from counterpoise.diagnosis.finding import Evidence, Remedy
from counterpoise.diagnosis.view import View
from counterpoise.diagnosis.windows import Spell

LEAST_ROWS = 6  # lines below which only what needs no trend is judged
FEW_ROWS = 3  # lines from which on something is said of each


@dataclass(frozen=True)
class Found:
    """A rule's yes: how bad, over which rows, how sure, on which numbers."""

    severity: str
    spell: Spell
    confidence: float
    evidence: Sequence[Evidence]
    meaning: str = ""  # instead of the rule's own, of this log
    first_remedies: tuple[Remedy, ...] = ()  # before the rule's own, for this log


@dataclass(frozen=True)
class Missing:
    """A rule that this log gives nothing to judge by."""

    need: str = ""  # what it lacks, in words, where that is not all that the rule needs


Answer = Found | Missing | None
Judge = Callable[[View], Answer]


@dataclass(frozen=True)
class Rule:
    """A finding: what shows it, what it means, what to change."""

    id: str
    # None for the verdicts that stand where no rule has found a problem.
    judge: Judge | None
    title: str
    meaning: str  # two sentences
    remedies: tuple[Remedy, ...]  # the likeliest to help first
    needs: str = ""  # what a log must have for it to be judged, in words
    source: str = ""
    # Steps that a training on record step by step must have had before it is judged by this: every
    # young D is at chance, every young G's outputs are alike, and every game swings at first.
    least_steps: int = 0
    # Lines below which it is not asked; `few` is, from three on, for what each line shows: a note.
    least_rows: int = LEAST_ROWS
    few: Callable[[View], Found | None] | None = None


def sureness(rows: int, directness: float = 1.0) -> float:
    """Confidence from the number of rows that speak, times how directly they do."""
    return float(round(directness * (1 - 0.5 ** (rows / 4)), 2))


def lines(count: int, of: int | None = None) -> str:
    """ "5 of 15 lines", "1 line"."""
    word = "line" if (of or count) == 1 else "lines"
    return f"{count} {word}" if of is None else f"{count} of {of} {word}"


def number(value: float) -> str:
    """A number as people write it: `0.06`, `3.1e-05`."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.4f}".rstrip("0").rstrip(".")
    return f"{value:.2g}"
