"""Who plays cells: processes of this machine or a Ray cluster, behind one interface."""

import contextlib
import importlib
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from counterpoise.errors import UserError, refusing
from counterpoise.study.plan import Cell, StudyPlan
from counterpoise.study.results import DoneRow, ErrorRow, StudyRow

# What plays a cell: a function of a module, since it is sent to other processes by its name.
Play = Callable[[Cell, StudyPlan], DoneRow]
# Two threads in each of several processes hinder one another, and equal cells must give equal rows.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
RAY_OPTIONS = "see --workers, and --address: HOST:PORT, ray://HOST:PORT or auto"
ANSWER_SECONDS = 5.0  # what a cluster's address has to say that somebody is there

# Has a cell played; the value is `answer_of` it, any exception says how its worker died.
Submit = Callable[[Cell], "Future[StudyRow | UserError]"]
# What gives workers, and at its end stops them all at once.
Workers = contextlib.AbstractContextManager[Submit]


@contextlib.contextmanager
def local_workers(play: Play, plan: StudyPlan, count: int) -> Iterator[Submit]:
    """At most `count` processes of this machine, each with one thread. The `submit` raises
    `UserError` where none can be started."""
    # Forked from a process that has imported what they need, where that is safe.
    context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    context.set_forkserver_preload([play.__module__])
    os.environ.update(ONE_THREAD)  # read in the processes to come, when libraries are imported
    others = multiprocessing.active_children()
    with ProcessPoolExecutor(count, context, _begin) as pool:

        def submit(cell: Cell) -> "Future[StudyRow | UserError]":
            with refusing("a worker cannot be started", OSError, instead="give fewer --workers"):
                return pool.submit(answer_of, play, cell, plan)

        try:
            yield submit
        except BaseException:  # Nobody waits for what is under way.
            for child in multiprocessing.active_children():
                if child not in others:
                    child.terminate()
            raise


@contextlib.contextmanager
def ray_workers(
    play: Play, plan: StudyPlan, count: int, address: str | None = None
) -> Iterator[Submit]:
    """Ray tasks on the cluster at `address`, whose machines need this package and the plan's data
    as here, or on one of this machine's own with `count` processors. Ray itself plays a cell again
    whose worker died, a few times."""
    # Ray reports its use to its makers unless told otherwise, and warns of how it counts GPUs.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    ray = importlib.import_module("ray")
    try:
        _start_ray(ray, count, address)
        task = ray.remote(num_cpus=1)(_ray_answer)
        yield lambda cell: task.remote(play, cell, plan).future()
    finally:
        ray.shutdown()


def _start_ray(ray: Any, count: int, address: str | None) -> None:
    """Start Ray, or join the cluster."""
    own = {"num_cpus": count, "include_dashboard": False} if address is None else {}
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # broken off while it starts, Ray crashes
    where = f"no cluster at {address}" if address else "cannot start here"
    try:
        # Of a start that fails or takes too long, Ray raises exceptions of any kind.
        with refusing(f"Ray: {where}", Exception, instead=RAY_OPTIONS):
            if address is not None and address != "auto":
                # Where nobody listens Ray itself would try for a quarter of an hour.
                host, _, port = address.removeprefix("ray://").rpartition(":")
                socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS).close()
            ray.init(
                address=address or "local",
                log_to_driver=False,
                configure_logging=False,
                runtime_env={"env_vars": ONE_THREAD},
                **own,
            )
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)  # Ray leaves its own


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
        message = " ".join(f"{type(error).__name__}: {error} ({where})".split())
        return ErrorRow(**dict(cell), message=message)


def prepare_worker() -> None:
    """What a process that plays cells does first."""
    torch.set_num_threads(1)
    # The diagnosis is part of the row; a study's terminal is not for thousands of them.
    logging.getLogger("counterpoise").setLevel(logging.ERROR)


def _ray_answer(play: Play, cell: Cell, plan: StudyPlan) -> StudyRow | UserError:
    prepare_worker()
    return answer_of(play, cell, plan)


def _begin() -> None:
    """Prepare this process: it leaves Ctrl-C to its parent, and ends with it, also where that was
    killed."""
    prepare_worker()
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker's process"

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
