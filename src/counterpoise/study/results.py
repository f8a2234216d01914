"""A study's folder: its plan, a checked row for each finished cell, and one writer at a time."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, ValidationError

from counterpoise.config import NonNegativeInt, PositiveInt
from counterpoise.config_file import problems_of
from counterpoise.errors import UserError
from counterpoise.folder_lock import FolderLock
from counterpoise.json_lines import JsonLines, iterate_json_lines
from counterpoise.plain_files import write_text
from counterpoise.study.plan import Cell, StudyPlan, load_plan

PLAN_FILE, RESULTS_FILE = "study.yaml", "results.jsonl"

# Columns of earlier versions.
GONE_FIELDS = ("curve", "roll_backs")

Failure = Literal["diverged", "collapsed", "d-saturated"]


class DoneRow(Cell):
    """A finished cell: a training that ran to its end or diverged, and what was measured."""

    model_config = ConfigDict(allow_inf_nan=False)

    status: Literal["done"] = "done"
    failures: tuple[Failure, ...]
    score: float | None
    score_name: str
    higher_is_better: bool
    metrics: dict[str, float | None]
    d_last_quarter: dict[str, float | None]
    findings: tuple[str, ...]
    steps: PositiveInt
    d_updates: NonNegativeInt
    seconds: float
    versions: dict[str, str]


class ErrorRow(Cell):
    """A cell that the program did not finish: nothing is known of the training."""

    status: Literal["error"] = "error"
    message: str


StudyRow = DoneRow | ErrorRow


@dataclass(frozen=True)
class Results:
    """The last row of each finished cell, by its key, and a note for each line that is none."""

    rows: dict[str, DoneRow]
    notes: tuple[str, ...]


def read_results(folder: Path) -> Results:
    """The rows of `folder`/results.jsonl, none where there is no file; `UserError`, naming the
    line, for a row with an unknown, missing or wrong column."""
    path = folder / RESULTS_FILE
    rows: dict[str, DoneRow] = {}
    notes = []
    for number, _, data in iterate_json_lines(path):
        if data is None:
            notes.append(f"{path.name} line {number} is torn or not a JSON object")
            continue
        if data.get("status") == "error":
            continue
        try:
            row = DoneRow.model_validate({k: v for k, v in data.items() if k not in GONE_FIELDS})
        except ValidationError as error:
            wrong = "; ".join(map(str, problems_of(error)))
            raise UserError(
                f"{path} line {number}: {wrong}; remove the row and run its cell again"
            ) from None
        rows[row.key] = row
    return Results(rows, tuple(notes))


def plan_of(folder: Path) -> StudyPlan:
    """The plan of a study's folder; `UserError` where there is none."""
    file = folder / PLAN_FILE
    if not file.is_file():
        raise UserError(f"{folder}: not a study (it has no {PLAN_FILE}); run one first")
    return load_plan(file)


def is_study_of(folder: Path, plan: StudyPlan) -> bool:
    """Whether a folder has a study of `plan` (True), or is free for one (False); `UserError` where
    it has another plan, or files but no study."""
    if (folder / PLAN_FILE).is_file():
        there = plan_of(folder)
        names = [n for n in StudyPlan.model_fields if getattr(there, n) != getattr(plan, n)]
        if names:
            raise UserError(
                f"{folder}: has a study of another plan (other {', '.join(names)}); "
                "give --out another folder"
            )
        return True
    # Hidden files are the lock, and what a crash left of the first write.
    if any(folder.glob("[!.]*")):
        raise UserError(f"{folder}: has files but no {PLAN_FILE}; give --out another folder")
    return False


@contextlib.contextmanager
def opened_study(folder: Path, plan: StudyPlan) -> Iterator[tuple[JsonLines, list[str]]]:
    """Begin a study of `plan` in a folder, or go on with it: its rows, and what is odd about it.
    `UserError` where another process writes there, and as `is_study_of` does."""
    # Before anything is written: the folder may be somebody's photographs.
    is_study_of(folder, plan)
    with FolderLock(folder, "runs this study", "wait for it, or give another --out") as lock:
        if not is_study_of(folder, plan):
            write_text(folder / PLAN_FILE, plan.to_yaml())
        with contextlib.closing(JsonLines(folder / RESULTS_FILE)) as rows:
            yield rows, [note for note in (lock.note, rows.note) if note]
