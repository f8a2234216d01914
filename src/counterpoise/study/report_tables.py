"""A study's tables, as text."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from counterpoise.statistics import Estimate, Interval, student_mean
from counterpoise.study.analysis import FailureCount, StrategyResult, paired, task_scores
from counterpoise.study.results import Grid, Pair
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
    tables = [_main_table(rows)]
    if "seed-loop" in grid.strategies:
        tables.insert(0, _changes_table(grid, rows))
    tables += _quality_tables(grid)
    tables.append(
        Table(
            "Where auto was tuned",
            "Pairs of task and stressor that its constants were chosen on.",
            ("task", "stressor"),
            [pair for pair in grid.pairs if pair in tuned_on],
        )
    )
    return tables


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
                _points(row.failed_to_auto),
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
    for task in grid.tasks:
        named = {row.task: row for row in grid.rows[grid.done]}
        if task not in named:
            continue
        row = named[task]
        direction = "higher" if row.higher_is_better else "lower"
        columns = [s for t, s in grid.pairs if t == task]
        scores = {stressor: task_scores(grid, task, stressor) for stressor in columns}
        tables.append(
            Table(
                f"{task}: {row.score_name.replace('_', ' ')} ({direction} is better)",
                "Mean over seeds; under `none` with Student's 95 % interval.",
                ("strategy", *columns),
                [
                    (
                        name,
                        *(
                            _estimate(scores[s][name], 3)
                            if s == "none"
                            else _number(scores[s][name].mean, 3)
                            for s in columns
                        ),
                    )
                    for name in grid.strategies
                    if any(scores[s][name].mean is not None for s in columns)
                ],
            )
        )
    return tables


def _changes_table(grid: Grid, rows: Sequence[StrategyResult]) -> Table:
    """What each change to the question's loop does."""
    by_name = {row.name: row for row in rows}
    lines = []
    for name in grid.strategies:
        place = grid.place(name)
        assert place is not None, "it is the grid's"

        def mean(key: str, place: int = place) -> str:
            values = grid.values(lambda row: row.d_last_quarter.get(key))
            return _estimate(_within(student_mean(values[0, place]), 1), 2)

        updates = grid.values(lambda row: row.d_updates / row.steps)[0, place]
        lines.append(
            (
                STRATEGIES[name].description,
                share_text(by_name[name].failures),
                mean("accuracy"),
                mean("auc"),
                _estimate(_within(student_mean(100 * updates), 100), 0),
                _estimate(student_mean(grid.scores()[0, place]), 1),
                _estimate(paired(grid, name, "seed-loop"), 2, signed=True),
            )
        )
    return Table(
        "Changes to the question's loop, one at a time",
        "D's accuracy (best threshold) and AUC on clean samples in the last quarter, with "
        "Student's 95 % intervals over seeds. Texture: sliced Wasserstein distance, lower is "
        "better. Last column: paired difference in spreads, above 0 is better than the loop.",
        ("change", "failed", "D's accuracy", "AUC", "D trained, %", "texture", "against the loop"),
        lines,
    )


def _within(estimate: Estimate, most: float) -> Estimate:
    """A mean of values in [0, `most`], where an interval of few of them may reach further."""
    if estimate.interval is None:
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


def _points(difference: Estimate) -> str:
    """A difference of shares, in percentage points."""
    if difference.mean is None:
        return NOT_KNOWN
    interval = difference.interval
    if interval is not None:
        interval = Interval(100 * interval.low, 100 * interval.high)
    return _estimate(Estimate(100 * difference.mean, interval, difference.count), 0, signed=True)


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
