"""Batches of positions for each process, from any batch on."""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch

from counterpoise.data.dataset import CropPairs, Pair
from counterpoise.errors import UserError

# Batches that threads cut before they are asked for.
BATCHES_AHEAD = 2


def shares(batch_size: int, rank: int, world_size: int, start_batch: int) -> Iterator[list[int]]:
    """One process's share of each batch of positions, forever.

    Batch b of all processes covers positions b * batch_size to (b + 1) * batch_size - 1; process r
    of w takes the r-th of w equal runs.
    """
    if batch_size % world_size:
        raise UserError(f"train.batch_size {batch_size} cannot be shared by {world_size} processes")
    share = batch_size // world_size
    for batch in itertools.count(start_batch):
        first = batch * batch_size + rank * share
        yield list(range(first, first + share))


def batches(
    dataset: CropPairs, positions: Iterable[list[int]], worker_threads: int
) -> Iterator[Pair]:
    """Batches (LR, HR) of the uint8 crops at these positions.

    The order is the same for any number of threads, and no global random generator is touched.
    Raises `UserError` naming an image that can no longer be read.
    """
    if not worker_threads:
        yield from (_stacked(map(dataset.__getitem__, share)) for share in positions)
        return
    # Decoding and shrinking images let go of the interpreter's lock.
    with ThreadPoolExecutor(worker_threads) as pool:
        ahead: deque[Iterator[Pair]] = deque()
        for share in positions:
            ahead.append(pool.map(dataset.__getitem__, share))
            if len(ahead) > BATCHES_AHEAD:
                yield _stacked(ahead.popleft())
        yield from map(_stacked, ahead)


def _stacked(pairs: Iterable[Pair]) -> Pair:
    lr, hr = (torch.stack(images) for images in zip(*pairs, strict=True))
    return lr, hr
