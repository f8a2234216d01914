"""A study's tables, as text."""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from counterpoise.statistics import Estimate
from counterpoise.study.analysis import FailureCount, StrategyResult, means, paired
from counterpoise.study.grid import Grid, Pair
from counterpoise.study.results import DoneRow
from counterpoise.study.strategies import STRATEGIES

NOT_KNOWN = "-"

Ends = tuple[float, float]
UNLIMITED: Ends = (-math.inf, math.inf)


@dataclass(frozen=True)
class Table:
    """A table as text."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    def markdown(self) -> str:
        """The table in Markdown."""
        lines = [self.columns, tuple("---" for _ in self.columns), *self.rows]
        return "\n".join("| " + " | ".join(row) + " |" for row in lines)


def report_tables(
    grid: Grid, rows: Sequence[StrategyResult], tuned_on: Collection[Pair]
) -> list[Table]:
    """All tables of the report, the most important one first."""
    changes = [_changes_table(grid, rows)] if "seed-loop" in grid.strategies else []
    tuned = Table(
        "Where auto was tuned",
        "Pairs of task and stressor that its constants were chosen on.",
        ("task", "stressor"),
        [pair for pair in grid.pairs if pair in tuned_on],
    )
    return [*changes, _main_table(rows), *_quality_tables(grid), tuned]


def _main_table(rows: Sequence[StrategyResult]) -> Table:
    note = (
        "Failed: diverged, collapsed (coverage under half) or D saturated (its AUC on clean "
        "samples is 0.99 or more over the last quarter). Intervals of shares are Wilson's, 95 %, "
        "with the seeds of a task under a stressor as one trial, since they mostly fail together. "
        "Rank: mean over task, stressor and seed by the task's score, failures last; only of "
        "strategies that have every training. Difference: paired over the same task, stressor "
        "and seed, in spreads of the task's score. Of failures it is in "
        "percentage points. Differences and ranks have a hierarchical bootstrap interval."
    )
    columns: dict[str, Callable[[StrategyResult], str]] = {
        "strategy": lambda row: row.name + ("" if row.everywhere else " (not in all tasks)"),
        "failed": lambda row: (
            share_text(row.failures) + (f" ({row.missing} missing)" if row.missing else "")
        ),
        "95 %": lambda row: _percent_interval(row.failures),
        "failures against auto": lambda row: _estimate(row.failed_to_auto, 0, signed=True),
        "diverged or collapsed": lambda row: share_text(row.by_quality),
        "failed where auto was never tuned": lambda row: share_text(row.untuned),
        "mean rank": lambda row: _estimate(row.rank, 1),
        "quality against none": lambda row: _estimate(row.to_none, 2, signed=True),
        "quality against auto": lambda row: _estimate(row.to_auto, 2, signed=True),
    }
    lines = [tuple(text(row) for text in columns.values()) for row in rows]
    return Table("All strategies", note, tuple(columns), lines)


def _quality_tables(grid: Grid) -> list[Table]:
    tables = []
    for task, row in {row.task: row for row in grid.rows[grid.done]}.items():
        stressors = [s for t, s in grid.pairs if t == task]
        columns = {s: means(grid, task, s, grid.scores()) for s in stressors}
        lines = []
        for name in grid.strategies:
            if any(column[name].mean is not None for column in columns.values()):
                texts = (
                    _estimate(column[name], 3) if s == "none" else _number(column[name].mean, 3)
                    for s, column in columns.items()
                )
                lines.append((name, *texts))
        direction = "higher" if row.higher_is_better else "lower"
        title = f"{task}: {row.score_name.replace('_', ' ')} ({direction} is better)"
        note = "Mean over seeds; under `none` with Student's 95 % interval."
        tables.append(Table(title, note, ("strategy", *stressors), lines))
    return tables


def _changes_table(grid: Grid, rows: Sequence[StrategyResult]) -> Table:
    """What each change to the question's loop does."""
    failures = {row.name: row.failures for row in rows}

    def column(
        value: Callable[[DoneRow], float | None], digits: int, within: Ends = UNLIMITED
    ) -> list[str]:
        estimates = means(grid, *grid.pairs[0], grid.values(value)).values()
        return [_estimate(estimate, digits, within=within) for estimate in estimates]

    columns = (
        column(lambda row: row.d_last_quarter.get("accuracy"), 2, (0.0, 1.0)),
        column(lambda row: row.d_last_quarter.get("auc"), 2, (0.0, 1.0)),
        column(lambda row: 100 * row.d_updates / row.steps, 0, (0.0, 100.0)),
        column(lambda row: row.score, 1),
    )
    return Table(
        "Changes to the question's loop, one at a time",
        "D's accuracy (best threshold) and AUC on clean samples in the last quarter, with "
        "Student's 95 % intervals over seeds. Texture: sliced Wasserstein distance, lower is "
        "better. Last column: paired difference in spreads, above 0 is better than the loop.",
        ("change", "failed", "D's accuracy", "AUC", "D trained, %", "texture", "against the loop"),
        [
            (
                STRATEGIES[name].description,
                share_text(failures[name]),
                *measured,
                _estimate(paired(grid, name, "seed-loop"), 2, signed=True),
            )
            for name, *measured in zip(grid.strategies, *columns, strict=True)
        ],
    )


def share_text(count: FailureCount) -> str:
    """Failures in words."""
    if not count.of:
        return NOT_KNOWN
    return f"{count.failed} of {count.of} ({100 * count.share:.0f} %)"


def _percent_interval(count: FailureCount) -> str:
    if count.interval is None:
        return NOT_KNOWN
    return f"{100 * count.interval.low:.0f} to {100 * count.interval.high:.0f} %"


def _number(value: float | None, digits: int, *, signed: bool = False) -> str:
    if value is None:
        return NOT_KNOWN
    if signed or abs(value) < 10 or digits == 0:
        return f"{value:{'+' if signed else ''}.{digits}f}"
    return f"{value:.4g}"


def _estimate(
    estimate: Estimate, digits: int, *, signed: bool = False, within: Ends = UNLIMITED
) -> str:
    """A mean with its interval, `within` what values can be: that of few may reach further."""
    text = _number(estimate.mean, digits, signed=signed)
    if estimate.interval is None:
        return text
    ends = (max(estimate.interval.low, within[0]), min(estimate.interval.high, within[1]))
    low, high = (_number(end, digits, signed=signed) for end in ends)
    return f"{text} ({low} to {high})"
