"""`counterpoise study`: run, report, list."""

import contextlib
import os
import shlex
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Literal

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from counterpoise.commands.console import progress_columns, say
from counterpoise.study.plan import PLANS, StudyPlan, cells_of, load_plan
from counterpoise.study.play import play_cell
from counterpoise.study.ray_workers import RayWorkers
from counterpoise.study.results import DoneRow, StudyRow, is_study_of, read_results
from counterpoise.study.run import StudyProgress, run_study, selected
from counterpoise.study.strategies import STRATEGIES
from counterpoise.study.stressors import STRESSORS
from counterpoise.study.tasks import TASKS
from counterpoise.study.workers import LocalWorkers, Workers

# Where the output is piped, a line on the progress comes as soon as either has passed.
PLAIN_EVERY_SECONDS, PLAIN_EVERY_SHARE = 30.0, 0.05
# Cells take seconds to minutes: the ETA is of the last half hour, not half minute.
ETA_SECONDS = 1800.0
SHOWN_ERRORS = 5
EXIT_INTERRUPTED = 130


def run(
    source: str,
    overrides: Sequence[str],
    out: Path | None,
    count: int | None,
    executor: Literal["local", "ray"],
    address: str | None,
    only: Sequence[str],
    dry_run: bool,
    console: Console,
) -> int:
    """Run a study with its progress shown; the exit code."""
    plan = _with_absolute_folders(load_plan(source, overrides))
    folder = out if out is not None else Path("runs") / f"study-{plan.name}"
    count = count if count is not None else usable_cores()
    if dry_run:
        cells = selected(plan, only)
        is_study_of(folder, plan)
        done = len({row.cell for row in read_results(folder).done} & set(cells))
        say(console, plan.to_yaml())
        say(console, f"{len(cells)} cells, {done} of them done in {folder}; would run the rest")
        say(console, f"executor: {executor}, workers: {count}")
        return 0
    workers: Workers = LocalWorkers(play_cell, plan, count)
    if executor == "ray":
        workers = RayWorkers(play_cell, plan, count, address)
    again = shlex.join(["counterpoise", *sys.argv[1:]])
    with _progress_shown(console) as watch, _terminated_as_interrupted():
        try:
            progress = run_study(plan, folder, workers, only=only, watch=watch)
        except KeyboardInterrupt:
            say(console, f"stopped; finished cells are kept in {folder}. Go on with: {again}")
            return EXIT_INTERRUPTED
    console.print(_table_of(progress.rows, plan.strategies))
    for row in progress.errors[:SHOWN_ERRORS]:
        say(console, f"error in {row.cell.key}: {row.message}")
    if errors := len(progress.errors):
        what = "1 cell ended in an error" if errors == 1 else f"{errors} cells ended in errors"
        say(console, f"{what} of the program; to try again: {again}")
    if left_out := len(cells_of(plan)) - progress.cells:
        say(console, f"--only left out {left_out} cells of the plan")
    say(console, f"next: {shlex.join(['counterpoise', 'study', 'report', str(folder)])}")
    return 1 if errors else 0


def report(folder: Path, console: Console) -> None:
    """Write a study's report and print its first table."""
    # A study runs where what its report draws with is not installed.
    from counterpoise.study.report import study_report, write_report

    found = study_report(folder)
    written = write_report(folder, found)
    say(console, found.summary)
    say(console, found.tables[0].markdown())
    for path in written:
        say(console, str(path))


def list_names(console: Console) -> None:
    """All names that a plan may use."""
    lists = {
        "plans": {name: _size(plan) for name, plan in PLANS.items()},
        "tasks": {name: task.description for name, task in TASKS.items()},
        "stressors": {name: stressor.description for name, stressor in STRESSORS.items()},
        "strategies": {n: f"{s.description} [{s.kind}]" for n, s in STRATEGIES.items()},
    }
    for title, described in lists.items():
        say(console, f"{title}:")
        width = max(map(len, described)) + 2
        for name, text in described.items():
            say(console, f"  {name:<{width}}{text}")


def usable_cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _table_of(rows: Sequence[StudyRow], strategies: Sequence[str]) -> Table:
    """Cells done, trainings that failed and median seconds, by strategy."""
    table = Table("strategy")
    for heading in ("done", "failed", "errors", "median seconds"):
        table.add_column(heading, justify="right")
    for name in strategies:
        done = [row for row in rows if row.strategy == name and isinstance(row, DoneRow)]
        errors = sum(row.strategy == name for row in rows) - len(done)
        if done or errors:
            failed = sum(bool(row.failures) for row in done)
            seconds = f"{statistics.median(row.seconds for row in done):.1f}" if done else ""
            table.add_row(name, str(len(done)), str(failed), str(errors or ""), seconds)
    return table


def _with_absolute_folders(plan: StudyPlan) -> StudyPlan:
    """The plan with folders that it can be resumed with, and played by Ray, from anywhere."""
    folders = tuple(Path(os.path.abspath(folder)) for folder in plan.data_folders)
    return plan.model_copy(update={"data_folders": folders})


def _size(plan: StudyPlan) -> str:
    """A plan in one line."""
    lists = ("tasks", "stressors", "strategies", "seeds")
    parts = ", ".join(f"{len(getattr(plan, name))} {name}" for name in lists)
    return f"{len(cells_of(plan))} cells: {parts}; on {plan.device}"


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _progress_shown(console: Console) -> Iterator[Callable[[StudyProgress, str], None]]:
    """Show a bar in a terminal, and a line now and then where the output is piped."""
    bar = Progress(
        *progress_columns(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
        speed_estimate_period=ETA_SECONDS,
    )
    task = bar.add_task("cells", total=None)
    said_at, said = 0.0, -1

    def show(progress: StudyProgress, message: str) -> None:
        nonlocal said_at, said
        if message:
            say(console, message)
        done, now = len(progress.rows), time.monotonic()
        bar.update(task, total=progress.cells, completed=done)
        few = done - said < PLAIN_EVERY_SHARE * progress.cells
        recent = now - said_at < PLAIN_EVERY_SECONDS
        if console.is_terminal or (said >= 0 and done < progress.cells and few and recent):
            return
        said_at, said = now, done
        failed = sum(isinstance(row, DoneRow) and bool(row.failures) for row in progress.rows)
        words = [f"{done} of {progress.cells} cells", f"{failed} failed trainings"]
        if progress.errors:
            words.append(f"{len(progress.errors)} errors")
        say(console, ", ".join(words))

    with bar:
        yield show
