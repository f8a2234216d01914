"""A study's report: Markdown and a picture, from its folder's files."""

import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, select_autoescape

from counterpoise.errors import UserError
from counterpoise.plain_files import atomic_write
from counterpoise.statistics import Estimate, student_mean
from counterpoise.study.analysis import (
    FailureCount,
    Grid,
    strategy_results,
    where_beaten,
)
from counterpoise.study.results import DoneRow, plan_of, read_results

PICTURE_FILE = "stressors.png"
NOT_KNOWN = "-"


@dataclass(frozen=True)
class StudyReport:
    """What a study's folder says."""

    text: str  # all of it, in Markdown, beside the picture
    picture: bytes  # which stressor fails whom, a PNG

    @property
    def beginning(self) -> str:
        """What comes before the picture: the summary, and all strategies."""
        return self.text.partition("\n![")[0]


def study_report(folder: Path) -> StudyReport:
    """What a study's folder says.

    Raises `UserError` where the folder is no study, has no results, or a file of it is damaged.
    """
    plan, results = plan_of(folder), read_results(folder)
    if not results.rows:
        raise UserError(f"{folder}: no results yet; run the study first (`counterpoise study run`)")
    grid = Grid(plan, results)
    rows = strategy_results(grid)
    versions = defaultdict(set)
    for row in results.done:
        for package, version in row.versions.items():
            versions[package].add(version)
    text = _ENVIRONMENT.get_template("report.md.jinja").render(
        plan=plan,
        results=results,
        grid=grid,
        rows=rows,
        missing=grid.missing.sum(),
        versions=versions,
        beaten=where_beaten(grid) if "auto" in grid.strategies else {},
        scores=[_scores(grid, row) for row in {r.task: r for r in results.done}.values()],
        picture=PICTURE_FILE,
    )
    return StudyReport(text, failure_map(grid, [row.name for row in rows]))


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


def _scores(grid: Grid, row: DoneRow) -> tuple[DoneRow, list[str], list[list[str]]]:
    """The scores of the task that `row` is of: the stressors, and a line for each strategy."""
    places = [place for place, pair in enumerate(grid.pairs) if pair[0] == row.task]
    stressors = [grid.pairs[place][1] for place in places]
    scores = grid.values(lambda row: row.score)[places]
    lines = []
    for number, name in enumerate(grid.strategies):
        if not np.isnan(scores[:, number]).all():
            means = map(student_mean, scores[:, number])
            texts = (
                estimate_text(mean, 3) if stressor == "none" else _number(mean.mean, 3)
                for stressor, mean in zip(stressors, means, strict=True)
            )
            lines.append([name, *texts])
    return row, stressors, lines


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


def estimate_text(estimate: Estimate, digits: int, *, signed: bool = False) -> str:
    """A mean with its interval."""
    text = _number(estimate.mean, digits, signed=signed)
    if estimate.interval is None:
        return text
    ends = (estimate.interval.low, estimate.interval.high)
    low, high = (_number(end, digits, signed=signed) for end in ends)
    return f"{text} ({low} to {high})"


_ENVIRONMENT = Environment(
    loader=PackageLoader("counterpoise", "study"),
    autoescape=select_autoescape(),  # not of Markdown
    trim_blocks=True,
)
_ENVIRONMENT.filters |= {
    "share": share_text,
    "percent": _percent_interval,
    "estimate": estimate_text,
}
