"""`counterpoise study`: run, report, list."""

import os
import signal
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Literal, cast

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar
from rich.table import Table

from counterpoise.study.plan import PLANS, StudyPlan, load_plan
from counterpoise.study.play import play_cell
from counterpoise.study.report import write_report
from counterpoise.study.run import Progress, run_study, selected
from counterpoise.study.store import StudyFolder
from counterpoise.study.strategies import STRATEGIES
from counterpoise.study.stressors import STRESSORS
from counterpoise.study.tasks import TASKS

# Where the output is piped: seconds between two lines on the progress.
PLAIN_EVERY_SECONDS = 30.0


def run(
    source: str,
    overrides: Sequence[str],
    out: Path | None,
    workers: int | None,
    executor: str,
    address: str | None,
    only: Sequence[str],
    dry_run: bool,
    console: Console,
) -> int:
    """Run a study with its progress shown; the exit code."""
    plan = load_plan(source, overrides)
    folder = out or Path("runs") / f"study-{plan.name}"
    count = workers or usable_cores()
    if dry_run:
        _describe(plan, folder, only, console)
        return 0
    signal.signal(signal.SIGTERM, _interrupt)
    resume = f"counterpoise study run --plan {source} --out {folder}"
    with _Watch(console) as watch:
        try:
            progress = run_study(
                plan,
                folder,
                play_cell,
                workers=count,
                executor=cast(Literal["local", "ray"], executor),
                address=address,
                only=only,
                watch=watch,
            )
        except KeyboardInterrupt:
            console.print(
                f"interrupted; what is done is kept. Go on with: {resume}",
                highlight=False,
                soft_wrap=True,
            )
            raise
    console.print(table_of(progress))
    for row in progress.errors[:5]:
        key = "/".join(str(row[name]) for name in ("task", "stressor", "strategy", "seed"))
        console.print(f"error in {key}: {row['message']}", highlight=False, soft_wrap=True)
    if progress.errors:
        console.print(
            f"{len(progress.errors)} cells ended in an error; run the same command to try again",
            highlight=False,
            soft_wrap=True,
        )
    console.print(f"next: counterpoise study report {folder}", highlight=False, soft_wrap=True)
    return 1 if progress.errors else 0


def report(folder: Path, console: Console) -> None:
    """Write a study's report and print its table."""
    written = write_report(folder)
    console.print(written.summary, highlight=False, soft_wrap=True, markup=False)
    console.print(written.table, highlight=False, soft_wrap=True, markup=False)
    for path in written.paths:
        console.print(str(path), highlight=False, soft_wrap=True)


def list_names(console: Console) -> None:
    """All names that a plan may use."""

    def say(title: str, entries: dict[str, str]) -> None:
        console.print(f"{title}:", highlight=False)
        for name, text in entries.items():
            console.print(f"  {name:<22}{text}", highlight=False, soft_wrap=True, markup=False)

    say("plans", {n: f"{len(selected(p, ()))} cells" for n, p in PLANS.items()})
    say("tasks", {n: t.description for n, t in TASKS.items()})
    say("stressors", {n: s.description for n, s in STRESSORS.items()})
    say("strategies", {n: f"{s.description} [{s.kind}]" for n, s in STRATEGIES.items()})


def usable_cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def table_of(progress: Progress) -> Table:
    """Cells done, failed and their median seconds, by strategy."""
    table = Table("strategy", "done", "failed", "errors", "median seconds")
    for name in dict.fromkeys(row["strategy"] for row in progress.rows):
        rows = [row for row in progress.rows if row["strategy"] == name]
        done = [row for row in rows if row["status"] == "done"]
        failed = sum(bool(row["failures"]) for row in done)
        seconds = statistics.median(row["seconds"] for row in done) if done else float("nan")
        errors = len(rows) - len(done)
        table.add_row(name, str(len(done)), str(failed), str(errors or ""), f"{seconds:.1f}")
    return table


def _describe(plan: StudyPlan, folder: Path, only: Sequence[str], console: Console) -> None:
    cells = selected(plan, only)
    rows = StudyFolder(folder).finished()
    done = sum(rows.get(cell.key, {}).get("status") == "done" for cell in cells)
    console.print(plan.to_yaml(), highlight=False, soft_wrap=True, markup=False)
    console.print(
        f"{len(cells)} cells, {done} of them done in {folder}", highlight=False, soft_wrap=True
    )


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


class _Watch:
    """A bar and a table in a terminal; a line now and then where the output is piped."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said = 0.0
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._bar.add_task("cells")
        self._live: Live | None = None

    def __enter__(self) -> Callable[[Progress, str], None]:
        if self._console.is_terminal:
            self._live = Live(self._bar, console=self._console, refresh_per_second=2)
            self._live.start()
        return self._show

    def __exit__(self, *error: Any) -> None:
        if self._live is not None:
            self._live.stop()

    def _show(self, progress: Progress, message: str) -> None:
        if message:
            self._console.print(message, highlight=False, soft_wrap=True)
        self._bar.update(self._task, total=progress.cells, completed=progress.done)
        if self._live is not None:
            self._live.update(Group(table_of(progress), self._bar))
            return
        now = time.monotonic()
        if now - self._said >= PLAIN_EVERY_SECONDS or progress.done == progress.cells:
            self._said = now
            failed = sum(bool(row.get("failures")) for row in progress.rows)
            errors = f", {len(progress.errors)} errors" if progress.errors else ""
            self._console.print(
                f"{progress.done} of {progress.cells} cells, {failed} failed trainings{errors}",
                highlight=False,
                soft_wrap=True,
            )
