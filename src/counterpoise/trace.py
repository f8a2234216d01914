"""A recorded training as columns of numbers: what every log becomes before it is judged.

The names are those of `signals.jsonl`, so our own runs and other programs' logs are judged by the
same rules. A trace holds a bounded number of rows, however long the log was.
"""

import math
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from counterpoise.records import DISCRIMINATORS, READINGS
from counterpoise.registry import read_table

# What a row may have besides its step, with what it is. NaN is "not in the log"; non-finite values
# that were in the log are listed in `Trace.non_finite`.
COLUMNS: dict[str, str] = read_table("counterpoise", "columns.toml")
COLUMNS |= {name: f"the reading `{name}`" for name in READINGS}
# What D says, and both networks: a log of nothing but learning rates or gradient norms is none of a
# game.
OF_D = "d_loss", "d_real", "d_fake", "d_accuracy", "auc"
D_COLUMNS = {each for each in COLUMNS if each.startswith(OF_D) or each.endswith("logit_mean")}
GAME_COLUMNS = D_COLUMNS | {"g_loss", "g_adversarial"}
# Where one of these is NaN the training is broken; a reading may only have nothing to read.
LOSSES_AND_OUTPUTS = (GAME_COLUMNS | {"g_content", "d_penalty"}) - set(READINGS)

# A note: the steps past the first epoch are a guess.
NO_EPOCH_LENGTH = (
    "the length of an epoch is not printed: the steps of the next are counted on from its last line"
)
# Stands for a learning rate that is 0 for certain: one of 0 may be rounded.
LEAST_RATE = math.ulp(0.0)
# A trace is thinned to half where it would grow beyond this.
MOST_ROWS = 16_384
MOST_NON_FINITE = 100
# Rows that a training under way is judged by, the latest that are kept: what is past is past, and a
# diagnosis must cost little.
LATEST_ROWS = 2048

# Fields of an action that change nothing: a policy that only looks (earlier versions probed D), or
# keeps a state.
NO_CHANGE = {"reason", "probe_discriminator", "keep_snapshot", "is_unsafe"}


Row = tuple[int, Mapping[str, float]]


@dataclass(frozen=True)
class Trace:
    """The numbers of one training run, in order."""

    steps: np.ndarray  # (rows,), as the log counts them over the whole run, increasing
    columns: dict[str, np.ndarray]  # only those with at least one value; (rows,) float64
    source: str = ""  # file name, as given
    format: str = ""  # name of the log format it was read from
    title: str = ""  # which run of the file this is, where there are several
    is_latest: bool = True  # of several runs, that which the file ends with
    is_own_training: bool = False  # of our trainer, which takes --set; a `Balance` does not
    is_window: bool = False  # earlier rows of the training are left out: see `latest`
    program: str = ""  # which program printed it, where its layout or its names tell
    objective: str | None = None  # where the log or a run's configuration says it
    policy: str | None = None  # where a run's configuration says it
    counts_batches: bool = False  # `steps` count batches for certain: another log's may be epochs
    d_loss_is_mean: bool = False  # `d_loss` is the mean of D's two halves, not their sum
    rows_read: int = 0
    non_finite: tuple[tuple[int, str], ...] = ()  # (step, column) of NaN and infinity
    notes: tuple[str, ...] = ()  # what a person must know about the reading
    loop_bugs: tuple[tuple[int, str], ...] = ()  # (step, text) of what a run's loop check found

    def __len__(self) -> int:
        return len(self.steps)

    def has(self, *names: str) -> bool:
        """Whether all these columns are there."""
        return all(name in self.columns for name in names)

    def get(self, name: str) -> np.ndarray:
        """A column, all NaN where the log does not have it."""
        column = self.columns.get(name)
        return np.full(len(self.steps), np.nan) if column is None else column

    def first(self, *names: str) -> np.ndarray:
        """The first of some columns that is there; all NaN where none is."""
        return self.get(next((name for name in names if self.has(name)), ""))

    def part(self, rows: slice) -> "Trace":
        """Some of the rows, with all that is said of the training."""
        part = {name: values[rows] for name, values in self.columns.items()}
        columns = {name: values for name, values in part.items() if np.isfinite(values).any()}
        return replace(self, steps=self.steps[rows], columns=columns)

    def latest(self) -> "Trace":
        """The last `LATEST_ROWS` rows."""
        if len(self) <= LATEST_ROWS:
            return self
        part = self.part(slice(-LATEST_ROWS, None))
        non_finite = tuple(each for each in self.non_finite if each[0] >= part.steps[0])
        return replace(part, non_finite=non_finite, is_window=True)


