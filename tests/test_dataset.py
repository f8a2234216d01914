import numpy as np
import pytest
import torch

from counterpoise.config import DataConfig, DegradationConfig
from counterpoise.data.catalog import scan
from counterpoise.data.dataset import CropPairs, central_crops
from counterpoise.data.resize import downscale
from helpers import write_images


@pytest.fixture
def catalog(tmp_path):
    write_images(tmp_path, 6)
    return scan(DataConfig(folders=(tmp_path,), crop_px=32, held_out_images=2), 4)[0]


def pairs(catalog, seed=0, flips=True, rotations=True, degradation="bicubic"):
    return CropPairs(catalog, 4, DegradationConfig(name=degradation), 32, seed, flips, rotations)


def test_a_pair_is_a_function_of_seed_and_position(catalog):
    one, other = pairs(catalog), pairs(catalog)
    for position in (5, 0, 1000, 5):
        for a, b in zip(one[position], other[position], strict=True):
            assert torch.equal(a, b)
    assert not torch.equal(one[0][1], pairs(catalog, seed=1)[0][1])
    lr, hr = one[0]
    assert (lr.shape, hr.shape, lr.dtype) == ((3, 8, 8), (3, 32, 32), torch.uint8)


def test_every_image_is_used_once_per_pass(catalog):
    dataset = pairs(catalog)
    used = [dataset.image_at(position) for position in range(8)]
    assert sorted(used[:4]) == sorted(used[4:]) == [0, 1, 2, 3]


@pytest.mark.parametrize("degradation", ["bicubic", "lanczos"])
def test_lr_and_hr_stay_aligned_under_augmentation(catalog, degradation):
    dataset = pairs(catalog, degradation=degradation)
    for position in range(12):
        lr, hr = (x.numpy().transpose(1, 2, 0).astype(int) for x in dataset[position])
        again = downscale(hr.astype(np.uint8), 4, DegradationConfig(name=degradation)).astype(int)
        # The crop lacks its surroundings at its edges, and the order of the rounded passes turns
        # with it; misaligned crops differ by tens.
        assert np.abs(again - lr)[3:-3, 3:-3].max() <= 2


def test_augmentation_happens_only_when_asked(catalog):
    plain = pairs(catalog, flips=False, rotations=False)
    images = [catalog.load(i).hr for i in range(len(catalog))]
    for position in range(4):
        crop = plain[position][1].numpy().transpose(1, 2, 0)
        places = [
            (image[y : y + 32, x : x + 32] == crop).all()
            for image in images
            for y in range(0, 17, 4)
            for x in range(0, 33, 4)
        ]
        assert sum(places) == 1
    augmented = pairs(catalog)
    differs = [not torch.equal(plain[p][1], augmented[p][1]) for p in range(16)]
    assert 8 <= sum(differs) < 16


def test_whole_pairs_and_central_crops(catalog):
    lr, hr = catalog.pair(0, DegradationConfig())
    np.testing.assert_array_equal(lr, downscale(hr, 4, DegradationConfig()))
    lr_crops, hr_crops = central_crops(catalog, DegradationConfig(), 32, 3)
    assert (lr_crops.shape, hr_crops.shape) == ((3, 3, 8, 8), (3, 3, 32, 32))
    expected = torch.from_numpy(hr[8:40, 16:48].copy()).permute(2, 0, 1) / 255
    torch.testing.assert_close(hr_crops[0], expected)
    expected = torch.from_numpy(lr[2:10, 4:12].copy()).permute(2, 0, 1) / 255
    torch.testing.assert_close(lr_crops[0], expected, atol=1.1 / 255, rtol=0)
