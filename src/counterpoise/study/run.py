"""Running a study: the cells that are missing, and a row for each as soon as it is done."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from counterpoise.errors import UserError
from counterpoise.study.executors import Executor, Play
from counterpoise.study.local_executor import LocalExecutor
from counterpoise.study.plan import Cell, StudyPlan, cells_of
from counterpoise.study.ray_executor import RayExecutor
from counterpoise.study.store import StudyFolder

Row = dict[str, Any]


@dataclass
class Progress:
    """How far a study is: the selected cells, and the rows of this run and of earlier ones."""

    cells: int
    before: int  # done by an earlier run
    rows: list[Row] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Cells that need not be run any more, those with an error of this run included."""
        return len(self.rows)

    @property
    def errors(self) -> list[Row]:
        return [row for row in self.rows if row["status"] == "error"]


def selected(plan: StudyPlan, only: Sequence[str]) -> list[Cell]:
    """The plan's cells whose key one of the globs matches; all without globs.

    Raises `UserError` for a glob that matches no cell.
    """
    cells = cells_of(plan)
    for glob in only:
        if not any(fnmatchcase(cell.key, glob) for cell in cells):
            raise UserError(
                f"--only {glob}: no cell of plan {plan.name} has such a name; "
                f"names are TASK/STRESSOR/STRATEGY/SEED, as {cells[0].key}"
            )
    return [c for c in cells if not only or any(fnmatchcase(c.key, glob) for glob in only)]


def run_study(
    plan: StudyPlan,
    folder: Path,
    play: Play,
    *,
    workers: int,
    executor: Literal["local", "ray"] = "local",
    address: str | None = None,
    only: Sequence[str] = (),
    watch: Callable[[Progress, str], None] = lambda progress, message: None,
) -> Progress:
    """Play the cells of `plan` that `folder` has no good row of yet; errors are tried again.

    `watch` is called at the start, for every row, and with a message for every lost worker. An
    interrupted study goes on with the same call. Raises `UserError` for a folder of another plan
    or that another process writes to, a full disk, and what a cell says is missing.
    """
    cells = selected(plan, only)
    study = StudyFolder(folder)
    with study.opened(plan):
        good = {key: row for key, row in study.finished().items() if row["status"] == "done"}
        todo = [cell for cell in cells if cell.key not in good]
        progress = Progress(len(cells), len(cells) - len(todo))
        progress.rows += [good[cell.key] for cell in cells if cell.key in good]
        study.note("start", f"{len(todo)} of {len(cells)} cells to run, {executor}")
        watch(progress, "")
        pool: Executor = (
            RayExecutor(play, plan, workers, address)
            if executor == "ray"
            else LocalExecutor(play, plan, workers)
        )
        try:
            with closing(pool.outcomes(todo)) as outcomes:
                for outcome in outcomes:
                    if outcome.row is None:
                        study.note("lost-worker", outcome.lost)
                    else:
                        study.add(outcome.row)
                        progress.rows.append(outcome.row)
                    watch(progress, outcome.lost)
        except KeyboardInterrupt:
            study.note("interrupted", f"{progress.done} of {len(cells)} cells done")
            raise
        study.note("end", f"{len(cells)} cells, {len(progress.errors)} of them errors")
    return progress
