import os
import signal
from itertools import islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.config import DataConfig
from counterpoise.data import sampler
from counterpoise.data.catalog import scan
from counterpoise.data.dataset import CropPairs
from counterpoise.data.sampler import batches, shares
from counterpoise.errors import UserError
from helpers import write_images


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 50))
def test_shares_of_the_processes_make_the_whole_batch(share, world_size, start):
    size = share * world_size
    every = [shares(size, rank, world_size, start) for rank in range(world_size)]
    for number, parts in enumerate(islice(zip(*every, strict=True), 3), start=start):
        together = [position for part in parts for position in part]
        assert together == list(range(number * size, (number + 1) * size))


def test_unequal_shares_are_refused():
    with pytest.raises(UserError, match="batch_size 5 cannot be shared by 2 processes"):
        next(shares(5, 0, 2, 0))


def test_order_does_not_depend_on_workers_or_start(tmp_path):
    write_images(tmp_path, 4)
    catalog = scan(DataConfig(folders=(tmp_path,), crop_px=16, held_out_images=1), 4)[0]
    dataset = CropPairs(catalog, 4, "bicubic", 16, 0, True, True)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    alone = batches(dataset, 2, 0, 1, 0, 0, pin_memory=False)
    expected = list(islice(alone, 5))
    workers = list(islice(batches(dataset, 2, 0, 1, 2, 2, pin_memory=False), 3))
    for (lr, hr), (worker_lr, worker_hr) in zip(expected[2:], workers, strict=True):
        assert torch.equal(lr, worker_lr)
        assert torch.equal(hr, worker_hr)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("worker_processes", [0, 1])
def test_an_image_that_vanishes_is_one_line(tmp_path, worker_processes):
    paths = write_images(tmp_path, 4)
    config = DataConfig(folders=(tmp_path,), crop_px=16, held_out_images=1, cache_mib=0)
    dataset = CropPairs(scan(config, 4)[0], 4, "bicubic", 16, 0, True, True)
    for path in paths:
        path.unlink()
    stream = batches(dataset, 2, 0, 1, 0, worker_processes, pin_memory=False)
    with pytest.raises(UserError, match=r"image\d.png: no such file; put it back") as caught:
        next(stream)
    assert "\n" not in str(caught.value)


class _Deadly(CropPairs):
    """Kills the process that asks for a pair."""

    def __getitem__(self, position):
        os.kill(os.getpid(), signal.SIGKILL)


def one_crop_dataset(folder, kind=CropPairs):
    write_images(folder, 2)
    config = DataConfig(folders=(folder,), crop_px=16, held_out_images=1)
    return kind(scan(config, 4)[0], 4, "bicubic", 16, 0, True, True)


def test_a_worker_that_dies_is_one_line(tmp_path):
    stream = batches(one_crop_dataset(tmp_path, _Deadly), 2, 0, 1, 0, 1, pin_memory=False)
    with pytest.raises(UserError, match="worker_processes 1: a worker process died") as caught:
        next(stream)
    assert "\n" not in str(caught.value)


class _Broken:
    """A loader whose first batch is an error."""

    def __init__(self, error):
        self.error = error

    def __iter__(self):
        return self

    def __next__(self):
        raise self.error


@pytest.mark.parametrize(
    ("error", "workers", "expected"),
    [
        (RuntimeError("DataLoader worker (pid 1) is killed by signal: Killed. "), 1, UserError),
        (ConnectionResetError(104, "Connection reset by peer"), 1, UserError),
        (EOFError(), 1, UserError),
        (RuntimeError("stack expects each tensor to be equal size"), 1, RuntimeError),
        (OSError(24, "Too many open files"), 0, OSError),
    ],
)
def test_only_a_dead_worker_is_called_one(tmp_path, monkeypatch, error, workers, expected):
    monkeypatch.setattr(sampler, "DataLoader", lambda *_, **__: _Broken(error))
    stream = batches(one_crop_dataset(tmp_path), 2, 0, 1, 0, workers, pin_memory=False)
    with pytest.raises(expected):
        next(stream)
