"""PSNR, SSIM and their steps against scipy, scikit-image and published rows."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.signal import convolve2d
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio

from counterpoise.data.resize import imresize
from counterpoise.metrics.functional import crop_border, psnr, quantise, rmse, ssim, to_luma


def rand(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def noisy_pair(channels, height, width):
    """Two batches of smooth images and noisy copies, the second one noisier."""
    smooth = torch.nn.functional.interpolate(
        rand(2, channels, 8, 9), size=(height, width), mode="bicubic"
    )
    real = smooth.clamp(0, 1)
    noise = torch.randn(real.shape, generator=torch.Generator().manual_seed(1))
    return (real + noise * torch.tensor([0.02, 0.1]).reshape(2, 1, 1, 1)).clamp(0, 1), real


@given(st.lists(st.floats(-2, 3, width=32), min_size=1, max_size=20))
def test_quantise_is_what_an_8_bit_file_holds(values):
    values = torch.tensor(values)
    as_file = np.rint(np.clip(values.numpy(), 0, 1) * np.float32(255)).astype(np.uint8)
    quantised = quantise(values)
    assert np.array_equal((quantised * 255).round().numpy().astype(np.uint8), as_file)
    assert torch.equal(quantise(quantised), quantised)


def test_luma_against_scikit_image():
    rgb = rand(2, 3, 5, 4)
    luma = to_luma(rgb)
    assert luma.shape == (2, 1, 5, 4)
    expected = rgb2ycbcr(rgb.double().numpy(), channel_axis=1)[:, :1] / 255
    np.testing.assert_allclose(luma.numpy(), expected, atol=1e-6)
    for value, level in ((0.0, 16), (1.0, 235)):
        assert to_luma(torch.full((1, 3, 1, 1), value)).item() * 255 == pytest.approx(level)


def test_crop_border():
    images = rand(1, 3, 10, 12)
    assert torch.equal(crop_border(images, 4), images[..., 4:6, 4:8])
    assert torch.equal(crop_border(images, 0), images)
    for shape in ((8, 12), (12, 8)):
        with pytest.raises(ValueError, match="nothing of .* is left without 4 px borders"):
            crop_border(rand(1, 3, *shape), 4)


def test_psnr_and_rmse_per_image():
    real = torch.full((2, 1, 4, 4), 0.5)
    fake = real + torch.tensor([0.1, -0.01]).reshape(2, 1, 1, 1)
    assert psnr(fake, real).tolist() == pytest.approx([20, 40], abs=1e-3)
    assert rmse(fake, real).tolist() == pytest.approx([25.5, 2.55], rel=1e-4)
    assert psnr(real, real).tolist() == [float("inf")] * 2
    fake, real = noisy_pair(3, 40, 50)
    expected = [
        peak_signal_noise_ratio(r.double().numpy(), f.double().numpy(), data_range=1)
        for f, r in zip(fake, real, strict=True)
    ]
    assert psnr(fake, real).tolist() == pytest.approx(expected, abs=1e-4)


def wang_ssim(one, other):
    """Wang et al.'s `ssim_index.m`: a Gaussian window of 11 pixels, where it fits whole."""
    axis = np.arange(-5, 6)
    window = np.exp(-(axis[:, None] ** 2 + axis**2) / (2 * 1.5**2))
    window /= window.sum()

    def mean(x):
        return convolve2d(x, window, mode="valid")

    mu_a, mu_b = mean(one), mean(other)
    variances = mean(one * one) - mu_a**2 + mean(other * other) - mu_b**2
    covariance = mean(one * other) - mu_a * mu_b
    contrast = (2 * covariance + 0.03**2) / (variances + 0.03**2)
    luminance = (2 * mu_a * mu_b + 0.01**2) / (mu_a**2 + mu_b**2 + 0.01**2)
    return (contrast * luminance).mean()


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_per_image_is_wang_s_mean_over_channels(channels):
    fake, real = noisy_pair(channels, 40, 50)
    expected = [
        np.mean([wang_ssim(a, b) for a, b in zip(f, r, strict=True)])
        for f, r in zip(fake.double().numpy(), real.double().numpy(), strict=True)
    ]
    assert expected[0] > expected[1] + 0.01
    assert ssim(fake, real).tolist() == pytest.approx(expected, abs=1e-6)


def test_ssim_of_equal_and_of_too_small_images():
    images = rand(1, 3, 11, 15)
    assert ssim(images, images).item() == pytest.approx(1)
    with pytest.raises(ValueError, match="at least 11 pixels"):
        ssim(*(rand(1, 1, 10, 400) for _ in range(2)))


def test_bicubic_by_the_matlab_protocol_is_the_published_row(shared_data):
    """Set5 as VDSR's table has it (Kim et al. 2016), and many since: luma is rounded to 8 bits
    before it is made smaller, the small image is not."""
    scores = []
    for path in sorted((shared_data / "benchmark" / "Set5" / "HR").glob("*.png")):
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"), dtype=np.float64)
        luma = np.round(pixels @ np.array([65.481, 128.553, 24.966]) / 255 + 16) / 255
        height, width = luma.shape
        small = imresize(luma, (height // 4, width // 4)).astype(np.float64)
        both = imresize(small, luma.shape), luma
        pair = [crop_border(quantise(torch.from_numpy(x).double())[None, None], 4) for x in both]
        scores.append((psnr(*pair).item(), ssim(*pair).item()))
    mean_psnr, mean_ssim = np.mean(scores, axis=0)
    assert mean_psnr == pytest.approx(28.42, abs=0.005)
    assert mean_ssim == pytest.approx(0.8104, abs=0.00005)