class TraceBuilder:
    """Collects rows in bounded memory: beyond `MOST_ROWS`, one of every two is dropped for good.

    Of neighbouring rows the one with the most values is kept, of equals the first: what is measured
    every tenth step, say, is not lost because every eighth row is kept. No value decides, so it is
    a fair sample. Rows with a non-finite value are listed apart and so never lost.
    """

    def __init__(self) -> None:
        # Steps with their finite values; of all rows, or of one in `_every`.
        self._rows: list[Row] = []
        self._every = 1
        self._non_finite: list[tuple[int, str]] = []
        self.rows_read = 0

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add a row; `values`, which are kept, may have any of `COLUMNS`, with NaN where the log
        says NaN."""
        row = step, values
        total = sum(values.values())
        if total - total != 0:  # something is NaN or infinite, or so large that the sum is
            odd = [name for name, value in values.items() if value - value != 0]
            room = MOST_NON_FINITE - len(self._non_finite)
            self._non_finite += [(step, name) for name in odd[:room]]
            row = step, {name: value for name, value in values.items() if name not in odd}
        if self.rows_read % self._every == 0 or not self._rows:
            self._rows.append(row)
            if len(self._rows) > MOST_ROWS:
                pairs = (self._rows[place : place + 2] for place in range(0, len(self._rows), 2))
                self._rows = [max(pair, key=lambda row: len(row[1])) for pair in pairs]
                self._every *= 2
        elif len(row[1]) > len(self._rows[-1][1]):
            self._rows[-1] = row
        self.rows_read += 1

    def extend(self, later: "TraceBuilder", by: int) -> None:
        """Add the rows of another, so many steps on."""
        for step, values in later._rows:
            self.add(step + by, values)
        self._non_finite += [(step + by, name) for step, name in later._non_finite]
        self.rows_read += later.rows_read - len(later._rows)

    def add_to_latest(self, values: Mapping[str, float]) -> None:
        """Add what the latest row that is kept has not yet; nothing where there is none."""
        if self._rows:
            step, row = self._rows[-1]
            self._rows[-1] = step, {**values, **row}

    def go_back(self, step: int) -> None:
        """Forget the rows past `step`: a training went on from an earlier state."""
        self._rows = [row for row in self._rows if row[0] <= step]
        self._non_finite = [row for row in self._non_finite if row[0] <= step]

    def build(self) -> Trace:
        """The trace of what was added so far."""
        named = set().union(*(values for _, values in self._rows))
        columns = {
            name: np.array([values.get(name, math.nan) for _, values in self._rows], np.float64)
            for name in COLUMNS
            if name in named
        }
        return Trace(
            steps=np.array([step for step, _ in self._rows], dtype=np.int64),
            columns=columns,
            rows_read=self.rows_read,
            non_finite=tuple(self._non_finite),
        )


def step_text(step: int, notes: Container[str]) -> str:
    """A step as the log counts it; about that where it is a guess, by the notes on the reading."""
    return f"about {float(f'{step:.2g}'):.0f}" if NO_EPOCH_LENGTH in notes else str(step)


def as_float(number: int | float) -> float:
    """A number as a float; infinite where it is too large for one."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def rows_by_discriminator(row: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """A row of `signals.jsonl` as one flat row for each discriminator, by name.

    A game with one D has flat rows: then it is the row itself, under the name "". What belongs to
    G is in every flat row.
    """
    each = row.get(DISCRIMINATORS)
    if not isinstance(each, Mapping) or not each:
        return {"": row}
    common = {name: value for name, value in row.items() if name != DISCRIMINATORS}
    return {str(d): common | dict(own) for d, own in each.items() if isinstance(own, Mapping)}


def signals_row_values(row: Mapping[str, Any]) -> dict[str, float]:
    """The values of a row of our `signals.jsonl`, as `StepRecord.to_json` writes it, by column."""
    values = {
        name: value if type(value) is float else as_float(value)
        for name, value in row.items()
        if name in COLUMNS and isinstance(value, (int, float))  # flags count as 0 and 1
    }
    terms = row.get("g_terms")
    if isinstance(terms, dict):
        numbers = {k: as_float(v) for k, v in terms.items() if isinstance(v, int | float)}
        if "adversarial" in numbers:
            values["g_adversarial"] = numbers.pop("adversarial")
        if numbers:
            values["g_content"] = sum(numbers.values())
    if isinstance(row.get("action"), dict):
        values["policy_acted"] = float(bool(row["action"].keys() - NO_CHANGE))
        for name in ("d_learning_rate_scale", "g_learning_rate_scale"):
            values[name] = as_float(row["action"].get(name, 1.0))
    non_finite = row.get("non_finite")
    for name in non_finite if isinstance(non_finite, list) else ():
        column = "d_fake_before" if name == "d_fake" else str(name)
        if column.startswith("g_terms."):
            column = "g_adversarial" if column.endswith("adversarial") else "g_content"
        if column in COLUMNS:
            values[column] = math.nan
    return values
