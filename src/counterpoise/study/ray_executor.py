"""Cells on a Ray cluster: the same rows, from as many machines as there are."""

import contextlib
import os
import re
import signal
import socket
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

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

# Tasks that Ray is given for each processor, so that none of them waits for us.
QUEUED_PER_CPU = 2
# What an address has to say that somebody is there.
ANSWER_SECONDS = 5.0
# Ray reports its use to its makers unless told otherwise, and warns of how it will count GPUs.
RAY_SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


@dataclass
class RayExecutor:
    """Plays cells as Ray tasks, on the cluster at `address` or one of this machine's own.

    `count` is the number of processors of an own cluster; elsewhere the cluster knows its size.
    The machines of a cluster need this package at the same version, and the plan's data at the
    same paths. A cell of a plan for a GPU takes one.
    """

    play: Play
    plan: StudyPlan
    count: int
    address: str | None = None

    def outcomes(self, cells: Sequence[Cell]) -> Generator[Outcome, None, None]:
        """See `executors.Executor`."""
        if not cells:
            return
        with _cluster(self.address, self.count) as ray:
            yield from self._outcomes(ray, cells)

    def _outcomes(self, ray: Any, cells: Sequence[Cell]) -> Generator[Outcome, None, None]:
        sizes = ray.cluster_resources()
        gpus = 1 if self.plan.device == "cuda" else 0
        if gpus > sizes.get("GPU", 0):
            raise UserError(f"plan {self.plan.name} needs a GPU, and the Ray cluster has none")
        # We count the tries ourselves, so that a lost worker is on record, and a cell has one row.
        task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(_play)
        most = QUEUED_PER_CPU * max(1, int(sizes.get("CPU", self.count)))
        waiting, tries = deque(cells), dict.fromkeys(cells, 0)
        running: dict[Any, Cell] = {}
        while waiting or running:
            while waiting and len(running) < most:
                cell = waiting.popleft()
                running[task.remote(self.play, cell, self.plan)] = cell
            done, _ = ray.wait(list(running), num_returns=1)
            for reference in done:
                cell = running.pop(reference)
                try:
                    kind, content = ray.get(reference)
                except ray.exceptions.RayError as error:
                    # What Ray raises of its own: exceptions of `play` came back as rows.
                    tries[cell] += 1
                    outcome = after_loss(cell, tries[cell], _reason(error))
                    if outcome.row is None:
                        waiting.appendleft(cell)
                    yield outcome
                    continue
                if kind == "user error":
                    raise UserError(content)
                yield Outcome(cell, row=content)


@contextlib.contextmanager
def _cluster(address: str | None, count: int) -> Iterator[Any]:
    """Ray, connected to a cluster or with one of its own, which is shut down in the end."""
    for name, value in RAY_SETTINGS.items():
        os.environ.setdefault(name, value)
    ray = _import_ray()
    if address is not None:
        _check_address(address)
    own = {"include_dashboard": False, "num_cpus": count} if address is None else {}
    # Also what an interruption leaves of the start is shut down.
    try:
        with _interrupts_held_back():
            try:
                ray.init(
                    address=address or "local",
                    log_to_driver=False,
                    configure_logging=False,
                    runtime_env={"env_vars": ONE_THREAD},
                    **own,
                )
            except (OSError, ValueError, RuntimeError) as error:
                reason = " ".join(str(error).split())[:200]
                where = f"no cluster at {address}" if address else "cannot start here"
                raise UserError(f"Ray: {where} ({reason}); see --address, --workers") from error
            except SystemExit as stop:
                # How Ray's own handler, once it is there, answers SIGTERM.
                raise KeyboardInterrupt from stop
        yield ray
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Raise `UserError` where nobody listens: Ray itself would try for a quarter of an hour."""
    if address == "auto":
        return
    parts = re.fullmatch(r"(?:ray://)?(.+):(\d+)", address)
    if parts is None:
        raise UserError(f"--address {address}: give HOST:PORT, ray://HOST:PORT or auto")
    try:
        with socket.create_connection((parts[1], int(parts[2])), timeout=ANSWER_SECONDS):
            pass
    except (OSError, OverflowError, UnicodeError) as error:
        raise UserError(
            f"--address {address}: nobody answers ({error}); "
            "start Ray there, or leave --address out for a cluster of this machine's own"
        ) from error


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Put SIGINT and SIGTERM off until Ray has started: broken off in between, it crashes.

    Our handlers are put back, since Ray leaves its own.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    before = {
        number: signal.signal(number, lambda number, frame: arrived.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for arrived_number in arrived[:1]:
        signal.raise_signal(arrived_number)


def _reason(error: Exception) -> str:
    """What Ray says of a lost task: its kind, and the last line of a traceback."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[-1].strip()}"[:200]


def _play(play: Play, cell: Cell, plan: StudyPlan) -> tuple[str, Any]:
    """What a Ray task does."""
    prepare_worker()
    return answer_of(play, cell, plan)


def _import_ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ModuleNotFoundError:
        raise UserError(
            "--executor ray needs Ray; install it: pip install 'counterpoise[ray]'"
        ) from None
    return ray
