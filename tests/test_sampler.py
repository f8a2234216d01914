from itertools import islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.config import DataConfig, DegradationConfig
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
    dataset = CropPairs(catalog, 4, DegradationConfig(), 16, 0, True, True)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    alone = batches(dataset, shares(2, 0, 1, 0), 0)
    expected = list(islice(alone, 5))
    workers = list(islice(batches(dataset, shares(2, 0, 1, 2), 2), 3))
    for (lr, hr), (worker_lr, worker_hr) in zip(expected[2:], workers, strict=True):
        assert torch.equal(lr, worker_lr)
        assert torch.equal(hr, worker_hr)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("worker_threads", [0, 1])
def test_an_image_that_vanishes_is_one_line(tmp_path, worker_threads):
    paths = write_images(tmp_path, 4)
    config = DataConfig(folders=(tmp_path,), crop_px=16, held_out_images=1, cache_mib=0)
    dataset = CropPairs(scan(config, 4)[0], 4, DegradationConfig(), 16, 0, True, True)
    for path in paths:
        path.unlink()
    stream = batches(dataset, shares(2, 0, 1, 0), worker_threads)
    with pytest.raises(UserError, match=r"image\d.png: no such file; put it back") as caught:
        next(stream)
    assert "\n" not in str(caught.value)
