import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import correlate
from scipy.signal import convolve2d
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from counterpoise.data.resize import imresize
from counterpoise.metrics.functional import (
    crop_border,
    ms_ssim,
    psnr,
    quantise,
    rmse,
    ssim,
    to_luma,
)


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


def wang_ms_ssim(one, other):
    """Wang et al.'s `msssim.m`, by scipy: 2x2 means with mirrored edges, every second pixel."""
    axis = np.arange(-5, 6)
    window = np.exp(-(axis[:, None] ** 2 + axis**2) / (2 * 1.5**2))
    window /= window.sum()
    product = 1.0
    for exponent in (0.0448, 0.2856, 0.3001, 0.2363, 0.1333):
        mu_a, mu_b = (convolve2d(x, window, mode="valid") for x in (one, other))
        var_a, var_b, covariance = (
            convolve2d(x, window, mode="valid") - mean
            for x, mean in (
                (one * one, mu_a**2),
                (other * other, mu_b**2),
                (one * other, mu_a * mu_b),
            )
        )
        contrast = (2 * covariance + 0.03**2) / (var_a + var_b + 0.03**2)
        whole = contrast * (2 * mu_a * mu_b + 0.01**2) / (mu_a**2 + mu_b**2 + 0.01**2)
        product *= (whole if exponent == 0.1333 else contrast).mean() ** exponent
        one, other = (
            correlate(x, np.full((2, 2), 0.25), mode="reflect", origin=-1)[::2, ::2]
            for x in (one, other)
        )
    return product


@pytest.fixture(scope="module")
def large_pair():
    # Odd sides at several scales.
    smooth = torch.nn.functional.interpolate(rand(2, 1, 12, 14), size=(181, 203), mode="bicubic")
    real = smooth.clamp(0, 1)
    noise = torch.randn(real.shape, generator=torch.Generator().manual_seed(1))
    return (real + noise * torch.tensor([0.02, 0.1]).reshape(2, 1, 1, 1)).clamp(0, 1), real


def test_ms_ssim_against_wang(large_pair):
    fake, real = (x.double().numpy()[:, 0] for x in large_pair)
    expected = [wang_ms_ssim(*pair) for pair in zip(fake, real, strict=True)]
    assert expected[0] > expected[1] + 0.01
    assert ms_ssim(*large_pair).tolist() == pytest.approx(expected, abs=1e-6)


def test_ms_ssim_against_torchmetrics(large_pair):
    # torchmetrics mirrors the edges, and drops the last pixel of odd sides.
    fake, real = large_pair
    expected = multiscale_structural_similarity_index_measure(
        fake, real, data_range=1.0, reduction="none"
    )
    assert ms_ssim(fake, real).tolist() == pytest.approx(expected.tolist(), abs=3e-3)


def test_ms_ssim_of_equal_and_of_too_small_images():
    images = rand(1, 3, 176, 180)
    assert ms_ssim(images, images).item() == pytest.approx(1)
    with pytest.raises(ValueError, match="at least 176 pixels"):
        ms_ssim(rand(1, 1, 175, 400), rand(1, 1, 175, 400))


def test_rmse_in_grey_levels():
    real = torch.full((2, 1, 4, 4), 0.5)
    fake = real + torch.tensor([10 / 255, -2 / 255]).reshape(2, 1, 1, 1)
    assert rmse(fake, real).tolist() == pytest.approx([10, 2], rel=1e-5)


def matlab_bicubic(path):
    """PSNR and SSIM of bicubic x4 as SRCNN's and VDSR's MATLAB scripts measure them.

    Luma is rounded to 8 bits before it is made smaller, the small image is not; a grey file is its
    own luma, not taken to [16, 235].
    """
    with Image.open(path) as image:
        pixels = np.asarray(image, dtype=np.float64)
    if pixels.ndim == 3:
        pixels = pixels @ np.array([65.481, 128.553, 24.966]) / 255 + 16
    luma = np.round(pixels) / 255
    height, width = luma.shape
    small = imresize(luma, (height // 4, width // 4)).astype(np.float64)
    images = [quantise(torch.from_numpy(x).double()) for x in (imresize(small, luma.shape), luma)]
    pair = [crop_border(x[None, None], 4) for x in images]
    return psnr(*pair).item(), ssim(*pair).item()


@pytest.mark.parametrize(
    ("name", "psnr_db", "similarity", "within"),
    # As VDSR's table has it (Kim et al. 2016), and many since. Set14's HR images here are those of
    # SelfExSR, cut to multiples of the scale; which cut the published SSIM is of is not known.
    [("Set5", 28.42, 0.8104, 0.00005), ("Set14", 26.00, 0.7027, 0.001)],
)
def test_bicubic_by_the_matlab_protocol_is_the_published_row(
    shared_data, name, psnr_db, similarity, within
):
    paths = sorted((shared_data / "benchmark" / name / "HR").glob("*.png"))
    mean_psnr, mean_ssim = np.mean([matlab_bicubic(path) for path in paths], axis=0)
    assert mean_psnr == pytest.approx(psnr_db, abs=0.005)
    assert mean_ssim == pytest.approx(similarity, abs=within)
