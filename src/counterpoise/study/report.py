"""A study's report: Markdown and a picture, from its folder's files."""

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from counterpoise.errors import UserError
from counterpoise.plain_files import atomic_write
from counterpoise.statistics import Estimate, student_mean
from counterpoise.study.analysis import (
    FailureCount,
    Grid,
    StrategyResult,
    paired,
    strategy_results,
    where_beaten,
)
from counterpoise.study.results import DoneRow, Results, plan_of, read_results
from counterpoise.study.strategies import STRATEGIES

PICTURE_FILE = "stressors.png"
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


@dataclass(frozen=True)
class StudyReport:
    """What a study's folder says."""

    text: str  # all of it, in Markdown, beside the picture
    summary: str
    tables: list[Table]
    picture: bytes  # which stressor fails whom, a PNG


def study_report(folder: Path) -> StudyReport:
    """What a study's folder says.

    Raises `UserError` where the folder is no study, has no results, or a file of it is damaged.
    """
    plan, results = plan_of(folder), read_results(folder)
    if not results.rows:
        raise UserError(f"{folder}: no results yet; run the study first (`counterpoise study run`)")
    grid = Grid(plan, results)
    rows = strategy_results(grid)
    summary = " ".join([*_sentences(grid, rows), *_notes(results)])
    tables = report_tables(grid, rows)
    parts = [f"# Study {plan.name}", summary]
    if "auto" in grid.strategies:
        parts += ["## Where auto is beaten", _beaten(grid)]
    parts.append(f"![Which stressor fails whom]({PICTURE_FILE})")
    for table in tables:
        parts += [f"## {table.title}", table.note, table.markdown()]
    picture = failure_map(grid, [row.name for row in rows])
    return StudyReport("\n\n".join(parts) + "\n", summary, tables, picture)


def write_report(folder: Path, report: StudyReport) -> list[Path]:
    """Write report.md and its picture into a study's folder; what was written."""
    files = {folder / "report.md": report.text.encode(), folder / PICTURE_FILE: report.picture}
    for path, content in files.items():
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)
    return list(files)


