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


@pytest.mark.parametrize("degradation", ["bicubic", "real-esrgan"])
def test_crops_do_not_depend_on_processes_workers_or_start(tmp_path, degradation):
    write_images(tmp_path, 4)
    catalog = scan(DataConfig(folders=(tmp_path,), crop_px=16, held_out_images=1), 4)[0]
    dataset = CropPairs(catalog, 4, DegradationConfig(name=degradation), 16, 0, True, True)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    alone = list(islice(batches(dataset, shares(2, 0, 1, 0), 0), 5))
    workers = islice(batches(dataset, shares(2, 0, 1, 2), 2), 3)
    shared = zip(*(batches(dataset, shares(2, rank, 2, 2), 0) for rank in (0, 1)), strict=True)
    for pair, of_workers, parts in zip(alone[2:], workers, shared, strict=False):
        together = [torch.cat(images) for images in zip(*parts, strict=True)]
        for images, *others in zip(pair, of_workers, together, strict=True):
            assert all(torch.equal(images, other) for other in others)
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.equal(alone[0][0], alone[3][0])  # the same images, in another pass
