"""Who plays cells: one interface, and the processes of this machine behind it.

The other kind, on a Ray cluster, is in `ray_workers`.
"""

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol, Self

import torch

from counterpoise.errors import UserError
from counterpoise.study.plan import Cell, StudyPlan
from counterpoise.study.results import DoneRow, ErrorRow, StudyRow

# What plays a cell: a function of a module, since it is sent to other processes by its name.
Play = Callable[[Cell, StudyPlan], DoneRow]
# Two threads in each of several processes hinder one another, and equal cells must give equal rows.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
}


class Workers(Protocol):
    """Processes that play cells: a context, whose end stops them all at once."""

    capacity: int  # how many cells they may have at a time

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def submit(self, cell: Cell) -> "Future[StudyRow | UserError]":
        """Have a cell played: what `answer_of` it is; any exception says how its worker died."""
        ...


def answer_of(play: Play, cell: Cell, plan: StudyPlan) -> StudyRow | UserError:
    """A cell's row, an error of the program included; or what the other cells would meet too (a
    missing dependency, no data)."""
    try:
        return play(cell, plan)
    except UserError as error:
        return error
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(frame.filename).name}:{frame.lineno}"
        return ErrorRow.of(cell, f"{type(error).__name__}: {error} ({where})")


def prepare_worker() -> None:
    """What a process that plays cells does first."""
    torch.set_num_threads(1)
    # The diagnosis is part of the row; a study's terminal is not for thousands of them.
    logging.getLogger("counterpoise").setLevel(logging.ERROR)


class LocalWorkers:
    """At most `count` processes of this machine, each with one thread.

    Each is a pool of its own: where a process dies, only its own cell is lost.
    """

    def __init__(self, play: Play, plan: StudyPlan, count: int) -> None:
        self.capacity = count
        self._play, self._plan = play, plan
        self._last: dict[ProcessPoolExecutor, Future[StudyRow | UserError]] = {}

    def __enter__(self) -> Self:
        self._theirs, self._ours = multiprocessing.get_context("spawn").Pipe(duplex=False)
        # Read in the processes to come, when their libraries are imported.
        self._environment = dict(os.environ)
        os.environ.update(ONE_THREAD)
        return self

    def __exit__(self, *error: object) -> None:
        self._ours.close()
        for pool in self._last:
            pool.shutdown()
        self._theirs.close()
        for name in ONE_THREAD:
            del os.environ[name]
        os.environ.update(self._environment)

    def submit(self, cell: Cell) -> "Future[StudyRow | UserError]":
        """See `Workers`. Raises `UserError` where no process can be started."""
        idle = [pool for pool, last in self._last.items() if last.done() and not last.exception()]
        pool = idle[0] if idle else self._new_pool()
        try:
            with interrupts_held_back():
                future = pool.submit(answer_of, self._play, cell, self._plan)
        except BrokenProcessPool:  # its process died while it was idle
            del self._last[pool]
            return self.submit(cell)
        except OSError as error:
            raise UserError(
                f"a worker process cannot be started ({error.strerror or error}); "
                "give fewer --workers"
            ) from error
        self._last[pool] = future
        return future

    def _new_pool(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(1, context, _begin, (self._theirs,))


def _begin(pipe: Connection) -> None:
    """Prepare this process, and have it end at once when nobody holds the pipe's other end: a
    parent that was killed cannot stop its workers."""
    prepare_worker()

    def watch() -> None:
        with contextlib.suppress(OSError):
            pipe.poll(None)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Block Ctrl-C: a child keeps that for life, so that the parent alone decides what it ends."""
    # Starting this helper of multiprocessing's unblocks SIGINT: it must be there before.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
