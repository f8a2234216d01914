"""`counterpoise evaluate` as a user meets it."""

import csv
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from counterpoise.config import GeneratorConfig
from counterpoise.models.generator import build_generator
from counterpoise.models.weights import save_generator
from helpers import one_line, smooth_pixels


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """HR images of two sets, outputs of one of them, and two generators."""
    folder = tmp_path_factory.mktemp("evaluate")
    for name in ("one/HR", "two", "outputs"):
        (folder / name).mkdir(parents=True)
    for number in range(3):
        pixels = smooth_pixels(number, 64, 80)
        for name in ("one/HR", "two"):
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
        noise = np.random.default_rng(number).integers(-4, 5, pixels.shape)
        noisy = np.clip(pixels + noise, 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / "outputs" / f"{number}_x4.png")
    torch.manual_seed(0)
    for name in ("a", "b"):
        generator = build_generator(GeneratorConfig(width=4, blocks=1))
        save_generator(folder / f"{name}.safetensors", generator, {})
    return folder


def test_chosen_metrics_and_images_that_have_an_output(counterpoise, place, tmp_path):
    (tmp_path / "some").mkdir()
    for name in ("0_x4.png", "2_x4.png"):
        (tmp_path / "some" / name).write_bytes((place / "outputs" / name).read_bytes())
    code, out, _ = counterpoise(
        "evaluate", "--outputs", tmp_path / "some", "--data", place / "two",
        "--metrics", "psnr,rmse", "--csv", tmp_path / "s.csv",
    )  # fmt: skip
    assert code == 0
    assert "SSIM" not in out
    assert "not computed" not in out
    assert "two: 2 images" in out
    assert "no output for 1.png, which is left out for all methods" in out
    with (tmp_path / "s.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["set", "method", "image", "psnr_y", "psnr_rgb", "rmse"]
    assert [r["image"] for r in rows if r["method"] == "some"] == ["0.png", "2.png", "mean"]


def test_compare_weights_with_outputs(counterpoise, place):
    pair = [place / "a.safetensors", place / "outputs"]
    code, out, _ = counterpoise(
        "evaluate", "--compare", *pair, "--data", place / "two",
        "--metrics", "psnr,rmse,sliced_wasserstein",
    )  # fmt: skip
    assert code == 0
    differences = out[out.index("two: B against A") :]
    assert "3 of 3" in differences
    assert "A: a (bicubic LR)" in differences
    assert "B: outputs" in differences
    assert differences.count("B is better") == 4
    assert "Of 3 images, an interval by resampling is rather too narrow" in differences


def test_weights_of_one_name_and_a_folder_called_like_markup(counterpoise, place, tmp_path):
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        shutil.copy(place / "a.safetensors", tmp_path / name / "g.safetensors")
    shutil.copytree(place / "two", tmp_path / "[red]out[bold]")
    code, out, _ = counterpoise(
        "evaluate", "--compare", tmp_path / "x/g.safetensors", tmp_path / "y/g.safetensors",
        "--outputs", tmp_path / "[red]out[bold]", "--data", place / "two", "--metrics", "psnr",
    )  # fmt: skip
    assert code == 0
    for text in ("x/g (bicubic LR)", "y/g (bicubic LR)", "equal", "[red]out[bold]"):
        assert text in out


def test_several_sets_need_a_folder_of_outputs_each(counterpoise, place, tmp_path):
    sets = [place / "one/HR", place / "two"]
    start = ["evaluate", "--metrics", "psnr", "--data", *sets, "--outputs"]
    one_line(counterpoise(*start, place / "outputs"), "with several sets", "outputs/one")
    for name in ("one", "two"):
        shutil.copytree(place / "outputs", tmp_path / name)
    code, out, _ = counterpoise(*start, tmp_path)
    assert code == 0
    for name in ("one", "two"):
        assert f"{name}: 3 images" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--data two", "give --weights FILE, --outputs FOLDER or --compare"),
        ("--weights a.safetensors", "give --data FOLDER"),
        ("--weights a.safetensors run --data two", "give --weights once for each"),
        ("--weights a.safetensors a.safetensors --data two", "give --weights once for each"),
        ("--weights a.safetensors --data two --metrics ssi", "no metric 'ssi'"),
        ("--weights a.safetensors --data two --scale 2", "x2 and x4 cannot be in one"),
        ("--compare a.safetensors a.safetensors --data two", "is given twice"),
    ],
)
def test_mistakes(counterpoise, place, monkeypatch, arguments, message):
    monkeypatch.chdir(place)
    (place / "run").mkdir(exist_ok=True)
    (place / "run" / "config.yaml").write_text("{}")
    one_line(counterpoise("evaluate", *arguments.split()), message)


def as_set(folder, layout, place):
    """A benchmark set of three images in one of the layouts that they are handed round in."""
    for number in range(3):
        hr = Image.open(place / "two" / f"{number}.png")
        lr = hr.resize((20, 16), Image.Resampling.BOX)
        for image, path in zip((hr, lr), layout, strict=True):
            file = folder / path.format(number)
            file.parent.mkdir(parents=True, exist_ok=True)
            image.save(file)
    return folder


@pytest.mark.parametrize(
    "layout",
    [
        ("HR/{}.png", "LR_bicubic_x4/{}.png"),
        ("HR/{}_HR.png", "LR/{}_LR.png"),
        ("{}_SRF_4_HR.png", "{}_SRF_4_LR.png"),
    ],
)
def test_a_set_with_lr_images_is_scored_on_them_once_each(counterpoise, place, tmp_path, layout):
    folder = as_set(tmp_path / "set", layout, place)
    line = ("evaluate", "--weights", place / "a.safetensors", "--data", folder)
    line += ("--metrics", "psnr")
    code, out, _ = counterpoise(*line, "--csv", tmp_path / "own.csv")
    assert (code, "3 images" in out, "a (paired LR)" in out) == (0, True, True)
    code, out, _ = counterpoise(*line, "--degradation", "bicubic", "--csv", tmp_path / "made.csv")
    assert "a (bicubic LR)" in out
    own, made = ((tmp_path / f"{name}.csv").read_text().splitlines() for name in ("own", "made"))
    assert len(own) == len(made) == 1 + 2 * 4  # of each method: three images, their mean
    assert own[1].split(",")[3] != made[1].split(",")[3]


def test_lr_images_of_a_folder_by_name(counterpoise, place, tmp_path):
    folder = as_set(tmp_path, ("good/{}.png", "small/{}x4.png"), place)
    line = ("evaluate", "--weights", place / "a.safetensors", "--data", folder / "good", "--lr")
    code, out, _ = counterpoise(*line, folder / "small")
    assert (code, "a (paired LR)" in out) == (0, True)
    Image.new("RGB", (10, 10)).save(folder / "small" / "1x4.png")
    code, out, _ = counterpoise(*line, folder / "small")
    assert (code, "2 images" in out, "is 10x10, not 20x16" in out) == (0, True, True)
    one_line(counterpoise(*line, folder / "good"), "no image of its name")
    one_line(counterpoise(*line, folder / "missing"))
    one_line(counterpoise(*line, folder / "small", "--degradation", "lanczos"), "--lr")
    one_line(counterpoise(*line, folder / "small", "--data", place / "two"), "--lr")
