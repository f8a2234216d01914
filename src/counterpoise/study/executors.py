"""What all executors of a study have in common: the cell they play, and what becomes of it."""

import json
import traceback
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from counterpoise.errors import UserError
from counterpoise.study.plan import Cell, StudyPlan

# What plays a cell: a function of a module, since it is sent to other processes by its name.
Play = Callable[[Cell, StudyPlan], dict[str, Any]]
# How often a cell may take its worker with it.
MOST_TRIES = 3
# Two threads in each of several processes hinder one another, and equal cells must give equal rows.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
}


@dataclass(frozen=True)
class Outcome:
    """A cell's row, or what happened to its worker (`lost`: the cell will be run again)."""

    cell: Cell
    row: dict[str, Any] | None = None
    lost: str = ""


class Executor(Protocol):
    """Plays cells somewhere else."""

    def outcomes(self, cells: Sequence[Cell]) -> Generator[Outcome, None, None]:
        """What becomes of the cells, as it happens; exactly one row for each.

        Closing the iterator stops everything at once. Raises the `UserError` of a cell (a missing
        dependency, no data), since it would meet the others too.
        """
        ...


def answer_of(play: Play, cell: Cell, plan: StudyPlan) -> tuple[str, Any]:
    """What a worker answers: ("row", the cell's row) or ("user error", its one line).

    An exception of `play`, and a row that is not strict JSON, become a row with status "error".
    """
    try:
        row = play(cell, plan)
        json.dumps(row, allow_nan=False)
    except UserError as error:
        return "user error", str(error)
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(frame.filename).name}:{frame.lineno}"
        return "row", error_row(cell, f"{type(error).__name__}: {error} ({where})")
    return "row", row


def error_row(cell: Cell, message: str) -> dict[str, Any]:
    """The row of a cell that the program did not finish."""
    return {**asdict(cell), "status": "error", "message": " ".join(message.split())}


def after_loss(cell: Cell, tries: int, how: str) -> Outcome:
    """What follows when a worker died `how` at the `tries`-th try of a cell."""
    if tries < MOST_TRIES:
        return Outcome(cell, lost=f"{cell.key}: its worker died ({how}): run again")
    return Outcome(cell, row=error_row(cell, f"its worker died {tries} times, at last: {how}"))


def prepare_worker() -> None:
    """What a worker does first."""
    import logging

    import torch

    torch.set_num_threads(1)
    # The diagnosis is part of the row; a study's terminal is not for thousands of them.
    logging.getLogger("counterpoise").setLevel(logging.ERROR)
