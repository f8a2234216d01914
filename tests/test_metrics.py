import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.signal import convolve2d
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from counterpoise.metrics.functional import crop_border, psnr, quantise, ssim, to_luma


def rand(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def pair():
    """Two batches of smooth images and noisy copies, of unequal quality."""
    smooth = torch.nn.functional.interpolate(rand(2, 3, 6, 7), size=(40, 50), mode="bicubic")
    real = smooth.clamp(0, 1)
    noise = torch.randn(real.shape, generator=torch.Generator().manual_seed(1))
    return (real + noise * torch.tensor([0.02, 0.1]).reshape(2, 1, 1, 1)).clamp(0, 1), real


def wang_ssim(one, other):
    """Wang et al.'s `ssim_index.m`: Gaussian window of 11 pixels, positions where it fits whole."""
    axis = np.arange(-5, 6)
    window = np.exp(-(axis[:, None] ** 2 + axis**2) / (2 * 1.5**2))
    window /= window.sum()

    def mean(x):
        return convolve2d(x, window, mode="valid")

    a, b = one.astype(np.float64), other.astype(np.float64)
    mu_a, mu_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mu_a**2, mean(b * b) - mu_b**2
    covariance = mean(a * b) - mu_a * mu_b
    c1, c2 = 0.01**2, 0.03**2
    index = (2 * mu_a * mu_b + c1) * (2 * covariance + c2)
    return np.mean(index / ((mu_a**2 + mu_b**2 + c1) * (var_a + var_b + c2)))


@given(st.lists(st.floats(-2, 3, width=32), min_size=1, max_size=20))
def test_quantise_is_what_an_8_bit_file_holds(values):
    values = torch.tensor(values)
    as_file = np.rint(np.clip(values.numpy(), 0, 1) * np.float32(255)).astype(np.uint8)
    quantised = quantise(values)
    assert np.array_equal((quantised * 255).round().numpy().astype(np.uint8), as_file)
    assert torch.equal(quantise(quantised), quantised)
    assert (quantised - values.clamp(0, 1)).abs().max() <= 0.5 / 255 + 1e-6


def test_luma_against_scikit_image():
    rgb = rand(2, 3, 5, 4)
    luma = to_luma(rgb)
    assert luma.shape == (2, 1, 5, 4)
    expected = rgb2ycbcr(rgb.double().numpy(), channel_axis=1)[:, :1] / 255
    np.testing.assert_allclose(luma.numpy(), expected, atol=1e-6)


def test_luma_keeps_to_its_limited_range():
    black, white = to_luma(torch.zeros(1, 3, 1, 1)), to_luma(torch.ones(1, 3, 1, 1))
    assert black.item() * 255 == pytest.approx(16)
    assert white.item() * 255 == pytest.approx(235, abs=1e-3)


def test_crop_border():
    images = rand(1, 3, 10, 12)
    assert torch.equal(crop_border(images, 4), images[..., 4:6, 4:8])
    assert torch.equal(crop_border(images, 0), images)


@pytest.mark.parametrize("shape", [(8, 12), (12, 8), (3, 3)])
def test_crop_border_that_leaves_nothing(shape):
    with pytest.raises(ValueError, match="nothing of .* is left without 4 px borders"):
        crop_border(rand(1, 3, *shape), 4)


def test_psnr_of_a_known_error():
    real = torch.full((2, 1, 4, 4), 0.5)
    fake = real + torch.tensor([0.1, 0.01]).reshape(2, 1, 1, 1)
    assert psnr(fake, real).tolist() == pytest.approx([20, 40], abs=1e-3)


def test_psnr_per_image_against_scikit_image(pair):
    fake, real = pair
    expected = [
        peak_signal_noise_ratio(r.double().numpy(), f.double().numpy(), data_range=1)
        for f, r in zip(fake, real, strict=True)
    ]
    assert psnr(fake, real).tolist() == pytest.approx(expected, abs=1e-4)


def test_equal_images():
    images = rand(1, 3, 16, 16)
    assert psnr(images, images).item() == float("inf")
    assert ssim(images, images).item() == pytest.approx(1)


def test_ssim_per_image_against_wang(pair):
    fake, real = (to_luma(images) for images in pair)
    expected = [wang_ssim(f[0].numpy(), r[0].numpy()) for f, r in zip(fake, real, strict=True)]
    assert expected[0] > expected[1] + 0.01
    assert ssim(fake, real).tolist() == pytest.approx(expected, abs=1e-6)


def test_ssim_of_colour_is_the_mean_over_channels(pair):
    fake, real = pair
    channels = [
        np.mean([wang_ssim(a.numpy(), b.numpy()) for a, b in zip(f, r, strict=True)])
        for f, r in zip(fake, real, strict=True)
    ]
    assert ssim(fake, real).tolist() == pytest.approx(channels, abs=1e-6)


def test_ssim_against_scikit_image_with_wang_s_settings(pair):
    fake, real = pair
    expected = structural_similarity(
        fake[0].double().numpy(),
        real[0].double().numpy(),
        channel_axis=0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
    )
    assert ssim(fake, real)[0].item() == pytest.approx(expected, abs=1e-6)


def test_higher_is_better(pair):
    fake, real = pair
    for metric in (psnr, ssim):
        better, worse = metric(fake, real).tolist()
        assert better > worse


def test_ssim_needs_a_whole_window():
    assert ssim(rand(1, 1, 11, 11), rand(1, 1, 11, 11)).shape == (1,)
    with pytest.raises(ValueError, match="at least 11 pixels"):
        ssim(rand(1, 1, 10, 40), rand(1, 1, 10, 40))


def test_scikit_image_is_imported_only_when_needed():
    code = "import sys, counterpoise.metrics.functional; assert 'skimage' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def read(path):
    with Image.open(path) as image:
        return image.convert("RGB")


def as_tensor(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255


@pytest.mark.parametrize(
    ("name", "count", "psnr_db", "similarity"),
    # Published bicubic rows: 28.42 dB on Set5, 26.00 to 26.10 dB on Set14. SSIM is as measured.
    [("Set5", 5, 28.43, 0.811), ("Set14", 14, 26.09, 0.705)],
)
def test_bicubic_row_of_the_field_s_tables(shared_data, name, count, psnr_db, similarity):
    folder = shared_data / "benchmark" / name
    scores = []
    for path in sorted((folder / "HR").glob("*.png")):
        hr, lr = read(path), read(folder / "LR_bicubic_x4" / path.name)
        upscaled = lr.resize(hr.size, Image.Resampling.BICUBIC)
        images = [to_luma(crop_border(quantise(as_tensor(x)), 4)) for x in (upscaled, hr)]
        scores.append((psnr(*images).item(), ssim(*images).item()))
    assert len(scores) == count
    mean_psnr, mean_ssim = np.mean(scores, axis=0)
    assert mean_psnr == pytest.approx(psnr_db, abs=0.03)
    assert mean_ssim == pytest.approx(similarity, abs=0.002)
