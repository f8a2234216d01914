"""Columns of numbers: smoothed, their last digits, and spells over which something holds, with
hysteresis: how single noisy rows become "since step 1200"."""

from dataclasses import dataclass

import numpy as np

LEAST_SPELL = 4  # rows that a spell must have before it is worth a word


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """The centred moving mean over `window` rows (fewer at the ends), of those that have a value;
    NaN where none has."""
    if not len(values):
        return values
    known = np.isfinite(values)
    # The window around a row has `window // 2` rows after it.
    rows = slice(window // 2, window // 2 + len(values))
    each = np.where(known, values, 0.0), known.astype(float)
    totals, counts = (np.convolve(one, np.ones(window))[rows] for one in each)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = totals / counts
    return np.where(counts > 0.5, means, np.nan)


@dataclass(frozen=True)
class Spell:
    """Rows `first` to `last` (both included) over which something held."""

    first: int
    last: int

    @classmethod
    def over(cls, rows: np.ndarray) -> "Spell":
        """From the first to the last of some rows, which increase."""
        return cls(int(rows[0]), int(rows[-1]))

    @property
    def rows(self) -> int:
        return self.last - self.first + 1

    def within(self, values: np.ndarray) -> np.ndarray:
        """The finite values of a column in these rows."""
        part = values[self.first : self.last + 1]
        known: np.ndarray = part[np.isfinite(part)]
        return known

    def median(self, values: np.ndarray) -> float:
        """Their median; NaN where there are none."""
        part = self.within(values)
        return float(np.median(part)) if len(part) else float("nan")

    def begin_where(self, raw: np.ndarray) -> "Spell":
        """This spell, found in smoothed values, from the first of its rows that shows it itself."""
        first = self.first
        while first > 0 and raw[first - 1]:
            first -= 1
        rows = np.flatnonzero(raw[first : self.last + 1])
        return self if not len(rows) else Spell(first + int(rows[0]), self.last)


def medians(values: np.ndarray, parts: int) -> list[float]:
    """Of so many equal parts of a column, one after the other."""
    return [float(np.median(part)) for part in np.array_split(values, parts)]


def falls(values: np.ndarray) -> bool:
    """Whether a column of four or more falls from quarter to quarter, to less than half."""
    quarters = medians(values, 4) if len(values) >= 4 else [0.0]
    return max(np.diff(quarters), default=0.0) < 0 and quarters[-1] < quarters[0] / 2


def runs_of(flags: np.ndarray) -> list[Spell]:
    """The unbroken runs of True."""
    edges = np.diff(np.concatenate([[0], flags.astype(np.int8), [0]]))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return [Spell(int(start), int(end) - 1) for start, end in zip(starts, ends, strict=True)]


def longest(enters: np.ndarray, stays: np.ndarray) -> Spell | None:
    """The longest spell that begins where `enters` holds and lasts as long as the looser `stays`
    does (hysteresis), with the rows of `stays` just before it; the later one of equals. Both are
    boolean, (rows,)."""
    entered = [spell for spell in runs_of(stays | enters) if spell.within(enters).any()]
    return max(entered, key=lambda spell: (spell.rows, spell.first), default=None)


def inside(values: np.ndarray, low: float, high: float) -> bool:
    """Whether all that are known of these lie in a range, both ends included."""
    known = values[np.isfinite(values)]
    return bool(((known >= low) & (known <= high)).all())


def last_digit(values: np.ndarray) -> float:
    """The last digit that a column was printed with, 1e-12 at the finest."""
    for digits in range(12):
        if np.abs(values - np.round(values, digits)).max(initial=0.0) <= 1e-13:
            return float(10.0**-digits)
    return 1e-12


def stands_still(values: np.ndarray) -> bool:
    """Whether all of these are one number, of some digits: no rounding explains it."""
    return bool(np.ptp(values) == 0) and last_digit(values) <= abs(values[0]) / 24
