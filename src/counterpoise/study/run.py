"""Running a study: the cells that are missing, and a row for each as soon as it is done."""

from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import closing
from fnmatch import fnmatchcase
from pathlib import Path

from counterpoise.errors import UserError
from counterpoise.study.plan import Cell, StudyPlan, cells_of
from counterpoise.study.results import ErrorRow, StudyRow, opened_study, read_results
from counterpoise.study.workers import WorkersContext

TRIES = 3  # how often a cell may take its worker with it


def selected(plan: StudyPlan, only: Sequence[str]) -> list[Cell]:
    """The plan's cells whose key a glob matches, all without; `UserError` for one without any."""
    cells = cells_of(plan)
    matches = {glob: {c for c in cells if fnmatchcase(c.key, glob)} for glob in only}
    for glob, found in matches.items():
        if not found:
            raise UserError(
                f"--only {glob}: no cell of plan {plan.name} has such a name; "
                f"names are TASK/STRESSOR/STRATEGY/SEED, as {cells[0].key}"
            )
    chosen = set().union(*matches.values()) if only else set(cells)
    return [cell for cell in cells if cell in chosen]


def run_study(
    plan: StudyPlan,
    cells: Sequence[Cell],
    folder: Path,
    workers: WorkersContext,
    watch: Callable[[list[StudyRow], str], None] = lambda rows, message: None,
) -> list[StudyRow]:
    """Play those of a plan's cells that `folder` has no good row of yet; the rows of all cells.

    `watch` is called with the rows that there are, at the start and after every one, and with what
    is odd about the folder and every lost worker. An interrupted study goes on with the same call.
    Raises `UserError` as `opened_study` does, for a full disk, and for what a cell says is missing.
    """
    with opened_study(folder, plan) as (file, notes):
        good = {row.key: row for row in read_results(folder).done}
        rows: list[StudyRow] = [good[cell.key] for cell in cells if cell.key in good]
        watch(rows, "; ".join(notes))
        todo = [cell for cell in cells if cell.key not in good]
        # Closed at once, so that an interruption does not wait for workers.
        with closing(outcomes(todo, workers)) as found:
            for row in found:
                if isinstance(row, str):
                    watch(rows, row)
                    continue
                file.append(row.model_dump(mode="json"))
                file.sync()
                rows.append(row)
                watch(rows, "")
    return rows


def outcomes(
    cells: Sequence[Cell], workers: WorkersContext
) -> Generator[StudyRow | str, None, None]:
    """One row for each cell, as they come, and in between words on workers that died: their cells
    are given to others, a few times. Raises the `UserError` of a cell."""
    if not cells:
        return
    waiting, tries = deque(cells), Counter[Cell]()
    running: dict[Future[StudyRow | UserError], Cell] = {}
    with workers as those:
        while waiting or running:
            while waiting and len(running) < those.capacity:
                cell = waiting.popleft()
                running[those.submit(cell)] = cell
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                cell = running.pop(future)
                try:
                    answer = future.result()
                except Exception as error:
                    tries[cell] += 1
                    # Ray's account of it is a traceback.
                    last_line = str(error).strip().rpartition("\n")[2].strip()
                    how = f"{type(error).__name__}: {last_line}"
                    if tries[cell] < TRIES:
                        waiting.appendleft(cell)
                        yield f"{cell.key}: its worker died ({how}): run again"
                        continue
                    message = f"its worker died {TRIES} times, at last: {how}"
                    answer = ErrorRow(**dict(cell), message=message)
                if isinstance(answer, UserError):
                    raise answer
                yield answer
