"""A study's tables, as text."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from counterpoise.statistics import Estimate, Interval
from counterpoise.study.analysis import FailureCount, StrategyResult, means, paired
from counterpoise.study.grid import Grid, Pair
from counterpoise.study.results import DoneRow
from counterpoise.study.strategies import STRATEGIES

NOT_KNOWN = "-"


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
    return Table(
        "All strategies",
        note,
        (
            "strategy",
            "failed",
            "95 %",
            "failures against auto",
            "diverged or collapsed",
            "failed where auto was never tuned",
            "mean rank",
            "quality against none",
            "quality against auto",
        ),
        [
            (
                row.name + ("" if row.everywhere else " (not in all tasks)"),
                share_text(row.failures) + (f" ({row.missing} missing)" if row.missing else ""),
                _percent_interval(row.failures),
                _estimate(row.failed_to_auto, 0, signed=True),
                share_text(row.by_quality),
                share_text(row.untuned),
                _estimate(row.rank, 1),
                _estimate(row.to_none, 2, signed=True),
                _estimate(row.to_auto, 2, signed=True),
            )
            for row in rows
        ],
    )


def _quality_tables(grid: Grid) -> list[Table]:
    tables = []
    of_tasks = {row.task: row for row in grid.rows[grid.done]}
    for task in grid.tasks:
        if task not in of_tasks:
            continue
        score = of_tasks[task].score_name.replace("_", " ")
        direction = "higher" if of_tasks[task].higher_is_better else "lower"
        stressors = [s for t, s in grid.pairs if t == task]
        columns = [means(grid, task, stressor, grid.scores()) for stressor in stressors]
        lines = [
            (
                name,
                *(
                    _estimate(column[name], 3)
                    if stressor == "none"
                    else _number(column[name].mean, 3)
                    for stressor, column in zip(stressors, columns, strict=True)
                ),
            )
            for name in grid.strategies
            if any(column[name].mean is not None for column in columns)
        ]
        title = f"{task}: {score} ({direction} is better)"
        note = "Mean over seeds; under `none` with Student's 95 % interval."
        tables.append(Table(title, note, ("strategy", *stressors), lines))
    return tables


def _changes_table(grid: Grid, rows: Sequence[StrategyResult]) -> Table:
    """What each change to the question's loop does."""
    failures = {row.name: row.failures for row in rows}

    def column(
        value: Callable[[DoneRow], float | None], digits: int, most: float | None = None
    ) -> list[str]:
        estimates = means(grid, *grid.pairs[0], grid.values(value)).values()
        return [_estimate(_within(estimate, most), digits) for estimate in estimates]

    columns = (
        column(lambda row: row.d_last_quarter.get("accuracy"), 2, 1.0),
        column(lambda row: row.d_last_quarter.get("auc"), 2, 1.0),
        column(lambda row: 100 * row.d_updates / row.steps, 0, 100.0),
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


def _within(estimate: Estimate, most: float | None) -> Estimate:
    """A mean of values in [0, `most`], where an interval of few of them may reach further."""
    if estimate.interval is None or most is None:
        return estimate
    ends = (min(max(end, 0.0), most) for end in (estimate.interval.low, estimate.interval.high))
    return replace(estimate, interval=Interval(*ends))


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


def _estimate(estimate: Estimate, digits: int, *, signed: bool = False) -> str:
    text = _number(estimate.mean, digits, signed=signed)
    if estimate.interval is None:
        return text
    low, high = (
        _number(value, digits, signed=signed)
        for value in (estimate.interval.low, estimate.interval.high)
    )
    return f"{text} ({low} to {high})"
