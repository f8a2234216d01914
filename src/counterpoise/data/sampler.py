"""Batches of positions for each process, from any batch on."""

import itertools
import signal
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from counterpoise.data.dataset import CropPairs
from counterpoise.errors import UserError

# A worker that is told to end goes on for so long, so that the training can save first.
TERMINATION_SECONDS = 60


def shares(batch_size: int, rank: int, world_size: int, start_batch: int) -> Iterator[list[int]]:
    """One process's share of each batch of positions, forever.

    Batch b of all processes covers positions b * batch_size to (b + 1) * batch_size - 1; process r
    of w takes the r-th of w equal runs.
    """
    if batch_size % world_size:
        raise UserError(
            f"train.batch_size {batch_size} cannot be shared by {world_size} processes; "
            "make it a multiple"
        )
    share = batch_size // world_size
    for batch in itertools.count(start_batch):
        first = batch * batch_size + rank * share
        yield list(range(first, first + share))


def batches(
    dataset: CropPairs,
    batch_size: int,
    rank: int,
    world_size: int,
    start_batch: int,
    worker_processes: int,
    *,
    pin_memory: bool,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches (LR, HR) of uint8 crops for one process, from `start_batch` on, forever.

    The order is the same for any number of worker processes, and no global random generator is
    touched. Raises `UserError` naming an image that can no longer be read, and where a worker died.
    """
    loader = DataLoader(
        dataset,
        batch_sampler=shares(batch_size, rank, world_size, start_batch),
        num_workers=worker_processes,
        persistent_workers=worker_processes > 0,
        worker_init_fn=_leave_interrupts_to_the_parent,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # else the loader draws a seed from the global one
    )
    try:
        yield from loader
    except UserError as error:
        # From a worker process it comes back with that process's traceback before it.
        last_line = str(error).strip().splitlines()[-1]
        raise UserError(last_line.split("UserError: ", 1)[-1]) from error
    except (RuntimeError, OSError, EOFError) as error:
        death = worker_death(error, worker_processes)
        if death is None:
            raise
        raise death from error


def worker_death(error: BaseException, worker_processes: int) -> UserError | None:
    """What to say of the death of a worker process; None for any other error.

    PyTorch's notice comes from a signal handler: anywhere in the process whose worker died. Where
    the worker died while it handed a pair over, what shows is the end of a connection.
    """
    is_notice = isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker")
    is_cut_off = isinstance(error, (ConnectionError, FileNotFoundError, EOFError))
    if not worker_processes or not (is_notice or is_cut_off):
        return None
    detail = " ".join(str(error).split()) or type(error).__name__
    return UserError(
        f"data.worker_processes {worker_processes}: a worker process died ({detail}), perhaps "
        "for want of memory; lower data.worker_processes (0 works without any), then resume"
    )


def _leave_interrupts_to_the_parent(worker: int) -> None:
    """A signal may reach every process of the terminal or the job; the training decides when its
    workers end. After SIGTERM it has `TERMINATION_SECONDS` for that.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(TERMINATION_SECONDS))
