"""Cells that take no time, as functions of a module, so that workers find them."""

import os
import signal
import time
from pathlib import Path

from counterpoise.errors import UserError
from counterpoise.study.plan import Cell, StudyPlan

PLAN = StudyPlan(
    name="test",
    tasks=("ring", "digits"),
    stressors=("none", "d-lr-x10"),
    strategies=("none", "auto"),
    seeds=(0, 1),
)
# Where cells that misbehave count their tries; set by the test, inherited by workers.
TRIES = "COUNTERPOISE_TEST_TRIES"


def row_of(cell: Cell, *, score=None, failures=(), **changes):
    """A row as `play_cell` returns it, its score a function of the cell."""
    value = (len(cell.strategy) + 10 * cell.seed + len(cell.stressor)) / 100
    digits = cell.task == "digits"
    return {
        "task": cell.task,
        "stressor": cell.stressor,
        "strategy": cell.strategy,
        "seed": cell.seed,
        "status": "done",
        "failures": list(failures),
        "score": value if score is None else score,
        "score_name": "frechet" if digits else "high_quality_coverage",
        "higher_is_better": not digits,
        "metrics": {"coverage": 1.0},
        "d_last_quarter": {"accuracy": 0.7, "auc": 0.8},
        "curve": {"step": [1, 2], "auc": [0.5, 0.8], "score": [None, value]},
        "findings": ["healthy"],
        "steps": 10,
        "d_updates": 10,
        "roll_backs": 0,
        "seconds": 0.01,
        "versions": {"torch": "2"},
    } | changes


def play(cell: Cell, plan: StudyPlan):
    return row_of(cell)


def play_slowly(cell: Cell, plan: StudyPlan):
    time.sleep(0.3)
    return row_of(cell)


def _tries(cell: Cell) -> int:
    file = Path(os.environ[TRIES]) / cell.key.replace("/", "-")
    with file.open("a") as counter:
        counter.write("x")
    return len(file.read_text())


def play_and_die_once(cell: Cell, plan: StudyPlan):
    if cell == Cell("ring", "none", "auto", 0) and _tries(cell) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return row_of(cell)


def play_and_always_die(cell: Cell, plan: StudyPlan):
    if cell == Cell("ring", "none", "auto", 0):
        os.kill(os.getpid(), signal.SIGKILL)
    return row_of(cell)


def play_and_raise(cell: Cell, plan: StudyPlan):
    if cell.strategy == "auto":
        raise RuntimeError("this cell\nhas a bug")
    return row_of(cell)


def play_and_miss(cell: Cell, plan: StudyPlan):
    raise UserError("scikit-learn is missing")


def write_study(folder: Path, plan: StudyPlan, rows):
    """A study's folder as a run leaves it."""
    import json

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.yaml").write_text(plan.to_yaml())
    (folder / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder
