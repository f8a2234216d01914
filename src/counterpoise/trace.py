"""A recorded training as columns of numbers: what every log becomes before it is judged.

The names are those of `signals.jsonl`, so our own runs and other programs' logs are judged by the
same rules. A trace holds a bounded number of rows, however long the log was.
"""

import dataclasses
import math
from array import array
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

# What a row may have besides its step. NaN is "not in the log"; non-finite values that were in the
# log are listed in `Trace.non_finite`.
COLUMNS: dict[str, str] = {
    "g_loss": "G's loss, all terms",
    "g_adversarial": "G's weighted adversarial term",
    "g_content": "the rest of G's loss",
    "d_loss": "D's loss, both halves",
    "d_loss_real": "D's loss on real images",
    "d_loss_fake": "D's loss on fake images",
    "d_real": "D(x): D's mean output on real images as the log gives it",
    "d_fake_before": "D(G(z)) before D's update",
    "d_fake_after": "D(G(z)) after D's update, on the same fake images",
    "d_accuracy": "share of all images that D judges rightly",
    "d_accuracy_real": "share of real images that D judges rightly",
    "d_accuracy_fake": "share of fake images that D judges rightly",
    "auc": "probability that D scores a real image above a fake one",
    "real_logit_mean": "D's mean logit on real images, before any sigmoid",
    "real_logit_std": "its spread over the batch",
    "fake_logit_mean": "D's mean logit on fake images, before any sigmoid",
    "fake_logit_std": "its spread over the batch",
    "d_penalty": "what D's loss has beside its halves: penalties, and what label smoothing adds",
    "policy_acted": "1 where the balance policy changed something in this step, 0 where not",
    "d_updated": "1 where D was trained in this step, 0 where not",
    "g_updated": "1 where G was trained in this step, 0 where not",
    "d_learning_rate": "D's learning rate",
    "g_learning_rate": "G's learning rate",
    # Readings of sensors: see `records.Readings`.
    "g_gradient_adversarial": "the adversarial term's gradient at G's output",
    "g_gradient_content": "the other terms' gradient at G's output",
    "g_adversarial_scale": "the policy's factor on the adversarial term in that gradient",
    "g_gradient_norm": "the norm of G's gradient",
    "d_gradient_norm": "the norm of D's gradient",
    "g_update_ratio": "G's update over its weights",
    "d_update_ratio": "D's update over its weights",
    "g_gradient_cosine": "the cosine of G's gradients of two steps",
    "d_gradient_cosine": "the cosine of D's gradients of two steps",
    "d_saturation_real": "share of real images where D's sigmoid is flat",
    "d_saturation_fake": "share of fake images where D's sigmoid is flat",
    "held_out_logit_mean": "D's mean logit on held-out real images",
    "d_accuracy_held_out": "share of held-out real images that D judges rightly",
    "diversity_ratio": "the diversity of outputs over that of real images",
    "high_frequency_ratio": "fine detail of outputs over that of real images",
    "patch_variance_ratio": "texture of outputs over that of real images",
    "auc_quantised": "AUC where fakes are rounded to 8 bits",
    "auc_border_hidden": "AUC where borders are hidden",
    "fake_out_of_range": "share of fake values outside the real images' range",
    "d_probe_accuracy": "accuracy of a copy of D on one batch that it was trained on",
}

# A trace is thinned to half where it would grow beyond this.
MOST_ROWS = 16_384
MOST_NON_FINITE = 100
# Rows that a training under way is judged by, the latest: what is past is past, and a diagnosis
# must cost little.
LATEST_ROWS = 2048

# Fields of an action that change nothing: a policy that only looks, or keeps a state.
NO_CHANGE = {"reason", "probe_discriminator", "keep_snapshot"}


@dataclass(frozen=True)
class Trace:
    """The numbers of one training run, in order."""

    steps: np.ndarray  # (rows,), as the log counts them over the whole run, increasing
    columns: dict[str, np.ndarray]  # only those with at least one value; (rows,) float64
    source: str = ""  # file name, as given
    format: str = ""  # name of the log format it was read from
    title: str = ""  # which run of the file this is, where there are several
    objective: str | None = None  # where the log or a run's configuration says it
    policy: str | None = None  # where a run's configuration says it
    d_loss_is_mean: bool = False  # `d_loss` is the mean of D's two halves, not their sum
    # Every so many rows of the log were kept (1: all).
    kept_every: int = 1
    rows_read: int = 0
    non_finite: tuple[tuple[int, str], ...] = ()  # (step, column) of NaN and infinity
    notes: tuple[str, ...] = ()  # what a person must know about the reading

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


