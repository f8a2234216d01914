import itertools

import numpy as np
import pytest
import torch

from counterpoise.sensors.images import image_readings, mean_distance, ratio, variance_within


def batch(seed, count=4, size=16, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return 0.5 + scale * (torch.rand(count, 3, size, size, generator=generator) - 0.5)


def read(fake, real, **options):
    """The readings as numbers."""
    found = image_readings(fake, real, **options)
    return {name: ratio(*v.tolist()) if v.ndim else v.item() for name, v in found.items()}


def test_mean_distance_against_numpy():
    flat = batch(0).numpy().reshape(4, -1)
    expected = np.mean([np.linalg.norm(a - b) for a, b in itertools.combinations(flat, 2)])
    assert mean_distance(batch(0)).item() == pytest.approx(expected, rel=1e-5)
    assert mean_distance(torch.tensor([0.0, 1.0, 3.0])).item() == pytest.approx(2)


@pytest.mark.parametrize("patch_px", [2, 8])
def test_variance_within_against_numpy(patch_px):
    images = batch(0, size=19)
    tiles = []
    for image in images.numpy():
        for top, left in itertools.product(range(0, 19 - patch_px + 1, patch_px), repeat=2):
            tiles.append(image[:, top : top + patch_px, left : left + patch_px].var((1, 2)))
    assert variance_within(images, patch_px).item() == pytest.approx(np.mean(tiles), rel=1e-5)


def test_a_collapsed_generator_has_no_diversity():
    real, fake = batch(0), batch(1, count=1).expand(4, -1, -1, -1)
    readings = read(fake, real, paired=False)
    assert readings["diversity_ratio"] == pytest.approx(0, abs=1e-4)
    assert readings.keys() == {"fake_out_of_range", "diversity_ratio"}
    assert read(batch(2), real, paired=False)["diversity_ratio"] == pytest.approx(1, abs=0.1)
    vectors = read(torch.rand(4, 10), torch.rand(4, 10), paired=False)
    assert 0.2 < vectors["diversity_ratio"] < 5
    # Only images are stored in a range: a D that wins on points wins on where they lie.
    assert "fake_out_of_range" not in vectors


def test_blurred_outputs_lack_high_frequencies():
    real = batch(0)
    blurred = read(torch.nn.functional.avg_pool2d(real, 3, 1, 1), real, paired=True)
    assert blurred["high_frequency_ratio"] < blurred["patch_variance_ratio"] < 0.5
    assert "diversity_ratio" not in blurred
    halved = read(batch(0, scale=0.5), real, paired=True)
    assert halved["high_frequency_ratio"] == pytest.approx(0.25)
    assert halved["patch_variance_ratio"] == pytest.approx(0.25)


def test_nothing_to_compare_with_is_none():
    flat = torch.full((4, 3, 8, 8), 0.5)
    assert read(batch(0, size=8), flat, paired=True)["high_frequency_ratio"] is None
    assert read(flat, flat, paired=False)["diversity_ratio"] is None
    assert "diversity_ratio" not in read(flat[:1], flat[:1], paired=False)


def test_the_share_outside_the_range():
    fake = torch.tensor([[[[-0.1, 0.5, 1.1, 1.0]]]])
    real = torch.tensor([[[[0.2, 0.4, 0.6, 0.8]]]])
    known = read(fake, real, paired=False, value_range=(0.0, 1.0))
    assert known["fake_out_of_range"] == 0.5
    assert read(fake, real, paired=False)["fake_out_of_range"] == 0.75
