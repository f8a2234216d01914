"""A training whose G begins with weights that are there."""

import pytest
import torch
from safetensors.torch import load_file

from counterpoise.errors import UserError
from counterpoise.json_lines import read_json_lines
from counterpoise.models.weights import load_generator, save_generator
from counterpoise.run_folder import RunFolder
from training_helpers import run, tiny

FROZEN = ["optimizer.g.learning_rate=1e-12", "train.pretrain_steps=0", "train.ema_decay=0"]


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    path = tmp_path_factory.mktemp("begun") / "run"
    run(tiny(), path)
    return path


def notes(path):
    return [row["message"] for row in read_json_lines(RunFolder(path).events)[0]]


@pytest.mark.parametrize("of", ["run", "file"])
def test_g_and_its_average_begin_with_them(tmp_path, begun, of):
    source = begun if of == "run" else RunFolder(begun).generator
    path = tmp_path / "run"
    other_images = "generator.degradation=lanczos"
    run(tiny(*FROZEN, f"train.initial_weights={source}", "train.steps=1", other_images), path)
    assert "G was trained on bicubic images before, and is on lanczos ones now" in notes(path)
    assert f"G begins with {source}" in notes(path)
    first = load_file(RunFolder(begun).generator)
    for name, tensor in load_file(RunFolder(path).generator).items():
        torch.testing.assert_close(tensor, first[name], rtol=0, atol=1e-6)
    # Not so without.
    run(tiny(*FROZEN, "train.steps=1"), tmp_path / "other")
    other = load_file(RunFolder(tmp_path / "other").generator)
    assert not torch.allclose(other["head.weight"], first["head.weight"], atol=1e-3)


def test_a_resumed_training_does_not_begin_again(tmp_path, begun):
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(RunFolder(begun).generator.read_bytes())
    given = [
        f"train.initial_weights={weights}",
        "train.pretrain_steps=0",
        "train.checkpoint_every=2",
    ]
    run(tiny(*given, "train.steps=4"), tmp_path / "whole")
    run(tiny(*given, "train.steps=2"), tmp_path / "parts")
    weights.unlink()
    run(tiny(*given, "train.steps=4"), tmp_path / "parts", resume=True)
    whole, parts = (load_file(RunFolder(tmp_path / n).checkpoint(4)) for n in ("whole", "parts"))
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())


def test_a_licence_stays_with_what_comes_of_them(tmp_path, begun, counterpoise):
    weights, path = tmp_path / "weights.safetensors", tmp_path / "run"
    save_generator(weights, load_generator(RunFolder(begun).generator).generator, {"licence": "ND"})
    given = [f"train.initial_weights={weights}", "train.pretrain_steps=0"]
    run(tiny(*given, "train.steps=2"), path)
    run(tiny(*given, "train.steps=4"), path, resume=True)
    assert load_generator(RunFolder(path).generator).metadata["licence"] == "ND"
    assert counterpoise("best", path)[0] == 0
    assert load_generator(RunFolder(path).best_generator).metadata["licence"] == "ND"
    assert "these weights, and what is made of them, are under ND" in notes(path)


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("generator.width=8", "width is 4 there and 8 here; set generator.width to it"),
        ("generator.bicubic=tf1-legacy", "bicubic is half-pixel there and tf1-legacy here"),
        (
            "train.initial_weights=missing.safetensors",
            "train.initial_weights: .*missing.safetensors",
        ),
    ],
)
def test_weights_that_do_not_fit_are_one_line_and_nothing_is_written(
    tmp_path, begun, override, what
):
    weights = f"train.initial_weights={RunFolder(begun).generator}"
    with pytest.raises(UserError, match=what):
        run(tiny(weights, override), tmp_path / "run")
    assert not (tmp_path / "run").exists()