@dataclass
class TraceBuilder:
    """Collects rows in bounded memory: beyond `MOST_ROWS`, one of every two is dropped for good.

    Of neighbouring rows the one with the most values is kept, of equals the first: what is measured
    every tenth step, say, is not lost because every eighth row is kept. No value decides, so it is
    a fair sample. Rows with a non-finite value are listed apart and so never lost. The last
    `LATEST_ROWS` are kept whole beside them.
    """

    source: str = ""
    format: str = ""
    title: str = ""
    objective: str | None = None
    policy: str | None = None

    def __post_init__(self) -> None:
        self._steps: list[int] = []
        # Columns end at the last row that had a value; what is missing before it is NaN.
        self._columns: dict[str, array[float]] = {}
        self._values_in_last = 0
        self._non_finite: list[tuple[int, str]] = []
        self._latest: deque[tuple[int, Mapping[str, float]]] = deque(maxlen=LATEST_ROWS)
        self.rows_read = 0
        self._every = 1

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add a row; `values` may have any of `COLUMNS`, with NaN where the log says NaN."""
        is_kept = not self._steps or self.rows_read % self._every == 0
        self.rows_read += 1
        finite = {}
        for name, value in values.items():
            if value - value == 0:  # neither NaN nor infinite, quickly
                finite[name] = value
            elif len(self._non_finite) < MOST_NON_FINITE:
                self._non_finite.append((step, name))
        self._latest.append((step, finite if len(finite) == len(values) else values))
        if is_kept:
            self._steps.append(step)
            self._write_last(finite)
            if len(self._steps) > MOST_ROWS:
                self._thin()
        elif len(finite) > self._values_in_last:
            self._steps[-1] = step
            for column in self._columns.values():
                del column[len(self._steps) - 1 :]
            self._write_last(finite)

    def _write_last(self, finite: Mapping[str, float]) -> None:
        """Give the last row, which has no values yet, those of `finite`."""
        row, columns = len(self._steps) - 1, self._columns
        for name, value in finite.items():
            column = columns.get(name)
            if column is None:
                column = columns[name] = array("d")
            if (missing := row - len(column)) > 0:
                column.extend([math.nan] * missing)
            column.append(value)
        self._values_in_last = len(finite)

    def _thin(self) -> None:
        """Keep one row of every two."""
        rows = len(self._steps)
        counts = np.zeros(rows + rows % 2, dtype=np.int64)
        for column in self._columns.values():
            counts[: len(column)] += ~np.isnan(np.array(column))
        pairs = counts.reshape(-1, 2)
        kept = np.arange(len(pairs)) * 2 + (pairs[:, 1] > pairs[:, 0])
        self._steps = [self._steps[place] for place in kept]
        for name, column in self._columns.items():
            self._columns[name] = array("d", np.array(column)[kept[kept < len(column)]])
        self._values_in_last = int(pairs[-1].max())
        self._every *= 2

    def go_back(self, step: int) -> None:
        """Forget the rows past `step`: a training went on from an earlier state."""
        keep = next((i for i, at in enumerate(self._steps) if at > step), len(self._steps))
        del self._steps[keep:]
        for column in self._columns.values():
            del column[keep:]
        self._values_in_last = sum(
            len(column) == keep and not math.isnan(column[-1])
            for column in self._columns.values()
            if column
        )
        self._non_finite = [(at, name) for at, name in self._non_finite if at <= step]
        self._latest = deque(((s, v) for s, v in self._latest if s <= step), maxlen=LATEST_ROWS)

    def latest(self) -> Trace:
        """The last `LATEST_ROWS` rows, every one."""
        builder = dataclasses.replace(self)
        for step, values in self._latest:
            builder.add(step, values)
        return builder.build()

    def build(self) -> Trace:
        """The trace of what was added so far."""
        columns = {}
        for name in COLUMNS:
            values = np.array(self._columns.get(name, ()), dtype=np.float64)
            if not np.isnan(values).all():
                missing = len(self._steps) - len(values)
                columns[name] = np.pad(values, (0, missing), constant_values=np.nan)
        return Trace(
            steps=np.array(self._steps, dtype=np.int64),
            columns=columns,
            source=self.source,
            format=self.format,
            title=self.title,
            objective=self.objective,
            policy=self.policy,
            kept_every=self._every,
            rows_read=self.rows_read,
            non_finite=tuple(self._non_finite),
        )


def as_float(number: int | float) -> float:
    """A number as a float; infinite where it is too large for one."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


# In a row of a game with several discriminators: what belongs to each, by its name.
DISCRIMINATORS = "discriminators"


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
    non_finite = row.get("non_finite")
    for name in non_finite if isinstance(non_finite, list) else ():
        column = "d_fake_before" if name == "d_fake" else str(name)
        if column.startswith("g_terms."):
            column = "g_adversarial" if column.endswith("adversarial") else "g_content"
        if column in COLUMNS:
            values[column] = math.nan
    return values
