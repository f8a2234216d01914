"""A study's report: one self-contained page, Markdown, and figures, from its folder's files."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from counterpoise.plain_files import atomic_write
from counterpoise.plotting import pyplot, rendered
from counterpoise.study import figures
from counterpoise.study.analysis import (
    Beaten,
    StrategyResult,
    failure_table,
    metric_means,
    strategy_results,
    where_beaten,
)
from counterpoise.study.plan import AUTO_TUNED_ON, StudyPlan, cells_of
from counterpoise.study.report_tables import Table, report_tables, share_text
from counterpoise.study.results import Grid, Pair, Results, grid_of, read_results
from counterpoise.study.store import plan_of

SUPER_RESOLUTION = ("sr", "sr-full", "seed")
PERCEPTION = {"sliced_wasserstein": "sliced Wasserstein distance", "lpips": "LPIPS"}


@dataclass(frozen=True)
class Figure:
    """A picture of the report."""

    name: str
    title: str
    alt: str
    svg: bytes
    png: bytes


@dataclass(frozen=True)
class StudyReport:
    """What was written, and its main words."""

    summary: str
    table: str
    tables: list[Table]
    paths: list[Path]


def write_report(folder: Path, tuned_on: Collection[Pair] = AUTO_TUNED_ON) -> StudyReport:
    """Write report.html, report.md and figures/ into a study's folder.

    Raises `UserError` where the folder is no study, has no results, or a file of it is damaged.
    """
    plan, results = plan_of(folder), read_results(folder)
    grid = grid_of(results, [(c.task, c.stressor, c.strategy, c.seed) for c in cells_of(plan)])
    rows = strategy_results(grid, tuned_on)
    sentences = _sentences(plan, grid, results, rows)
    beaten, nowhere = where_beaten(grid), _nowhere(grid)
    tables = report_tables(grid, rows, tuned_on)
    pictures = _figures(grid, rows)
    paths = [folder / "report.html", folder / "report.md"]
    page = _page(plan, sentences, beaten, nowhere, tables, pictures)
    text = _markdown(plan, sentences, beaten, nowhere, tables, pictures)
    for path, content in zip(paths, (page, text), strict=True):
        with atomic_write(path) as temporary:
            temporary.write_text(content, encoding="utf-8")
    for picture in pictures:
        for kind, data in (("svg", picture.svg), ("png", picture.png)):
            path = folder / "figures" / f"{picture.name}.{kind}"
            with atomic_write(path) as temporary:
                temporary.write_bytes(data)
            paths.append(path)
    return StudyReport(" ".join(sentences), tables[0].markdown(), tables, paths)


def _sentences(
    plan: StudyPlan, grid: Grid, results: Results, rows: Sequence[StrategyResult]
) -> list[str]:
    """The report in words, what is missing included."""
    done, expected = int(grid.done.sum()), int(grid.expected.sum())
    said = [
        f"{len(grid.tasks)} tasks ({', '.join(grid.tasks)}), {len(grid.stressors)} stressors, "
        f"{len(grid.strategies)} strategies, {len(grid.seeds)} seeds: {done} of {expected} "
        "trainings done."
    ]
    missing, errors = int(grid.missing.sum()), int((grid.error & grid.expected).sum())
    if missing:
        said.append(f"{missing} are missing: run the study again to go on.")
    if errors:
        said.append(f"{errors} ended in an error of the program and count as missing.")
    if len(grid.seeds) < 2:
        said.append("With one seed, no interval over seeds is known.")
    whole = [row for row in rows if not row.missing and row.everywhere]
    if whole:
        best = [row for row in whole if row.failures.share == whole[0].failures.share]
        names = ", ".join(row.name for row in best)
        said.append(f"Fewest failures: {names}, {share_text(best[0].failures)}.")
    auto = next((row for row in rows if row.name == "auto"), None)
    if auto is not None and auto.failures.of:
        where = "; where it was never tuned, " + share_text(auto.untuned) if auto.untuned.of else ""
        said.append(f"auto fails in {share_text(auto.failures)}{where}.")
    measured = {name for row in results.done for name in row.metrics}
    if "sliced_wasserstein" in measured and "lpips" not in measured:
        said.append("LPIPS was not measured: AlexNet's weights were not at hand.")
    return said + [f"{note[0].upper()}{note[1:]}." for note in results.notes]


def _figures(grid: Grid, rows: Sequence[StrategyResult]) -> list[Figure]:
    plot = pyplot()
    names = [row.name for row in rows]
    order = [grid.strategies.index(name) for name in names]
    shares = failure_table(grid)[order]
    best = rows[0]
    drawn: list[tuple[str, str, str, Any]] = [
        (
            "failures",
            "Failed trainings",
            "Bars of failed trainings by strategy; fewest: "
            f"{best.name}, {share_text(best.failures)}",
            figures.failure_bars(rows),
        ),
        (
            "stressors",
            "Which stressor fails whom",
            "Table of failed shares, strategies by stressors; the numbers are in the page's tables",
            figures.failure_map(shares, names, grid.stressors),
        ),
    ]
    if any(row.to_none.mean is not None for row in rows):
        title = "Quality against the bare loop"
        drawn.append(
            (
                "against-none",
                title,
                "Paired differences with intervals",
                figures.differences(rows, "none"),
            )
        )
    for task in grid.tasks:
        distortion = metric_means(grid, task, "rmse") if task in SUPER_RESOLUTION else {}
        for measure, words in PERCEPTION.items():
            perception = metric_means(grid, task, measure) if distortion else {}
            if any(estimate.mean is not None for estimate in perception.values()):
                drawn.append(
                    (
                        f"plane-{task}-{measure}",
                        f"Perception and distortion, task {task}, no stressor",
                        f"Strategies by RMSE and {words}; lower is better",
                        figures.plane(distortion, perception, words),
                    )
                )
    made = [
        Figure(name, title, alt, *(rendered(figure, kind) for kind in ("svg", "png")))
        for name, title, alt, figure in drawn
    ]
    plot.close("all")
    return made


def _page(
    plan: StudyPlan,
    sentences: Sequence[str],
    beaten: Sequence[Beaten],
    nowhere: str,
    tables: Sequence[Table],
    pictures: Sequence[Figure],
) -> str:
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(
        (files("counterpoise.study") / "report.html").read_text(encoding="utf-8")
    )
    shown = [
        (picture, Markup(_inline(picture.svg)))  # noqa: S704 (made by us from escaped text)
        for picture in pictures
    ]
    return template.render(
        plan=plan,
        sentences=sentences,
        beaten=beaten,
        nowhere=nowhere,
        tables=tables,
        pictures=shown,
    )


def _inline(svg: bytes) -> str:
    """The svg element alone, without the XML prologue."""
    text = svg.decode("utf-8")
    return text[text.index("<svg") :]


def _markdown(
    plan: StudyPlan,
    sentences: Sequence[str],
    beaten: Sequence[Beaten],
    nowhere: str,
    tables: Sequence[Table],
    pictures: Sequence[Figure],
) -> str:
    parts = [f"# Study {plan.name}", " ".join(sentences)]
    if beaten or nowhere:
        listed = "\n".join(f"- {_beaten(item)}" for item in beaten)
        parts += ["## Where auto is beaten", listed or nowhere]
    parts += [f"![{p.alt}](figures/{p.name}.png)" for p in pictures]
    for table in tables:
        parts += [f"## {table.title}", table.note, table.markdown()]
    return "\n\n".join(parts) + "\n"


def _nowhere(grid: Grid) -> str:
    """What to say where `auto` is beaten nowhere; empty where it takes no part."""
    if grid.place("auto") is None:
        return ""
    open_yet = int(grid.missing.sum())
    if open_yet or len(grid.seeds) < 2:
        missing = f"{open_yet} trainings are missing" if open_yet else "there is one seed only"
        return f"Nowhere so far, but {missing}: not all pairs could be compared."
    return "Nowhere beyond chance."


def _beaten(item: Beaten) -> str:
    return f"{'/'.join(item.pair)}: {item.strategy} ({item.why})"
