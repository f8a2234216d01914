"""`counterpoise study`: run, report, list."""

import contextlib
import os
import shlex
import signal
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from rich.console import Console, Group
from rich.live import Live
from rich.progress import Progress as Bar
from rich.table import Table

from counterpoise.commands.console import progress_columns
from counterpoise.study.plan import PLANS, StudyPlan, cells_of, load_plan
from counterpoise.study.play import play_cell
from counterpoise.study.run import Progress, Row, run_study, selected
from counterpoise.study.store import StudyFolder
from counterpoise.study.strategies import STRATEGIES
from counterpoise.study.stressors import STRESSORS
from counterpoise.study.tasks import TASKS

# Where the output is piped, a line on the progress comes as soon as either has passed.
PLAIN_EVERY_SECONDS, PLAIN_EVERY_SHARE = 30.0, 0.05
SHOWN_ERRORS = 5
EXIT_INTERRUPTED = 130


def run(
    source: str,
    overrides: Sequence[str],
    out: Path | None,
    workers: int | None,
    executor: Literal["local", "ray"],
    address: str | None,
    only: Sequence[str],
    dry_run: bool,
    console: Console,
) -> int:
    """Run a study with its progress shown; the exit code."""
    plan = _with_absolute_folders(load_plan(source, overrides))
    folder = out if out is not None else Path("runs") / f"study-{plan.name}"
    count = workers if workers is not None else usable_cores()
    if dry_run:
        _describe(plan, folder, only, f"{executor}, workers: {count}", console)
        return 0
    again = _command(source, overrides, folder, workers, executor, address, only)
    with _Watch(console) as watch, _terminated_as_interrupted():
        try:
            progress = run_study(
                plan,
                folder,
                play_cell,
                workers=count,
                executor=executor,
                address=address,
                only=only,
                watch=watch,
            )
        except KeyboardInterrupt:
            _say(console, f"stopped; finished cells are kept in {folder}. Go on with: {again}")
            return EXIT_INTERRUPTED
    console.print(table_of(progress.rows))
    for row in progress.errors[:SHOWN_ERRORS]:
        key = "/".join(str(row[name]) for name in ("task", "stressor", "strategy", "seed"))
        _say(console, f"error in {key}: {row['message']}")
    if errors := len(progress.errors):
        what = "1 cell ended in an error" if errors == 1 else f"{errors} cells ended in errors"
        _say(console, f"{what} of the program; to try again: {again}")
    if left_out := len(cells_of(plan)) - progress.cells:
        _say(console, f"--only left out {left_out} cells of the plan")
    _say(console, f"next: {shlex.join(['counterpoise', 'study', 'report', str(folder)])}")
    return 1 if errors else 0


def report(folder: Path, console: Console) -> None:
    """Write a study's report and print its table."""
    # A study runs where what its report draws with is not installed.
    from counterpoise.study.report import write_report

    written = write_report(folder)
    _say(console, written.summary)
    _say(console, written.table)
    for path in written.paths:
        _say(console, str(path))


def list_names(console: Console) -> None:
    """All names that a plan may use."""
    lists = {
        "plans": {name: _size(plan) for name, plan in PLANS.items()},
        "tasks": {name: task.description for name, task in TASKS.items()},
        "stressors": {name: stressor.description for name, stressor in STRESSORS.items()},
        "strategies": {n: f"{s.description} [{s.kind}]" for n, s in STRATEGIES.items()},
    }
    for title, entries in lists.items():
        _say(console, f"{title}:")
        width = max(map(len, entries)) + 2
        for name, text in entries.items():
            _say(console, f"  {name:<{width}}{text}")


