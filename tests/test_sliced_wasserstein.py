"""The sliced Wasserstein distance against scipy, closed forms and degraded photographs."""

import math

import pytest
import skimage.data
import torch
import torch.nn.functional as F
from scipy.stats import wasserstein_distance

from counterpoise.metrics.sliced_wasserstein import (
    _enlarged,
    image_sliced_wasserstein,
    laplacian_pyramid,
    sliced_wasserstein,
    sliced_wasserstein_points,
)


@pytest.fixture(scope="module")
def photographs():
    picture = torch.from_numpy(skimage.data.astronaut()).permute(2, 0, 1).float() / 255
    tiles = picture.unfold(1, 64, 64).unfold(2, 64, 64).reshape(3, -1, 64, 64)
    return tiles.transpose(0, 1)[::4].contiguous()


def blurred(images, times):
    for _ in range(times):
        images = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="reflect"), 3, stride=1)
    return images


def test_points_on_a_line_against_scipy():
    draw = torch.Generator().manual_seed(0)
    a, b = torch.randn(300, 1, generator=draw), 2 * torch.randn(300, 1, generator=draw) + 1
    expected = wasserstein_distance(a[:, 0].numpy(), b[:, 0].numpy())
    assert sliced_wasserstein_points(a, b) == pytest.approx(expected, rel=1e-4)


def test_a_shift_in_the_plane():
    points = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    shifted = points + torch.tensor([3.0, 0.0])
    # The mean of |cos| over directions is 2 / pi.
    distance = sliced_wasserstein_points(shifted, points, projections=4000)
    assert distance == pytest.approx(3 * 2 / math.pi, rel=0.03)


def test_the_pyramid_adds_up_to_the_image(photographs):
    levels = laplacian_pyramid(photographs, 16)
    assert [level.shape[-1] for level in levels] == [64, 32, 16]
    image = levels[-1]
    for level in reversed(levels[:-1]):
        image = level + _enlarged(image, level.shape[-2:])
    assert torch.allclose(image, photographs, atol=1e-6)


def test_more_blur_and_less_contrast_are_further_away_and_a_seed_repeats(photographs):
    def distance(images, seed=0):
        found = sliced_wasserstein(images, photographs, seed=seed, projections=64)
        assert list(found) == [64, 32, 16]
        return sum(found.values()) / 3

    values = [distance(blurred(photographs, n)) for n in range(4)]
    assert values[0] == 0
    assert values == sorted(values)
    assert distance(0.5 * photographs + 0.25) > values[1]
    assert distance(blurred(photographs, 1)) == values[1]
    assert distance(blurred(photographs, 1), seed=1) != values[1]


def test_images_without_a_level_are_refused():
    with pytest.raises(ValueError, match="images"):
        sliced_wasserstein(torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 8, 8))


def test_one_image_against_its_original(photographs):
    picture = photographs[:1]
    values = [image_sliced_wasserstein(blurred(picture, n), picture) for n in range(4)]
    assert values[0] == 0
    assert values == sorted(values)
    assert values[1] > 10
    levels = sliced_wasserstein(
        blurred(picture, 1), picture, patches_per_image=1024, projections=128, least_px=16
    )
    assert values[1] == pytest.approx(sum(levels.values()) / 3)


@pytest.mark.parametrize("side", [7, 27, 28])
def test_an_image_of_any_side_has_levels(side):
    draw = torch.Generator().manual_seed(0)
    fake, real = torch.rand(2, 1, 3, side, side + 1, generator=draw).unbind(0)
    assert image_sliced_wasserstein(fake, real) > 0
