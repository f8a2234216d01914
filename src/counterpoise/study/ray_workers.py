"""Cells on a Ray cluster: the same rows, from as many machines as there are."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from counterpoise.errors import UserError
from counterpoise.study.plan import Cell, StudyPlan
from counterpoise.study.workers import (
    MOST_TRIES,
    ONE_THREAD,
    Outcome,
    Play,
    error_row,
    one_thread,
    play_safely,
)

# Tasks that Ray is given for each processor, so that none of them waits for us.
QUEUED_PER_CPU = 2


@dataclass
class RayWorkers:
    """Plays cells as Ray tasks, on the cluster at `address` or one of this machine's own.

    `count` is the number of processors of an own cluster; elsewhere the cluster knows its size.
    The machines of a cluster need this package at the same version, and the plan's data.
    """

    play: Play
    plan: StudyPlan
    count: int
    address: str | None = None

    def outcomes(self, cells: Sequence[Cell]) -> Generator[Outcome, None, None]:
        """As `workers.LocalWorkers.outcomes`. A task whose worker dies is run again by us."""
        ray = _import_ray()
        try:
            ray.init(
                address=self.address,
                log_to_driver=False,
                include_dashboard=None if self.address else False,
                num_cpus=None if self.address else self.count,
                runtime_env={"env_vars": ONE_THREAD},
                configure_logging=False,
            )
        except (ConnectionError, OSError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"--address {self.address}: no Ray cluster answers ({reason})"
            ) from None
        try:
            yield from self._outcomes(ray, cells)
        finally:
            ray.shutdown()

    def _outcomes(self, ray: Any, cells: Sequence[Cell]) -> Generator[Outcome, None, None]:
        remote = ray.remote(num_cpus=1, max_retries=0)(_play)
        waiting, tries = list(reversed(cells)), dict.fromkeys(cells, 0)
        most = QUEUED_PER_CPU * max(1, int(ray.cluster_resources().get("CPU", self.count)))
        running: dict[Any, Cell] = {}
        while waiting or running:
            while waiting and len(running) < most:
                cell = waiting.pop()
                running[remote.remote(self.play, cell, self.plan)] = cell
            done, _ = ray.wait(list(running), num_returns=1)
            for reference in done:
                cell = running.pop(reference)
                try:
                    kind, content = ray.get(reference)
                except ray.exceptions.RayError as error:
                    # What Ray raises of its own: play's errors came back as rows.
                    tries[cell] += 1
                    reason = type(error).__name__
                    if tries[cell] >= MOST_TRIES:
                        message = f"its worker died {tries[cell]} times ({reason})"
                        yield Outcome(cell, row=error_row(cell, message))
                    else:
                        waiting.append(cell)
                        message = f"{cell.key}: its worker died ({reason}): run again"
                        yield Outcome(cell, lost=message)
                    continue
                if kind == "user error":
                    raise UserError(content)
                yield Outcome(cell, row=content)


def _play(play: Play, cell: Cell, plan: StudyPlan) -> tuple[str, Any]:
    """What a Ray task does."""
    one_thread()
    try:
        return "row", play_safely(play, cell, plan)
    except UserError as error:
        return "user error", str(error)


def _import_ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ModuleNotFoundError:
        raise UserError(
            "--executor ray needs Ray; install it: pip install 'counterpoise[ray]'"
        ) from None
    return ray
