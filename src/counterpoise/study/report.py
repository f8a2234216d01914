"""A study's report: one self-contained page, Markdown, and figures, from its folder's files."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from counterpoise.run_folder import atomic_write
from counterpoise.study import figures
from counterpoise.study.analysis import (
    Beaten,
    FailureCount,
    StrategyResult,
    failure_table,
    metric_means,
    strategy_results,
    task_scores,
    where_beaten,
)
from counterpoise.study.plan import AUTO_TUNED_ON, StudyPlan, cells_of
from counterpoise.study.results import Grid, Pair, Results, grid_of, read_results
from counterpoise.study.statistics import Estimate
from counterpoise.study.store import plan_of

SUPER_RESOLUTION = ("sr", "sr-full", "seed")
PERCEPTION = {"sliced_wasserstein": "sliced Wasserstein distance", "lpips": "LPIPS"}
NOT_KNOWN = "-"


@dataclass(frozen=True)
class Figure:
    """A picture of the report."""

    name: str
    title: str
    alt: str
    svg: bytes
    png: bytes


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
    beaten = where_beaten(grid)
    tables = _tables(grid, rows, tuned_on)
    pictures = _figures(grid, rows)
    paths = [folder / "report.html", folder / "report.md"]
    page = _page(plan, sentences, beaten, tables, pictures)
    text = _markdown(plan, sentences, beaten, tables, pictures)
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
        said.append(f"Fewest failures: {names}, {_share(best[0].failures)}.")
    auto = next((row for row in rows if row.name == "auto"), None)
    if auto is not None and auto.failures.of:
        where = "; where it was never tuned, " + _share(auto.untuned) if auto.untuned.of else ""
        said.append(f"auto fails in {_share(auto.failures)}{where}.")
    measured = {name for row in results.done for name in row.metrics}
    if "sliced_wasserstein" in measured and "lpips" not in measured:
        said.append("LPIPS was not measured: AlexNet's weights were not at hand.")
    return said + [f"{note[0].upper()}{note[1:]}." for note in results.notes]


def _tables(grid: Grid, rows: Sequence[StrategyResult], tuned_on: Collection[Pair]) -> list[Table]:
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
        "samples is 0.99 or more over the last quarter). Intervals of shares are Wilson's, 95 %. "
        "Rank: mean over task, stressor and seed by the task's score, failures last; only of "
        "strategies that have every training. Difference: paired over the same task, stressor "
        "and seed, in spreads of the task's score, with a hierarchical bootstrap interval."
    )
    return Table(
        "All strategies",
        note,
        (
            "strategy",
            "failed",
            "95 %",
            "diverged or collapsed",
            "failed where auto was never tuned",
            "mean rank",
            "quality against none",
            "quality against auto",
        ),
        [
            (
                row.name + ("" if row.everywhere else " (not in all tasks)"),
                _share(row.failures) + (f" ({row.missing} missing)" if row.missing else ""),
                _percent_interval(row.failures),
                _share(row.by_quality),
                _share(row.untuned),
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
    from counterpoise.study.analysis import paired
    from counterpoise.study.statistics import student_mean
    from counterpoise.study.strategies import STRATEGIES

    by_name = {row.name: row for row in rows}
    lines = []
    for name in grid.strategies:
        place = grid.place(name)
        assert place is not None, "it is the grid's"

        def mean(key: str, place: int = place) -> str:
            values = grid.values(lambda row: row.d_last_quarter.get(key))
            return _estimate(student_mean(values[0, place]), 2)

        updates = grid.values(lambda row: row.d_updates / row.steps)[0, place]
        lines.append(
            (
                STRATEGIES[name].description,
                _share(by_name[name].failures),
                mean("accuracy"),
                mean("auc"),
                _estimate(student_mean(100 * updates), 0),
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


def _figures(grid: Grid, rows: Sequence[StrategyResult]) -> list[Figure]:
    plot = figures.pyplot()
    names = [row.name for row in rows]
    order = [grid.strategies.index(name) for name in names]
    shares = failure_table(grid)[order]
    best = rows[0]
    drawn: list[tuple[str, str, str, Any]] = [
        (
            "failures",
            "Failed trainings",
            f"Bars of failed trainings by strategy; fewest: {best.name}, {_share(best.failures)}",
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
        Figure(name, title, alt, *(figures.rendered(figure, kind) for kind in ("svg", "png")))
        for name, title, alt, figure in drawn
    ]
    plot.close("all")
    return made


def _page(
    plan: StudyPlan,
    sentences: Sequence[str],
    beaten: Sequence[Beaten],
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
        plan=plan, sentences=sentences, beaten=beaten, tables=tables, pictures=shown
    )


def _inline(svg: bytes) -> str:
    """The svg element alone, without the XML prologue."""
    text = svg.decode("utf-8")
    return text[text.index("<svg") :]


def _markdown(
    plan: StudyPlan,
    sentences: Sequence[str],
    beaten: Sequence[Beaten],
    tables: Sequence[Table],
    pictures: Sequence[Figure],
) -> str:
    parts = [f"# Study {plan.name}", " ".join(sentences), "## Where auto is beaten"]
    parts.append("\n".join(f"- {_beaten(item)}" for item in beaten) or "Nowhere beyond chance.")
    parts += [f"![{p.alt}](figures/{p.name}.png)" for p in pictures]
    for table in tables:
        parts += [f"## {table.title}", table.note, table.markdown()]
    return "\n\n".join(parts) + "\n"


def _beaten(item: Beaten) -> str:
    return f"{'/'.join(item.pair)}: {item.strategy} ({item.why})"


def _share(count: FailureCount) -> str:
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
