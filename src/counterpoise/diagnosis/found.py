"""What a rule is and what it answers, and the arithmetic that rules share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from counterpoise.diagnosis.finding import Evidence, Remedy
from counterpoise.diagnosis.view import View
from counterpoise.diagnosis.windows import Spell

# Rows that a spell must have before it is worth a word.
LEAST_SPELL = 4


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


@dataclass(frozen=True)
class Rule:
    """A finding: what shows it, what it means, what to change."""

    id: str
    # None for the verdicts that stand where no rule has found a problem.
    judge: Callable[[View], Answer] | None
    title: str
    meaning: str  # two sentences
    needs: str  # what a log must have for it to be judged, in words
    # The likeliest to help first.
    remedies: tuple[Remedy, ...]
    source: str = ""
    # Steps that a training on record step by step must have had before it is judged by this: every
    # young D is at chance, every young G's outputs are alike, and every game swings at first.
    least_steps: int = 0


def sureness(rows: int, directness: float = 1.0) -> float:
    """Confidence from the number of rows that speak, times how directly they do."""
    return float(round(directness * (1 - 0.5 ** (rows / 4)), 2))


def lasts(view: View, spell: Spell) -> bool:
    """Whether a spell goes on to the end of the log."""
    return spell.last >= view.rows - 1 - view.window // 2


def is_over(view: View, spell: Spell) -> bool:
    """Whether a spell ended in the first half of the log: it passed, and did not come back."""
    return spell.last < view.rows // 2


def begin_where(raw: np.ndarray, spell: Spell) -> Spell:
    """A spell found in smoothed values, from the first of its rows that shows it itself."""
    first = spell.first
    while first > 0 and raw[first - 1]:
        first -= 1
    rows = np.flatnonzero(raw[first : spell.last + 1])
    return spell if not len(rows) else Spell(first + int(rows[0]), spell.last)


def lines(count: int, of: int | None = None) -> str:
    """ "5 of 15 lines", "1 line"."""
    word = "line" if (of or count) == 1 else "lines"
    return f"{count} {word}" if of is None else f"{count} of {of} {word}"


def within(values: np.ndarray, spell: Spell) -> np.ndarray:
    """The finite values of a column within a spell."""
    part = values[spell.first : spell.last + 1]
    known: np.ndarray = part[np.isfinite(part)]
    return known


def median_within(values: np.ndarray, spell: Spell | None) -> float:
    """Their median; NaN where there are none."""
    part = () if spell is None else within(values, spell)
    return float(np.median(part)) if len(part) else float("nan")


def number(value: float) -> str:
    """A number as people write it: `0.06`, `3.1e-05`."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.4f}".rstrip("0").rstrip(".")
    return f"{value:.2g}"
