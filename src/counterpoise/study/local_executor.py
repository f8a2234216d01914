"""Cells in worker processes of this machine: one that dies costs nothing but its cell's time."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from counterpoise.errors import UserError
from counterpoise.study.executors import (
    ONE_THREAD,
    Outcome,
    Play,
    after_loss,
    answer_of,
    prepare_worker,
)
from counterpoise.study.plan import Cell, StudyPlan


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    cell: Cell | None = None


@dataclass
class LocalExecutor:
    """Plays cells in `count` spawned processes, each with one thread, one cell at a time."""

    play: Play
    plan: StudyPlan
    count: int
    _workers: list[_Worker] = field(default_factory=list, init=False)

    def outcomes(self, cells: Sequence[Cell]) -> Generator[Outcome, None, None]:
        """See `executors.Executor`."""
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
                        tries[cell] += 1
                        outcome = after_loss(cell, tries[cell], self._bury(worker))
                        if outcome.row is None:
                            waiting.appendleft(cell)
                        yield outcome
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
            self._start()
        for worker in self._workers:
            if worker.cell is None and waiting:
                worker.cell = waiting.popleft()
                # A worker that died while idle shows when its answer is read.
                with contextlib.suppress(OSError):
                    worker.pipe.send(worker.cell)

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        try:
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_work, args=(theirs, self.play, self.plan), daemon=True
            )
            with _environment(ONE_THREAD), _interrupts_held_back():
                process.start()
                self._workers.append(_Worker(process, ours))
        except OSError as error:
            raise UserError(
                f"a worker process cannot be started ({error.strerror or error}); "
                f"give fewer --workers (there are {len(self._workers)})"
            ) from error
        theirs.close()

    def _bury(self, worker: _Worker) -> str:
        """Forget a dead worker; how it died."""
        worker.process.join()
        worker.pipe.close()
        self._workers.remove(worker)
        return how_it_ended(worker.process.exitcode)


def how_it_ended(exit_code: int | None) -> str:
    """An exit code in words."""
    if exit_code is None or exit_code >= 0:
        return f"exit code {exit_code}"
    name = signal.Signals(-exit_code).name if -exit_code in list(signal.Signals) else "a signal"
    memory = ", as when memory runs out" if -exit_code == signal.SIGKILL else ""
    return f"{name}{memory}"


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables for a child: threads are counted when libraries are imported."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Block Ctrl-C: a child keeps that for life, so that the parent alone decides what it ends."""
    # Starting this helper of multiprocessing's unblocks SIGINT: it must be there before.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(pipe: Connection, play: Play, plan: StudyPlan) -> None:
    """A worker's life: cell after cell, until it is stopped or its parent is gone."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    prepare_worker()
    with contextlib.suppress(EOFError, OSError):
        while True:
            pipe.send(answer_of(play, pipe.recv(), plan))


def _die_with_parent() -> None:
    """A parent that was killed cannot stop its workers."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker has been started by another process"
    parent.join()
    os._exit(1)
