"""`counterpoise evaluate` as a user meets it."""

import csv
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from counterpoise.config import GeneratorConfig
from counterpoise.metrics import niqe
from counterpoise.models.generator import build_generator
from counterpoise.models.weights import save_generator
from helpers import smooth_pixels


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


def one_line(result, *expected):
    code, _, err = result
    assert code == 2, err
    assert err.count("\n") == 1, err
    for text in expected:
        assert text in err


def test_outputs_instead_of_weights(counterpoise, place, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(niqe, "find_spec", lambda name: None)
    code, out, err = counterpoise(
        "evaluate", "--outputs", place / "outputs", "--data", place / "one/HR"
    )
    assert (code, err) == (0, "")
    assert "one: 3 images, x4" in out
    assert "outputs" in out
    for name in ("LPIPS", "NIQE"):
        assert f"not computed: {name} needs" in out


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


def test_crops_side_by_side(counterpoise, place, tmp_path):
    code, out, _ = counterpoise(
        "evaluate", "--weights", place / "a.safetensors", "--data", place / "two",
        "--figures", tmp_path, "--metrics", "psnr",
    )  # fmt: skip
    assert code == 0
    path = tmp_path / "crops-two.png"
    assert f"crops: {path}" in out
    with Image.open(path) as image:
        assert min(image.size) > 200


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
