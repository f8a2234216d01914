"""Cells on a Ray cluster: the same rows, from as many machines as there are."""

import importlib
import os
import re
import signal
import socket
from concurrent.futures import Future
from typing import Any, Self

from counterpoise.errors import UserError
from counterpoise.study.plan import Cell, StudyPlan
from counterpoise.study.results import StudyRow
from counterpoise.study.workers import (
    ONE_THREAD,
    Play,
    answer_of,
    interrupts_held_back,
    prepare_worker,
)

# Tasks that Ray is given for each processor, so that none of them waits for us.
QUEUED_PER_CPU = 2
# What an address has to say that somebody is there.
ANSWER_SECONDS = 5.0
# Ray reports its use to its makers unless told otherwise, and warns of how it will count GPUs.
RAY_SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


class RayWorkers:
    """Ray tasks on the cluster at `address`, or on one of this machine's own with `count`
    processors.

    The machines of a cluster need this package at the same version, and the plan's data at the
    same paths. A cell of a plan for a GPU takes one.
    """

    def __init__(self, play: Play, plan: StudyPlan, count: int, address: str | None = None) -> None:
        self.capacity = count
        self._play, self._plan, self._address = play, plan, address

    def __enter__(self) -> Self:
        """Raises `UserError` where there is no Ray, no cluster, or in it no GPU for the plan."""
        for name, value in RAY_SETTINGS.items():
            os.environ.setdefault(name, value)
        try:
            self._ray = importlib.import_module("ray")
        except ModuleNotFoundError:
            raise UserError(
                "--executor ray needs Ray; install it: pip install 'counterpoise[ray]'"
            ) from None
        own: dict[str, Any] = {"num_cpus": self.capacity, "include_dashboard": False}
        if self._address is not None:
            _check_address(self._address)
            own = {}
        before = signal.getsignal(signal.SIGTERM)
        try:
            with interrupts_held_back():  # Broken off while it starts, Ray crashes.
                self._ray.init(
                    address=self._address or "local",
                    log_to_driver=False,
                    configure_logging=False,
                    runtime_env={"env_vars": ONE_THREAD},
                    **own,
                )
            sizes = self._ray.cluster_resources()
            gpus = 1 if self._plan.device == "cuda" else 0
            if gpus > sizes.get("GPU", 0):
                raise UserError(f"plan {self._plan.name} needs a GPU, and the Ray cluster has none")
        except BaseException as error:
            self._ray.shutdown()
            # Of a start that fails or takes too long, Ray raises exceptions of any kind.
            if isinstance(error, UserError) or not isinstance(error, Exception):
                raise
            where = f"no cluster at {self._address}" if self._address else "cannot start here"
            raise UserError(f"Ray: {where} ({error}); see --address, --workers") from error
        finally:
            signal.signal(signal.SIGTERM, before)  # Ray leaves its own.
        # We count the tries ourselves, so that a lost worker is on record, and a cell has one row.
        self._task = self._ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(_answer)
        self.capacity = QUEUED_PER_CPU * max(1, int(sizes.get("CPU", self.capacity)))
        return self

    def __exit__(self, *error: object) -> None:
        self._ray.shutdown()

    def submit(self, cell: Cell) -> "Future[StudyRow | UserError]":
        """See `workers.Workers`."""
        future: Future[StudyRow | UserError] = self._task.remote(
            self._play, cell, self._plan
        ).future()
        return future


def _answer(play: Play, cell: Cell, plan: StudyPlan) -> StudyRow | UserError:
    """What a Ray task does."""
    prepare_worker()
    return answer_of(play, cell, plan)


def _check_address(address: str) -> None:
    """Raise `UserError` where nobody listens: Ray itself would try for a quarter of an hour."""
    if address == "auto":
        return
    parts = re.fullmatch(r"(?:ray://)?(.+):(\d+)", address)
    if parts is None:
        raise UserError(f"--address {address}: give HOST:PORT, ray://HOST:PORT or auto")
    try:
        socket.create_connection((parts[1], int(parts[2])), timeout=ANSWER_SECONDS).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise UserError(
            f"--address {address}: nobody answers ({error}); "
            "start Ray there, or leave --address out for a cluster of this machine's own"
        ) from error
