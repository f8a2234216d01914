"""Rows of named numbers, of tables and JSON: which columns of a trace the names are."""

import re
from collections.abc import Collection, Mapping
from typing import Any

from counterpoise.logs.formats import Program, program_of
from counterpoise.logs.names import (
    CONTENT,
    EPOCH_NAMES,
    G_CONTENT,
    KNOWN,
    STEP_NAMES,
    column_of,
    may_be_loss,
    plain,
    put_value,
)
from counterpoise.logs.runs import Position, RunCollector
from counterpoise.trace import as_float

LARGEST_COUNT = 1e15  # larger numbers count no steps
NAMES_LISTED = 8  # in a refusal
# How Lightning logged a number, or of what it is the mean; where a tracker has it.
_SUFFIX = re.compile(r"_(?:step|epoch|avg)$")
_PREFIX = re.compile(r"^(?:train(?:ing)?_)+")
MEANS = ("_epoch", "_avg")
# Names of numbers may end with "_step": no steps are counted by them.
_OF_A_NUMBER = re.compile(r"loss|err|acc|score")
# Of a number over its neighbours, in Weights & Biases' export of a curve.
_EXTREMES = ("__MIN", "__MAX")
PLACES = ("step", "epoch")


def table_column(
    name: str, mapping: Mapping[str, str], own: Mapping[str, str] | None = None
) -> str | None:
    """A column of a trace, `step`, `epoch`, or None for another number; `own` are names of the
    program that wrote them."""
    known = plain(name)
    if known in mapping:
        return mapping[known]
    if own and (bare := bare_name(known)) in own:
        return own[bare] or None
    if name.endswith(_EXTREMES):
        return None
    # Weights & Biases' export: "noble-sun-12 - loss_D".
    _, dash, last = name.rpartition(" - ")
    if dash and known not in KNOWN:
        return table_column(last, mapping, own)
    # Exported by a tracker: "train/step".
    before, _, after = known.partition("_")
    for tail in (known, "" if _OF_A_NUMBER.search(before) else after):
        if tail in STEP_NAMES:
            return "step"
        if tail in EPOCH_NAMES:
            return "epoch"
    alone = without_suffix(known)
    for stem in dict.fromkeys((known, alone)):
        if len(stem) > 1 and (column := column_of(stem, mapping, most_before=1)) is not None:
            return column
        if CONTENT.fullmatch(stem):
            return G_CONTENT
    return None


def bare_name(name: str) -> str:
    """A plain name as a program has it: `train_d_loss_step` is `d_loss`."""
    return without_suffix(_PREFIX.sub("", name))


def note_unknown(unknown: list[str], name: str) -> None:
    """Add a name of a number that is no column, those that look like losses first."""
    if name in unknown:
        return
    if may_be_loss(name):
        unknown.insert(sum(map(may_be_loss, unknown)), name)
        del unknown[NAMES_LISTED:]
    elif len(unknown) < NAMES_LISTED:
        unknown.append(name)


def without_suffix(name: str) -> str:
    """A plain name without what Lightning adds: `d_loss_step` is `d_loss`."""
    return _SUFFIX.sub("", name)


def number_of(cell: Any) -> float | None:
    """The number in a cell of a table or in a value of JSON; None where there is none."""
    if isinstance(cell, str):
        if cell.strip().lower() in ("true", "false"):
            return float(cell.strip().lower() == "true")
        try:
            return float(cell)
        except ValueError:
            return None
    return as_float(cell) if isinstance(cell, int | float) else None


class NamedRows:
    """Puts rows of numbers by name into a run; each column is read from one name."""

    def __init__(self, collector: RunCollector, mapping: Mapping[str, str]) -> None:
        self.collector, self._mapping = collector, mapping
        self._columns: dict[str, str | None] = {}
        self.program: Program | None = None
        self.unknown: list[str] = []  # the first names that are no column

    def columns_of(self, names: Collection[str]) -> list[str | None]:
        """The columns of names that stand side by side, none twice.

        Of names of one column the mapping's has it, else the one that came first, of several at
        once one that is no mean over an epoch: two numbers are never mixed in one column. Different
        terms of G are all kept.
        """
        taken = {column for column in self._columns.values() if column not in (None, *PLACES)}
        new = [name for name in names if name not in self._columns]
        if new and self.program is None:
            self.program = program_of(" ".join((*self._columns, *new)))
            self.collector.program = self.program.name if self.program else ""
        own = self.program.names if self.program else None
        for name in sorted(new, key=self._rank):
            known, column = plain(name), table_column(name, self._mapping, own)
            # A term of G that is logged for each step and for each epoch is one term.
            what = f"{column} {without_suffix(known)}" if column == G_CONTENT else column
            if known in self._mapping:
                others = self._columns.items()
                self._columns = {n: None if c == column else c for n, c in others}
            elif what in taken:
                column = None
            if what is not None:
                taken.add(what)
            self._columns[name] = column
            if column is None:
                note_unknown(self.unknown, name)
        return [self._columns[name] for name in names]

    def _rank(self, name: str) -> int:
        known = plain(name)
        if known in self._mapping:
            return 0
        # Batches begin anew in each epoch, where steps may not.
        return 2 if known == "batch" or known.endswith(MEANS) else 1

    def add(self, row: Mapping[str, float]) -> None:
        """Add a row."""
        values: dict[str, float] = {}
        place: dict[str, int] = {}
        for number, column in zip(row.values(), self.columns_of(row), strict=True):
            if column in PLACES:
                if abs(number) < LARGEST_COUNT:
                    place.setdefault(column, int(number))
            elif column is not None:
                put_value(values, column, number)
        self.collector.add(Position(place.get("step"), place.get("epoch")), values)
