import pytest
import torch
from PIL import Image

from counterpoise.config import DataConfig, DegradationConfig
from counterpoise.data.catalog import CatalogImage, decode, scan
from counterpoise.data.dataset import CropPairs
from counterpoise.data.device_crops import DeviceCrops
from counterpoise.training.setup import fits_on_device
from helpers import smooth_pixels, write_images
from training_helpers import tiny

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path):
    """Images of several sizes, one of them just as large as a crop."""
    write_images(tmp_path, 4)
    for name, size in {"wide": (48, 100), "tall": (100, 36), "least": (32, 32)}.items():
        Image.fromarray(smooth_pixels(0, *size)).save(tmp_path / f"{name}.png")
    return tmp_path


def pairs(folder, degradation="bicubic", flips=True, rotations=True, **data):
    config = DataConfig(folders=(folder,), crop_px=32, held_out_images=1, **data)
    return CropPairs(
        scan(config, 4)[0], 4, DegradationConfig(name=degradation), 32, 0, flips, rotations
    )


@pytest.mark.parametrize("degradation", ["bicubic", "lanczos"])
def test_they_are_the_host_s_crops(folder, degradation):
    dataset = pairs(folder, degradation)
    positions = list(range(40, 104))
    # All eight poses are among them.
    assert len({(cut.mirrored, cut.turns) for cut in _cuts(dataset, positions)}) == 8
    lr, hr = DeviceCrops(dataset, CPU).batch(positions)
    for row, position in enumerate(positions):
        assert lr[row].equal(dataset[position][0]), position
        assert hr[row].equal(dataset[position][1]), position
    assert hr.is_contiguous(memory_format=torch.channels_last)


def _cuts(dataset, positions):
    for position in positions:
        image = dataset.catalog.load(dataset.image_at(position))
        yield dataset.cut(position, image.hr.shape)


def test_given_low_resolution_images_are_used(folder, tmp_path_factory):
    lr_folder = tmp_path_factory.mktemp("lr")
    for path in folder.iterdir():
        image = decode(CatalogImage(path.name, path), 4, None)
        Image.fromarray(255 - image.hr[::4, ::4]).save(lr_folder / path.name)
    dataset = pairs(folder, flips=False, rotations=False, lr_folders=(lr_folder,))
    lr, hr = DeviceCrops(dataset, CPU).batch(range(8))
    assert lr.equal(255 - hr[:, :, ::4, ::4])


def test_only_what_fits_is_kept_on_a_device(folder):
    images = pairs(folder).catalog
    free = 2**20
    assert fits_on_device(images, tiny("data.device_cache_mib=1"), free)
    assert not fits_on_device(images, tiny("data.device_cache_mib=0"), free)
    assert not fits_on_device(
        images, tiny(), sum(image.pixels.hr.nbytes for image in images.images)
    )
    assert not fits_on_device(pairs(folder, cache_mib=0).catalog, tiny(), free)
