"""A study's report: Markdown and a picture, from its folder's files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from counterpoise.errors import UserError
from counterpoise.plain_files import atomic_write
from counterpoise.plotting import pyplot, rendered
from counterpoise.study.analysis import Grid, StrategyResult, strategy_results, where_beaten
from counterpoise.study.results import Results, plan_of, read_results
from counterpoise.study.tables import Table, report_tables, share_text

PICTURE_FILE = "stressors.png"


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
    """Strategies against stressors: the share of failed trainings, as a PNG."""
    places = [grid.strategies.index(name) for name in strategies]
    failed = grid.failed_percent()[:, places]
    shares = np.full((len(strategies), len(grid.stressors)), np.nan)
    for column, stressor in enumerate(grid.stressors):
        under = [pair[1] == stressor for pair in grid.pairs]
        # Over tasks and seeds; NaN without a cell.
        counted = np.ma.masked_invalid(failed[under]).mean((0, 2))
        shares[:, column] = counted.filled(np.nan)
    size = (1.8 + 0.62 * len(grid.stressors), 1.4 + 0.27 * len(strategies))
    plot = pyplot()
    figure, axes = plot.subplots(figsize=size, layout="constrained")
    axes.set_facecolor("#e4e6ea")  # seen where there is no cell
    axes.imshow(np.ma.masked_invalid(shares), cmap="YlOrRd", vmin=0, vmax=100, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        if not np.isnan(share):
            style = {"ha": "center", "va": "center", "fontsize": 7}
            colour = "white" if share > 60 else "#222"
            axes.text(column, row, f"{share:.0f}", color=colour, **style)
    axes.set_xticks(range(len(grid.stressors)), grid.stressors, rotation=40, ha="right", fontsize=8)
    axes.set_yticks(range(len(strategies)), strategies, fontsize=8)
    axes.set_title("failed trainings, %", fontsize=9)
    png = rendered(figure, "png")
    plot.close(figure)
    return png


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
    missing, errors = int(grid.missing.sum()), int(grid.error.sum())
    if missing:
        said.append(f"{missing} are missing: run the study again to go on.")
    if errors:
        said.append(f"{errors} ended in an error of the program and count as missing.")
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
