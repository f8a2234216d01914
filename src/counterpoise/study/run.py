"""Running a study: the cells that are missing, and a row for each as soon as it is done."""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import as_completed
from contextlib import closing
from fnmatch import fnmatchcase
from pathlib import Path

from counterpoise.errors import UserError
from counterpoise.study.plan import Cell, StudyPlan, cells_of
from counterpoise.study.results import StudyRow, opened_study, read_results
from counterpoise.study.workers import Workers

TRIES = 3  # how often workers may die


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
    workers: Callable[[], Workers],
    watch: Callable[[list[StudyRow], str], None] = lambda rows, message: None,
) -> list[StudyRow]:
    """Play those of a plan's cells that `folder` has no good row of yet; the rows of all cells.

    `watch` is called with the rows that there are, at the start, with what is odd about the folder,
    and after every one. An interrupted study goes on with the same call. Raises `UserError` as
    `opened_study` does, for a full disk, and as `outcomes` does.
    """
    with opened_study(folder, plan) as (file, notes):
        good = read_results(folder).rows
        rows: list[StudyRow] = [good[cell.key] for cell in cells if cell.key in good]
        watch(rows, "; ".join(notes))
        todo = [cell for cell in cells if cell.key not in good]
        # Closed at once, so that an interruption does not wait for workers.
        with closing(outcomes(todo, workers)) as found:
            for row in found:
                file.append(row.model_dump(mode="json"))
                file.sync()
                rows.append(row)
                watch(rows, "")
    return rows


def outcomes(
    cells: Sequence[Cell], workers: Callable[[], Workers]
) -> Generator[StudyRow, None, None]:
    """One row for each cell, as they come. Where a worker dies, what is left is given to new ones,
    a few times. Raises the `UserError` of a cell, and one for the last such death."""
    left = dict.fromkeys(cells)
    for tries_left in reversed(range(TRIES)):
        if not left:
            return
        with workers() as submit:
            futures = {submit(cell): cell for cell in left}
            for future in as_completed(futures):
                try:
                    answer = future.result()
                except Exception as error:
                    if tries_left:
                        break
                    # Ray's account of it is a traceback.
                    how = str(error).strip().rpartition("\n")[2].strip()
                    what = f"{TRIES} times a worker died ({type(error).__name__}: {how})"
                    raise UserError(f"{what}; the same command goes on") from error
                if isinstance(answer, UserError):
                    raise answer
                del left[futures[future]]
                yield answer