def usable_cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def table_of(rows: Sequence[Row]) -> Table:
    """Cells done, trainings that failed and median seconds, by strategy."""
    table = Table("strategy")
    for heading in ("done", "failed", "errors", "median seconds"):
        table.add_column(heading, justify="right")
    by_strategy: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_strategy[row["strategy"]].append(row)
    for name, of_strategy in by_strategy.items():
        done = [row for row in of_strategy if row["status"] == "done"]
        failed = sum(bool(row["failures"]) for row in done)
        seconds = f"{statistics.median(row['seconds'] for row in done):.1f}" if done else ""
        errors = len(of_strategy) - len(done)
        table.add_row(name, str(len(done)), str(failed), str(errors or ""), seconds)
    return table


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _with_absolute_folders(plan: StudyPlan) -> StudyPlan:
    """The plan with folders that it can be resumed with, and played by Ray, from anywhere."""
    folders = tuple(Path(os.path.abspath(folder)) for folder in plan.data_folders)
    return plan.model_copy(update={"data_folders": folders})


def _command(
    source: str,
    overrides: Sequence[str],
    folder: Path,
    workers: int | None,
    executor: str,
    address: str | None,
    only: Sequence[str],
) -> str:
    """What to type to go on."""
    words = ["counterpoise", "study", "run", "--plan", source, "--out", str(folder)]
    for item in overrides:
        words += ["--set", item]
    if workers is not None:
        words += ["--workers", str(workers)]
    if executor != "local":
        words += ["--executor", executor]
    if address is not None:
        words += ["--address", address]
    for glob in only:
        words += ["--only", glob]
    return shlex.join(words)


def _size(plan: StudyPlan) -> str:
    """A plan in one line."""
    lists = ("tasks", "stressors", "strategies", "seeds")
    parts = ", ".join(f"{len(getattr(plan, name))} {name}" for name in lists)
    return f"{len(cells_of(plan))} cells: {parts}; on {plan.device}"


def _describe(
    plan: StudyPlan, folder: Path, only: Sequence[str], executor: str, console: Console
) -> None:
    """Say what would be run, without writing anything."""
    cells, study = selected(plan, only), StudyFolder(folder)
    study.has(plan)
    rows = study.finished()
    done = sum(rows.get(cell.key, {}).get("status") == "done" for cell in cells)
    _say(console, plan.to_yaml())
    _say(console, f"{len(cells)} cells, {done} of them done in {folder}; would run the rest")
    _say(console, f"executor: {executor}")


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


class _Watch:
    """A bar and a table in a terminal; a line now and then where the output is piped."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Bar(
            *progress_columns(),
            console=console,
            # Cells take seconds to minutes: the ETA is of the last half hour, not half minute.
            speed_estimate_period=1800.0,
        )
        self._task = self._bar.add_task("cells", total=None)
        self._live: Live | None = None
        self._said: tuple[float, int] | None = None

    def __enter__(self) -> Callable[[Progress, str], None]:
        if self._console.is_terminal:
            self._live = Live(self._bar, console=self._console, transient=True)
            self._live.start()
        return self._show

    def __exit__(self, *error: Any) -> None:
        if self._live is not None:
            self._live.stop()

    def _show(self, progress: Progress, message: str) -> None:
        if message:
            _say(self._console, message)
        if self._live is None:
            self._show_line(progress)
            return
        self._bar.update(self._task, total=progress.cells, completed=progress.done)
        # The bar first: a terminal may be too low for all strategies.
        self._live.update(Group(self._bar, table_of(progress.rows)))

    def _show_line(self, progress: Progress) -> None:
        now = time.monotonic()
        if self._said is not None and progress.done < progress.cells:
            then, done = self._said
            few = progress.done - done < PLAIN_EVERY_SHARE * progress.cells
            if few and now - then < PLAIN_EVERY_SECONDS:
                return
        self._said = now, progress.done
        failed = sum(bool(row.get("failures")) for row in progress.rows)
        words = [f"{progress.done} of {progress.cells} cells", f"{failed} failed trainings"]
        if progress.errors:
            words.append(f"{len(progress.errors)} errors")
        _say(self._console, ", ".join(words))
