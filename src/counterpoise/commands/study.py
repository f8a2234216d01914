"""`counterpoise study`: run, report."""

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from rich import get_console

from counterpoise.commands.console import ConsoleReporter, say
from counterpoise.errors import UserError
from counterpoise.plain_files import write_text
from counterpoise.study.plan import load_plan
from counterpoise.study.play import play_cell
from counterpoise.study.report import DETAILS, study_report
from counterpoise.study.results import DoneRow, ErrorRow, StudyRow, is_study_of, read_results
from counterpoise.study.run import run_study, selected
from counterpoise.study.workers import local_workers, ray_workers
from counterpoise.training.interruption import StopRequest

LINES = 20  # that are printed in all where the output is piped
SHOWN_ERRORS = 5
EXIT_INTERRUPTED = 130


def run(
    source: str,
    overrides: Sequence[str],
    out: Path | None,
    count: int | None,
    executor: str,
    address: str | None,
    only: Sequence[str],
    dry_run: bool,
) -> int:
    """Run a study with its progress shown; the exit code."""
    if address is not None and executor != "ray":
        raise UserError("--address is for --executor ray")
    plan = load_plan(source, overrides)
    folder = out if out is not None else Path("runs") / f"study-{plan.name}"
    may_use = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))
    count = count or len(may_use(0))
    cells = selected(plan, only)
    if dry_run:
        is_study_of(folder, plan)
        done = len(read_results(folder).rows.keys() & {cell.key for cell in cells})
        say(plan.to_yaml())
        say(f"{len(cells)} cells, {done} of them done in {folder}; would run the rest")
        say(f"executor: {executor}, workers: {count}")
        return 0
    workers = partial(local_workers, play_cell, plan, count)
    if executor == "ray":
        workers = partial(ray_workers, play_cell, plan, count, address)
    again = shlex.join(["counterpoise", *sys.argv[1:]])
    with ConsoleReporter() as reporter, StopRequest():
        try:
            watch = _shown(reporter, len(cells))
            rows = run_study(plan, cells, folder, workers, watch)
        except KeyboardInterrupt:
            say(f"stopped; finished cells are kept in {folder}. Go on with: {again}")
            return EXIT_INTERRUPTED
    errors = [row for row in rows if isinstance(row, ErrorRow)]
    for row in errors[:SHOWN_ERRORS]:
        say(f"error in {row.key}: {row.message}")
    if errors:
        say(f"cells that ended in errors: {len(errors)}; to try them again: {again}")
    say(f"next: {shlex.join(['counterpoise', 'study', 'report', str(folder)])}")
    return 1 if errors else 0


def report(folder: Path) -> None:
    """Write a study's report and print how it begins."""
    text = study_report(folder)
    write_text(folder / "report.md", text)
    say(text.partition(DETAILS)[0])
    say(str(folder / "report.md"))


def _shown(reporter: ConsoleReporter, cells: int) -> Callable[[Sequence[StudyRow], str], None]:
    """Shows how far a study is: a bar in a terminal, now and then a line where it is piped."""

    def show(rows: Sequence[StudyRow], message: str) -> None:
        done = len(rows)
        reporter.progress(done, cells, "cells")
        if message:
            reporter.say(message)
        elif not get_console().is_terminal and (
            done == cells or done % max(1, cells // LINES) == 0
        ):
            failed = sum(isinstance(row, DoneRow) and bool(row.failures) for row in rows)
            errors = sum(isinstance(row, ErrorRow) for row in rows)
            reporter.say(f"{done} of {cells} cells, {failed} failed trainings, {errors} errors")

    return show
