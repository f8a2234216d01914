"""A study's report in Markdown, from its folder's files."""

from collections import defaultdict
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, select_autoescape

from counterpoise.errors import UserError
from counterpoise.statistics import Estimate, student_mean
from counterpoise.study.analysis import Grid, strategy_results
from counterpoise.study.results import DoneRow, plan_of, read_results

NOT_KNOWN = "-"
# What comes before it is the summary, and which stressor fails whom.
DETAILS = "\n## All strategies"
# A cell of that map, by its share: a heat map that every terminal and page can show.
HEAT = "·░▒▓█"


def study_report(folder: Path) -> str:
    """What a study's folder says.

    Raises `UserError` where the folder is no study, has no results, or a file of it is damaged.
    """
    plan, results = plan_of(folder), read_results(folder)
    if not results.rows:
        raise UserError(f"{folder}: no results yet; run the study first (`counterpoise study run`)")
    grid = Grid(plan, results)
    rows = strategy_results(grid)
    versions = defaultdict(set)
    for row in results.rows.values():
        for package, version in row.versions.items():
            versions[package].add(version)
    return _ENVIRONMENT.get_template("report.md.jinja").render(
        plan=plan,
        results=results,
        grid=grid,
        rows=rows,
        missing=grid.missing.sum(),
        versions=versions,
        details=DETAILS,
        failures=[
            [row.name + " (not in all tasks)" * (not row.everywhere), *_failures(grid, row.name)]
            for row in rows
        ],
        scores=[_scores(grid, row) for row in {r.task: r for r in results.rows.values()}.values()],
    )


def _failures(grid: Grid, strategy: str) -> list[str]:
    """A strategy's share of failed trainings under each stressor, over tasks and seeds."""
    failed = grid.failed_percent()[:, grid.strategies.index(strategy)]
    line = []
    for stressor in grid.stressors:
        values = failed[[pair[1] == stressor for pair in grid.pairs]]
        values = values[~np.isnan(values)]
        if len(values):
            share = values.mean()
            heat = HEAT[int(np.ceil(share / 100 * (len(HEAT) - 1)))]
            line.append(f"{heat} {share:.0f}")
        else:
            line.append(NOT_KNOWN)
    return line


def _scores(grid: Grid, row: DoneRow) -> tuple[DoneRow, list[str], list[list[str]]]:
    """The scores of the task that `row` is of: the stressors, and a line for each strategy."""
    places = [place for place, pair in enumerate(grid.pairs) if pair[0] == row.task]
    stressors = [grid.pairs[place][1] for place in places]
    scores = grid.values(lambda row: row.score)[places]
    lines = []
    for number, name in enumerate(grid.strategies):
        if not np.isnan(scores[:, number]).all():
            means = (student_mean(seeds).mean for seeds in scores[:, number])
            lines.append([name, *(_number(mean, 3) for mean in means)])
    return row, stressors, lines


def share_text(share: Estimate) -> str:
    """Failures in words."""
    if share.mean is None:
        return NOT_KNOWN
    return f"{share.mean * share.count:.0f} of {share.count} ({100 * share.mean:.0f} %)"


def _percent_interval(share: Estimate) -> str:
    if share.interval is None:
        return NOT_KNOWN
    return f"{100 * share.interval.low:.0f} to {100 * share.interval.high:.0f} %"


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
