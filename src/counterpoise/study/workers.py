"""Cells in worker processes of this machine: one that dies costs nothing but its cell's time."""

import contextlib
import multiprocessing
import os
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from counterpoise.errors import UserError
from counterpoise.study.plan import Cell, StudyPlan

# What plays a cell: a function of a module, since it is sent to other processes by its name.
Play = Callable[[Cell, StudyPlan], dict[str, Any]]
# How often a cell may take its worker with it.
MOST_TRIES = 3
# Two threads in each of several processes hinder one another.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Outcome:
    """A cell's row, or what happened to its worker (`lost`: the cell will be run again)."""

    cell: Cell
    row: dict[str, Any] | None = None
    lost: str = ""


def error_row(cell: Cell, message: str) -> dict[str, Any]:
    """The row of a cell that the program did not finish."""
    return {**asdict(cell), "status": "error", "message": " ".join(message.split())}


def play_safely(play: Play, cell: Cell, plan: StudyPlan) -> dict[str, Any]:
    """The cell's row; that of an error where `play` raises one. `UserError` passes through."""
    try:
        return play(cell, plan)
    except UserError:
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(frame.filename).name}:{frame.lineno}"
        return error_row(cell, f"{type(error).__name__}: {error} ({where})")


def one_thread() -> None:
    """What a worker does first, so that equal cells give equal rows."""
    import logging

    import torch

    torch.set_num_threads(1)
    # The diagnosis is part of the row; a study's terminal is not for thousands of them.
    logging.getLogger("counterpoise").setLevel(logging.ERROR)


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    cell: Cell | None = None


@dataclass
class LocalWorkers:
    """Plays cells in `count` processes, each with one thread, one cell at a time."""

    play: Play
    plan: StudyPlan
    count: int
    _workers: list[_Worker] = field(default_factory=list, init=False)

    def outcomes(self, cells: Sequence[Cell]) -> Generator[Outcome, None, None]:
        """What becomes of the cells, as it happens. Closing the iterator stops the workers.

        Raises the `UserError` of a cell, since it would meet the others too.
        """
        waiting, tries = deque(cells), dict.fromkeys(cells, 0)
        try:
            while waiting or any(worker.cell for worker in self._workers):
                self._hand_out(waiting)
                busy = {worker.pipe: worker for worker in self._workers if worker.cell}
                for pipe in wait(list(busy)):
                    assert isinstance(pipe, Connection)
                    worker = busy[pipe]
                    cell, worker.cell = worker.cell, None
                    assert cell is not None, "it was busy"
                    try:
                        kind, content = pipe.recv()
                    except (EOFError, OSError):
                        yield self._lost(worker, cell, tries, waiting)
                        continue
                    if kind == "user error":
                        raise UserError(content)
                    yield Outcome(cell, row=content)
        finally:
            self.stop()

    def stop(self) -> None:
        """Stop all workers at once."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.pipe.close()
        self._workers.clear()

    def _hand_out(self, waiting: deque[Cell]) -> None:
        """Give each idle worker a cell, and make workers as long as there are cells for them."""
        busy = sum(worker.cell is not None for worker in self._workers)
        while len(self._workers) < min(self.count, busy + len(waiting)):
            self._workers.append(self._start())
        for worker in self._workers:
            if worker.cell is None and waiting:
                worker.cell = waiting.popleft()
                # A worker that died while idle shows when its answer is read.
                with contextlib.suppress(OSError):
                    worker.pipe.send(worker.cell)

    def _start(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, self.play, self.plan), daemon=True)
        before = {name: os.environ.get(name) for name in ONE_THREAD}
        os.environ.update(ONE_THREAD)
        try:
            process.start()
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
        theirs.close()
        return _Worker(process, ours)

    def _lost(
        self, worker: _Worker, cell: Cell, tries: dict[Cell, int], waiting: deque[Cell]
    ) -> Outcome:
        worker.process.join()
        worker.pipe.close()
        self._workers.remove(worker)
        tries[cell] += 1
        code = worker.process.exitcode
        if tries[cell] >= MOST_TRIES:
            message = f"its worker died {tries[cell]} times (exit code {code}): out of memory?"
            return Outcome(cell, row=error_row(cell, message))
        waiting.appendleft(cell)
        return Outcome(cell, lost=f"{cell.key}: its worker died (exit code {code}): run again")


def _work(pipe: Connection, play: Play, plan: StudyPlan) -> None:
    """A worker's life: cell after cell, until its parent is gone."""
    import signal

    # Ctrl-C is the parent's business, which stops its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with, args=(os.getppid(),), daemon=True).start()
    one_thread()
    with contextlib.suppress(EOFError, OSError):
        while True:
            cell = pipe.recv()
            try:
                answer: tuple[str, Any] = ("row", play_safely(play, cell, plan))
            except UserError as error:
                answer = ("user error", str(error))
            pipe.send(answer)


def _die_with(parent: int) -> None:
    """A parent that was killed cannot stop its workers."""
    while os.getppid() == parent:
        threading.Event().wait(1.0)
    os._exit(1)
