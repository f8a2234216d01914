"""Cells that take no time, as functions of a module, so that workers find them."""

import json
import os
import signal
import time
from collections import Counter
from concurrent.futures import Future
from pathlib import Path

from counterpoise.errors import UserError
from counterpoise.study.plan import Cell, StudyPlan, cells_of
from counterpoise.study.results import DoneRow
from counterpoise.study.workers import answer_of

PLAN = StudyPlan(
    name="test",
    tasks=("ring", "digits"),
    stressors=("none", "d-lr-x10"),
    strategies=("none", "auto"),
    seeds=(0, 1),
)
# The cell that misbehaves; it leaves a trace in the file that is the plan's name.
BAD = Cell(task="ring", stressor="none", strategy="auto", seed=0)
# Far beyond what a busy machine needs: it only keeps a broken test from waiting for ever.
PATIENCE_SECONDS = 600.0


def traced(path: Path) -> StudyPlan:
    """The plan whose bad cell leaves its trace there."""
    return PLAN.model_copy(update={"name": str(path)})


def row_of(cell: Cell, *, score=None, **changes):
    """A row as `play_cell` returns it, its score a function of the cell."""
    value = (len(cell.strategy) + 10 * cell.seed + len(cell.stressor)) / 100
    digits = cell.task == "digits"
    row = {
        **dict(cell),
        "failures": (),
        "score": value if score is None else score,
        "score_name": "frechet" if digits else "high_quality_coverage",
        "higher_is_better": not digits,
        "metrics": {"coverage": 1.0},
        "d_last_quarter": {"accuracy": 0.7, "auc": 0.8},
        "findings": ("healthy",),
        "steps": 10,
        "d_updates": 10,
        "seconds": 0.01,
        "versions": {"torch": "2"},
    }
    return DoneRow(**(row | changes))


def play(cell: Cell, plan: StudyPlan):
    return row_of(cell)


def play_slowly(cell: Cell, plan: StudyPlan):
    time.sleep(0.3)
    return row_of(cell)


def play_and_die_once(cell: Cell, plan: StudyPlan):
    """The bad cell takes its worker with it, the first time."""
    trace = Path(plan.name)
    if cell == BAD and not trace.exists():
        trace.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return row_of(cell)


def play_and_hang(cell: Cell, plan: StudyPlan):
    """The bad cell says in which process it is, and does not end."""
    if cell == BAD:
        new = Path(plan.name + ".new")
        new.write_text(str(os.getpid()))
        new.replace(plan.name)
        time.sleep(600)
    return row_of(cell)


def play_and_raise(cell: Cell, plan: StudyPlan):
    if cell.strategy == "auto":
        raise RuntimeError("this cell\nhas a bug")
    return row_of(cell)


def play_and_miss(cell: Cell, plan: StudyPlan):
    raise UserError("scikit-learn is missing")


class InThisProcess:
    """Workers that start nothing; `dies` are the cells whose worker dies, and how often."""

    def __init__(self, play=play, plan=PLAN, count=1, dies=()):
        self.play, self.plan, self.dies = play, plan, Counter(dies)
        self.stopped = 0

    def __call__(self):
        return self

    def __enter__(self):
        return self.submit

    def __exit__(self, *error):
        self.stopped += 1

    def submit(self, cell):
        future = Future()
        if self.dies[cell] > 0:
            self.dies[cell] -= 1
            future.set_exception(RuntimeError("a traceback\n no memory\n"))
        else:
            future.set_result(answer_of(self.play, cell, self.plan))
        return future


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return value


def expected_rows():
    return {cell.key: row_of(cell).model_dump(mode="json") for cell in cells_of(PLAN)}


def rows_in(folder):
    """The rows on the disk, by key; no good row is there twice."""
    rows = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    keys = ["/".join(str(row[n]) for n in ("task", "stressor", "strategy", "seed")) for row in rows]
    good = Counter(key for key, row in zip(keys, rows, strict=True) if row["status"] == "done")
    assert set(good.values()) <= {1}
    return dict(zip(keys, rows, strict=True))


def write_study(folder: Path, plan: StudyPlan, rows):
    """A study's folder as a run leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.yaml").write_text(plan.to_yaml())
    lines = [row if isinstance(row, str) else row.model_dump_json() for row in rows]
    (folder / "results.jsonl").write_text("".join(line + "\n" for line in lines))
    return folder
