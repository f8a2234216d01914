"""Degraded images: each step against an independent reference, and what they are drawn from."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from scipy import ndimage

from counterpoise.config import DegradationConfig, DegradationRound, GeneratorConfig
from counterpoise.config_file import load_config
from counterpoise.data.degrade import _Chain, blur_kernel, degrade, sharpened, sinc_kernel
from counterpoise.export import export
from counterpoise.models.generator import build_generator
from counterpoise.models.weights import load_generator, read_safetensors, save_generator
from helpers import one_line, random_pixels, smooth_pixels, write_images

REAL = DegradationConfig(name="real-esrgan")


def drawn(seed=0):
    return np.random.default_rng(seed)


def moments(kernel):
    """The covariance of a kernel as a distribution over (x, y)."""
    y, x = np.indices(kernel.shape) - kernel.shape[0] // 2
    return np.array([[(kernel * a * b).sum() for b in (x, y)] for a in (x, y)])


@pytest.mark.parametrize("angle", [0.0, 0.5, -2.0])
def test_a_gaussian_has_its_moments(angle):
    kernel = blur_kernel(21, np.array([2.0, 1.0]), angle, 1.0)
    assert kernel.sum() == pytest.approx(1)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    expected = turn @ np.diag([4.0, 1.0]) @ turn.T
    np.testing.assert_allclose(moments(kernel), expected, atol=0.02)


def test_kernels_are_what_they_are_called():
    sigma = np.array([2.0])
    gaussian = np.zeros((21, 21))
    gaussian[10, 10] = 1
    gaussian = ndimage.gaussian_filter(gaussian, 2.0, truncate=5)
    np.testing.assert_allclose(blur_kernel(21, sigma, 0.3, 1.0), gaussian, atol=1e-4)
    plateau = blur_kernel(21, sigma, 0.3, 2.0, is_plateau=True)
    assert plateau[10, 11] / plateau[10, 10] > gaussian[10, 11] / gaussian[10, 10]
    assert plateau[10, 12] / plateau[10, 10] == pytest.approx(0.5)  # where q is 1
    np.testing.assert_allclose(blur_kernel(7, np.array([0.0]), 0, 4.0)[3, 3], 1)


def test_the_sinc_filter_passes_what_is_below_its_cutoff():
    wide = np.zeros((256, 256))
    wide[:101, :101] = sinc_kernel(101, np.pi / 2)
    gain = np.abs(np.fft.fft2(wide))
    frequency = np.hypot(*np.meshgrid(*[2 * np.pi * np.fft.fftfreq(256)] * 2))
    assert gain[frequency < 0.4 * np.pi] == pytest.approx(1, abs=0.1)
    assert gain[frequency > 0.6 * np.pi].max() < 0.1


def test_noise_has_the_variance_that_was_drawn():
    flat = np.full((200, 200, 3), 100, np.uint8)
    flat[0] = np.arange(200)[:, None]  # levels for photons
    gaussian = {"gaussian_noise_probability": 1.0, "noise_sigma": (10.0, 10.0)}
    poisson = {"gaussian_noise_probability": 0.0, "poisson_scale": (2.0, 2.0)}
    for noise, variance in ((gaussian, 100), (poisson, 4 * 100 * 255 / 256)):
        for probability in (0.0, 1.0):
            chain = _Chain(flat, drawn())
            chain.add_noise(DegradationRound(**noise, grey_noise_probability=probability))
            added = (chain.image - flat)[1:]
            assert added.var() == pytest.approx(variance, rel=0.05)
            assert added.mean() == pytest.approx(0, abs=0.3)
            assert np.allclose(added[..., 0], added[..., 1]) == bool(probability)


def test_jpeg_is_close_to_pillows():
    image = smooth_pixels(0, 64, 64)
    chain = _Chain(image, drawn())
    chain.compress(DegradationRound(jpeg_quality=(40, 40)))
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=40)
    assert np.abs(chain.image - np.asarray(Image.open(file)).astype(float)).mean() < 0.5
    assert chain.steps == ["JPEG 40"]


def test_sharpening_is_pillows_where_there_is_detail():
    image = random_pixels(0, 120, 120)
    ours = sharpened(image).astype(float)
    pillow = Image.fromarray(image).filter(ImageFilter.UnsharpMask(8, 50, 0))
    centre = slice(40, 80), slice(40, 80)
    assert np.abs(ours - np.asarray(pillow).astype(float))[centre].mean() < 6
    assert (sharpened(np.full((64, 64, 3), 90, np.uint8)) == 90).all()


def test_what_is_drawn_is_within_its_ranges_and_all_of_it():
    image, steps = smooth_pixels(3, 64, 96), []
    for seed in range(200):
        lr, words = degrade(image, 4, REAL, drawn(seed))
        assert (lr.shape, lr.dtype) == ((16, 24, 3), np.uint8)
        steps.append(words)
    said = " ".join(" ".join(words) for words in steps)
    kinds = ["Gaussian 2", "generalised", "plateau", "sinc", "area", "bilinear", "bicubic"]
    for kind in [*kinds, "Gaussian noise", "Poisson noise", "grey"]:
        assert kind in said
    qualities = [int(word[5:]) for words in steps for word in words if word.startswith("JPEG")]
    assert len(qualities) == 400
    assert 30 <= min(qualities) < 35 < 90 < max(qualities) <= 95


def test_nothing_drawn_is_a_plain_resize():
    still = {"blur_probability": 0, "resize_weights": (0, 0, 1), "jpeg_quality": (100, 100)}
    still |= {"noise_sigma": (0, 0), "poisson_scale": (0, 0)}
    config = DegradationConfig(name="real-esrgan", first=still, second=still,
                               final_sinc_probability=0)  # fmt: skip
    image = smooth_pixels(1, 64, 64)[..., [0, 0, 0]]  # JPEG halves the resolution of colour
    lr, _ = degrade(image, 4, config, drawn())
    expected = np.asarray(Image.fromarray(image).resize((16, 16), Image.Resampling.BOX))
    assert np.abs(lr.astype(float) - expected).mean() < 3


def test_a_dry_run_draws_a_sheet(counterpoise, tmp_path):
    write_images(tmp_path / "photos", 6, 72, 72)
    sheet = tmp_path / "sheet.png"
    line = ["train", "--preset", "demo", "--data", tmp_path / "photos"]
    line += ["--show-degradations", sheet]
    real = ["--set", "generator.degradation=real-esrgan"]
    code, _, err = counterpoise(*line, *real, "--dry-run")
    assert (code, err) == (0, "")
    with Image.open(sheet) as image:
        assert min(image.size) > 400
    for wrong in ([*line, "--dry-run"], [*line, *real]):
        one_line(counterpoise(*wrong))


@pytest.mark.parametrize(
    "wrong",
    [
        "name=jpeg", "first.jpeg_quality=[90, 30]", "first.jpeg_quality=[0, 30]",
        "second.blur_sigma=3", "first.resize_weights=[0, 0, 0]", "first.resize_range=[0.5, 9]",
        "first.kernel_weights=[1, 1]", "second.blur_probability=2", "first.noise=[1, 2]",
    ],
)  # fmt: skip
def test_wrong_ranges_are_one_line(counterpoise, wrong):
    key = wrong.partition("=")[0]
    name = [] if key == "name" else ["--set", "generator.degradation.name=real-esrgan"]
    settings = [*name, "--set", f"generator.degradation.{wrong}"]
    result = counterpoise("train", "--preset", "demo", "--dry-run", *settings)
    one_line(result, f"generator.degradation.{key}")


@pytest.mark.parametrize("name", ["generator.degradation", "generator.degradation.name"])
def test_a_range_goes_with_a_name_in_either_way(name):
    ranges = "generator.degradation.second.jpeg_quality=[60, 95]"
    config = load_config("enet-pa", [f"{name}=real-esrgan", ranges]).generator.degradation
    assert (config.name, config.second.jpeg_quality) == ("real-esrgan", (60, 95))
    assert (config.second.noise_sigma, config.first.jpeg_quality) == ((1, 25), (30, 95))


def test_ranges_that_nothing_draws_from_are_an_error(counterpoise):
    ranges = "generator.degradation.first.jpeg_quality=[60, 95]"
    one_line(counterpoise("train", "--preset", "demo", "--dry-run", "--set", ranges))


def test_evaluation_draws_alike_and_says_what(counterpoise, tmp_path):
    write_images(tmp_path / "photos", 3, 64, 64)
    degradation = {"name": "real-esrgan", "first": {"jpeg_quality": [60, 95]}}
    for name, own in (("plain", {}), ("real", {"degradation": degradation})):
        torch.manual_seed(0)
        g = build_generator(GeneratorConfig(width=4, blocks=1, **own))
        save_generator(tmp_path / f"{name}.safetensors", g, {})
    tables = []
    for names in (("real",), ("real",), ("plain", "--degradation", "real-esrgan")):
        csv = tmp_path / f"{len(tables)}.csv"
        code, out, _ = counterpoise(
            "evaluate", "--weights", tmp_path / f"{names[0]}.safetensors", *names[1:],
            "--data", tmp_path / "photos", "--metrics", "psnr_y", "--csv", csv,
        )  # fmt: skip
        assert code == 0
        assert f"{names[0]} (real-esrgan LR)" in out
        tables.append(csv.read_text())
    assert tables[0] == tables[1]
    assert tables[0].replace("real (", "plain (") != tables[2]
    line = ("evaluate", "--weights", tmp_path / "plain.safetensors", "--data", tmp_path / "photos")
    one_line(counterpoise(*line, "--degradation", "x"))


def test_weights_carry_their_ranges(tmp_path):
    degradation = {"name": "real-esrgan", "second": {"noise_sigma": [1, 5]}}
    config = GeneratorConfig(width=4, blocks=1, degradation=degradation)
    save_generator(tmp_path / "g.safetensors", build_generator(config), {})
    loaded = load_generator(tmp_path / "g.safetensors").generator.config
    assert loaded == config
    export(tmp_path / "g.safetensors", tmp_path / "g-spandrel.safetensors", "spandrel", fp16=False)
    _, facts = read_safetensors(tmp_path / "g-spandrel.safetensors")
    assert json.loads(facts["degradation"])["second"]["noise_sigma"] == [1, 5]
