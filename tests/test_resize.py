import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from counterpoise.config import DegradationConfig
from counterpoise.data.images import read_rgb
from counterpoise.data.resize import downscale, downscale_crop, imresize
from helpers import random_pixels, smooth_pixels

sizes = st.integers(1, 40)


@given(sizes, sizes, sizes, sizes)
def test_a_constant_stays_constant(height, width, new_height, new_width):
    image = np.full((height, width, 3), 0.3)
    resized = imresize(image, (new_height, new_width))
    assert resized.shape == (new_height, new_width, 3)
    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized, 0.3, atol=1e-6)


@pytest.mark.parametrize("size", [(16, 12), (120, 200)])
def test_agrees_with_pillow_away_from_the_edges(size):
    image = smooth_pixels(1, 64, 96)[..., 0].astype(np.float32)
    ours = imresize(image, size)
    pillow = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC))
    margin = tuple(
        slice(4 * n // m + 4, -(4 * n // m + 4)) for n, m in zip(size, (64, 96), strict=True)
    )
    np.testing.assert_allclose(ours[margin], pillow[margin], atol=2e-3)


def test_uint8_is_rounded_between_the_passes():
    image = random_pixels(2, 32, 32)
    rows = imresize(image, (8, 32))
    np.testing.assert_array_equal(imresize(image, (8, 8)), imresize(rows, (8, 8)))


@pytest.mark.parametrize("degradation", ["bicubic", "lanczos"])
@given(data=st.data())
def test_a_crop_is_the_crop_of_the_whole(degradation, data):
    scale = data.draw(st.sampled_from([2, 4, 8]))
    # Tall ones too: Pillow goes another way there.
    height, width = data.draw(st.integers(6, 40)), data.draw(st.integers(6, 20))
    crop = data.draw(st.integers(1, 6))
    top = data.draw(st.integers(0, height - crop))
    left = data.draw(st.integers(0, width - crop))
    image = random_pixels(data.draw(st.integers(0, 9)), scale * height, scale * width)
    degradation = DegradationConfig(name=degradation)
    whole = downscale(image, scale, degradation)[top : top + crop, left : left + crop]
    part, hr = downscale_crop(image, scale, degradation, top, left, crop)
    np.testing.assert_array_equal(part, whole)
    rows, columns = (slice(scale * n, scale * (n + crop)) for n in (top, left))
    np.testing.assert_array_equal(hr, image[rows, columns])


def test_is_matlabs_imresize_to_the_bit(shared_data):
    for name in ("Set5", "Set14"):
        for path in sorted((shared_data / "benchmark" / name / "HR").iterdir()):
            lr = read_rgb(path.parents[1] / "LR_bicubic_x4" / path.name)
            np.testing.assert_array_equal(
                downscale(read_rgb(path), 4, DegradationConfig()), lr, str(path)
            )
