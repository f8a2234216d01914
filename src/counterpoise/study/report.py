"""A study's report: one self-contained page, Markdown, and figures, from its folder's files."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from counterpoise.errors import UserError
from counterpoise.plain_files import atomic_write
from counterpoise.study.analysis import StrategyResult, strategy_results, where_beaten
from counterpoise.study.figures import Figure, study_figures
from counterpoise.study.grid import Grid, Pair
from counterpoise.study.plan import AUTO_TUNED_ON
from counterpoise.study.results import Results, plan_of, read_results
from counterpoise.study.tables import Table, report_tables, share_text


@dataclass(frozen=True)
class StudyReport:
    """What the page and the Markdown file say, in their order."""

    name: str
    summary: str
    # Task/stressor where `auto` is beaten, by whom, and why; None where it takes no part.
    beaten: dict[str, tuple[str, str]] | None
    nowhere: str
    figures: list[Figure]
    tables: list[Table]

    def html(self) -> str:
        """One page that loads nothing."""
        environment = Environment(
            loader=PackageLoader("counterpoise", "study"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        # The svg element alone, without the XML prologue.
        svgs = [f.svg.decode("utf-8").partition("<svg")[2] for f in self.figures]
        drawn = [Markup(f"<svg{svg}") for svg in svgs]  # noqa: S704 (made by us from escaped text)
        pictures = zip(self.figures, drawn, strict=True)
        return environment.get_template("report.html").render(report=self, pictures=pictures)

    def markdown(self) -> str:
        """The same in Markdown, beside the folder `figures`."""
        parts = [f"# Study {self.name}", self.summary]
        if self.beaten is not None:
            listed = [f"- {pair}: {who} ({why})" for pair, (who, why) in self.beaten.items()]
            parts += ["## Where auto is beaten", "\n".join(listed) or self.nowhere]
        parts += [f"![{figure.title}](figures/{figure.name}.png)" for figure in self.figures]
        for table in self.tables:
            parts += [f"## {table.title}", table.note, table.markdown()]
        return "\n\n".join(parts) + "\n"


def study_report(folder: Path, tuned_on: Collection[Pair] = AUTO_TUNED_ON) -> StudyReport:
    """What a study's folder says.

    Raises `UserError` where the folder is no study, has no results, or a file of it is damaged.
    """
    plan, results = plan_of(folder), read_results(folder)
    if not results.rows:
        raise UserError(f"{folder}: no results yet; run the study first (`counterpoise study run`)")
    grid = Grid(plan, results)
    rows = strategy_results(grid, tuned_on)
    nowhere = "Nowhere beyond chance."
    if grid.missing.any() or len(grid.seeds) < 2:
        nowhere = (
            f"Nowhere so far, of {len(grid.seeds)} seeds and with {int(grid.missing.sum())} "
            "trainings missing: not all pairs could be compared."
        )
    return StudyReport(
        plan.name,
        " ".join([*_sentences(grid, rows), *_notes(results)]),
        None if grid.place("auto") is None else where_beaten(grid),
        nowhere,
        study_figures(grid, rows),
        report_tables(grid, rows, tuned_on),
    )


def write_report(folder: Path, report: StudyReport) -> list[Path]:
    """Write report.html, report.md and figures/ into a study's folder; what was written."""
    files = {
        "report.html": report.html().encode(),
        "report.md": report.markdown().encode(),
    }
    for figure in report.figures:
        files[f"figures/{figure.name}.png"] = figure.png
    for name, content in files.items():
        with atomic_write(folder / name) as temporary:
            temporary.write_bytes(content)
    return [folder / name for name in files]


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
    measured = {name for row in grid.rows[grid.done] for name in row.metrics}
    if "sliced_wasserstein" in measured and "lpips" not in measured:
        said.append("LPIPS was not measured: AlexNet's weights were not at hand.")
    return said


def _notes(results: Results) -> list[str]:
    """What is odd about the rows."""
    notes = [f"Left out: {note}." for note in results.notes]
    for package in sorted({name for row in results.done for name in row.versions}):
        versions = sorted({row.versions.get(package, "unknown") for row in results.done})
        if len(versions) > 1:
            notes.append(f"Rows are from several versions of {package}: {', '.join(versions)}.")
    return notes