def failure_map(grid: Grid, strategies: Sequence[str]) -> bytes:
    """Strategies against stressors: the share of failed trainings, as a PNG; `UserError` without
    matplotlib, an extra."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        missing = "figures need matplotlib; install it: pip install 'counterpoise[study]'"
        raise UserError(missing) from None
    places = [grid.strategies.index(name) for name in strategies]
    failed = grid.failed_percent()[:, places]
    shares = np.full((len(strategies), len(grid.stressors)), np.nan)
    for column, stressor in enumerate(grid.stressors):
        under = [pair[1] == stressor for pair in grid.pairs]
        # Over tasks and seeds; NaN without a cell.
        counted = np.ma.masked_invalid(failed[under]).mean((0, 2))
        shares[:, column] = counted.filled(np.nan)
    size = (1.8 + 0.62 * len(grid.stressors), 1.4 + 0.27 * len(strategies))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.set_facecolor("#e4e6ea")  # seen where there is no cell
    axes.imshow(np.ma.masked_invalid(shares), cmap="YlOrRd", vmin=0, vmax=100, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        if not np.isnan(share):
            colour = "white" if share > 60 else "#222"
            text = axes.text(column, row, f"{share:.0f}", color=colour, fontsize=7)
            text.set(ha="center", va="center")
    axes.set_xticks(range(len(grid.stressors)), grid.stressors, rotation=40, ha="right", fontsize=8)
    axes.set_yticks(range(len(strategies)), strategies, fontsize=8)
    axes.set_title("failed trainings, %", fontsize=9)
    png = io.BytesIO()
    # The same file for the same numbers.
    figure.savefig(png, format="png", dpi=150, metadata={"Software": None})
    return png.getvalue()


def _beaten(grid: Grid) -> str:
    """Where `auto` is beaten, by whom and why, as a list."""
    listed = [f"- {pair}: {who} ({why})" for pair, (who, why) in where_beaten(grid).items()]
    if listed:
        return "\n".join(listed)
    if not grid.missing.any() and len(grid.seeds) > 1:
        return "Nowhere beyond chance."
    return (
        f"Nowhere so far, of {len(grid.seeds)} seeds and with {int(grid.missing.sum())} "
        "trainings missing: not all pairs could be compared."
    )


def _sentences(grid: Grid, rows: Sequence[StrategyResult]) -> list[str]:
    """The report in words, what is missing included."""
    done, expected = int(grid.done.sum()), int(grid.expected.sum())
    said = [
        f"{len(grid.tasks)} tasks ({', '.join(grid.tasks)}), {len(grid.stressors)} stressors, "
        f"{len(grid.strategies)} strategies, {len(grid.seeds)} seeds: {done} of {expected} "
        "trainings done."
    ]
    if missing := int(grid.missing.sum()):
        said.append(f"{missing} are missing: run the study again to go on.")
    if len(grid.seeds) < 2:
        said.append("With one seed, no interval over seeds is known.")
    whole = [row for row in rows if not row.missing and row.everywhere]
    if whole:
        best = [row.name for row in whole if row.failures.share == whole[0].failures.share]
        said.append(f"Fewest failures: {', '.join(best)}, {share_text(whole[0].failures)}.")
    auto = next((row for row in rows if row.name == "auto"), None)
    if auto is not None and auto.failures.of:
        where = "; where it was never tuned, " + share_text(auto.untuned) if auto.untuned.of else ""
        said.append(f"auto fails in {share_text(auto.failures)}{where}.")
    return said


def _notes(results: Results) -> list[str]:
    """What is odd about the rows."""
    notes = [f"Left out: {note}." for note in results.notes]
    for package in sorted({name for row in results.done for name in row.versions}):
        versions = sorted({row.versions.get(package, "unknown") for row in results.done})
        if len(versions) > 1:
            notes.append(f"Rows are from several versions of {package}: {', '.join(versions)}.")
    return notes


def report_tables(grid: Grid, rows: Sequence[StrategyResult]) -> list[Table]:
    """All tables of the report, the most important one first."""
    changes = [_changes_table(grid, rows)] if "seed-loop" in grid.strategies else []
    of_tasks = {row.task: row for row in grid.rows[grid.done]}.values()
    return [*changes, _main_table(rows), *(_quality_table(grid, row) for row in of_tasks)]


def _main_table(rows: Sequence[StrategyResult]) -> Table:
    note = (
        "Failed: diverged, collapsed (coverage under half), or a score under half as good as the "
        "bare loop's without a stressor. D saturated, which is no failure by itself: its AUC on "
        "clean samples is 0.99 or more over the last quarter. Intervals of shares are Wilson's, "
        "95 %, with the seeds of a task under a stressor as one trial, since they mostly fail "
        "together. Rank: mean over task, stressor and seed by the task's score, failures last; "
        "only of strategies that have every training. Difference: paired over the same task, "
        "stressor and seed, in spreads of the task's score. Of failures it is in "
        "percentage points. Differences and ranks have a hierarchical bootstrap interval."
    )
    columns: dict[str, Callable[[StrategyResult], str]] = {
        "strategy": lambda row: row.name + ("" if row.everywhere else " (not in all tasks)"),
        "failed": lambda row: (
            share_text(row.failures) + (f" ({row.missing} missing)" if row.missing else "")
        ),
        "95 %": lambda row: _percent_interval(row.failures),
        "failures against auto": lambda row: _estimate(row.failed_to_auto, 0, signed=True),
        "D saturated": lambda row: share_text(row.saturated),
        "failed where auto was never tuned": lambda row: share_text(row.untuned),
        "mean rank": lambda row: _estimate(row.rank, 1),
        "quality against none": lambda row: _estimate(row.to_none, 2, signed=True),
        "quality against auto": lambda row: _estimate(row.to_auto, 2, signed=True),
    }
    lines = [tuple(text(row) for text in columns.values()) for row in rows]
    return Table("All strategies", note, tuple(columns), lines)


def _quality_table(grid: Grid, row: DoneRow) -> Table:
    """The scores of the task that `row` is of."""
    places = [place for place, pair in enumerate(grid.pairs) if pair[0] == row.task]
    stressors = [grid.pairs[place][1] for place in places]
    scores = grid.values(lambda row: row.score)[places]
    lines = []
    for number, name in enumerate(grid.strategies):
        if not np.isnan(scores[:, number]).all():
            means = map(student_mean, scores[:, number])
            texts = (
                _estimate(mean, 3) if stressor == "none" else _number(mean.mean, 3)
                for stressor, mean in zip(stressors, means, strict=True)
            )
            lines.append((name, *texts))
    direction = "higher" if row.higher_is_better else "lower"
    title = f"{row.task}: {row.score_name.replace('_', ' ')} ({direction} is better)"
    note = "Mean over seeds; under `none` with Student's 95 % interval."
    return Table(title, note, ("strategy", *stressors), lines)


def _changes_table(grid: Grid, rows: Sequence[StrategyResult]) -> Table:
    """What each change to the question's loop does."""
    saturated = {row.name: row.saturated for row in rows}

    def column(
        value: Callable[[DoneRow], float | None], digits: int, highest: float = math.inf
    ) -> list[str]:
        # The plan has one pair. Intervals of few values can reach further than these can be.
        means = map(student_mean, grid.values(value)[0])
        return [_estimate(mean, digits, lowest=0.0, highest=highest) for mean in means]

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
        (
            "change",
            "D saturated",
            "D's accuracy",
            "AUC",
            "D trained, %",
            "texture",
            "against the loop",
        ),
        [
            (
                STRATEGIES[name].description,
                share_text(saturated[name]),
                *measured,
                _estimate(paired(grid, name, "seed-loop", grid.quality), 2, signed=True),
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
    estimate: Estimate,
    digits: int,
    *,
    signed: bool = False,
    lowest: float = -math.inf,
    highest: float = math.inf,
) -> str:
    """A mean with its interval, between the lowest and the highest that values can be."""
    text = _number(estimate.mean, digits, signed=signed)
    if estimate.interval is None:
        return text
    ends = np.clip([estimate.interval.low, estimate.interval.high], lowest, highest)
    low, high = (_number(end, digits, signed=signed) for end in ends)
    return f"{text} ({low} to {high})"
