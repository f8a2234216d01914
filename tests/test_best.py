"""`counterpoise best`: the checkpoint with the best held-out metrics, and what can be wrong."""

import json
import shutil

import pytest

from counterpoise.json_lines import read_json_lines
from counterpoise.models.weights import load_generator
from counterpoise.run_folder import RunFolder
from counterpoise.training import checkpoint, held_out
from helpers import one_line, write_images
from training_helpers import run, tiny

# Far better than what the training recorded.
IDEAL = {"stage": "train", "rmse": 1e-3, "sliced_wasserstein": 1e-3, "lpips": 1e-3}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    write_images(folder, 4)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory, photos):
    path = tmp_path_factory.mktemp("best") / "run"
    every = ("train.checkpoint_every=2", "train.sample_every=2", "train.keep_checkpoints=9")
    run(tiny(*every, data=photos), path)
    return path


@pytest.fixture
def folder(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def say_ideal(folder, step):
    """Let the held-out metrics of a step be the best."""
    rows = read_json_lines(folder.metrics)[0]
    rows = [row | IDEAL if row["step"] == step else row for row in rows]
    folder.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_best_is_found_and_written(counterpoise, folder):
    say_ideal(folder, 6)
    code, out, err = counterpoise("best", folder.path)
    assert (code, err) == (0, "")
    assert "Recommended: step 6, since" in out
    code, printed, _ = counterpoise("best", folder.path, "--json")
    assert code == 0
    result = json.loads(printed)
    best = result["recommended"]
    assert (best["step"], best["weights"]) == (6, "average")
    assert best["checkpoint"] == "checkpoints/step-00000006.safetensors"
    # Step 2 is of the pretraining.
    assert [each["step"] for each in result["candidates"]] == [4, 6, 8]
    chosen = load_generator(folder.best_generator)
    assert chosen.metadata["trained"] == "stage train, step 6, average"
    saved = checkpoint.load(folder.checkpoint(6)).part("g_average")
    for name, tensor in chosen.generator.state_dict().items():
        assert tensor.equal(saved[name])


def test_a_checkpoint_that_is_gone_is_told(counterpoise, folder):
    say_ideal(folder, 6)
    folder.checkpoint(6).unlink()
    code, out, _ = counterpoise("best", folder.path)
    assert code == 0
    assert "nearest to the ideal at step 6, of which there is no checkpoint" in out


def test_a_damaged_checkpoint_is_named_and_left_out(counterpoise, folder):
    say_ideal(folder, 8)
    folder.checkpoint(8).write_bytes(b"torn")
    code, out, _ = counterpoise("best", folder.path)
    assert code == 0
    assert "step-00000008.safetensors: not a safetensors file, or damaged" in out
    assert "Recommended: step 8" not in out
    for file in folder.checkpoint_files():
        file.write_bytes(b"torn")
    before = folder.best_generator.read_bytes()
    one_line(counterpoise("best", folder.path), "no checkpoint that can be read")
    assert folder.best_generator.read_bytes() == before


def test_runs_without_checkpoints(counterpoise, folder, tmp_path):
    shutil.rmtree(folder.checkpoints)
    one_line(counterpoise("best", folder.path), "has no checkpoint yet")
    one_line(counterpoise("best", tmp_path), "not a run folder")
    assert not folder.best_generator.exists()


def test_the_best_held_out_checkpoint_outlives_the_newest_ones(tmp_path, photos, monkeypatch):
    monkeypatch.setattr(held_out, "nearest_to_ideal", lambda rows: 4 if rows else None)
    every = "train={checkpoint_every: 1, sample_every: 1, keep_checkpoints: 2, batch_size: 2}"
    config = tiny(every, "train.steps=5", "train.pretrain_steps=3", data=photos)
    run(config, tmp_path / "run")
    steps = [int(f.stem[-8:]) for f in RunFolder(tmp_path / "run").checkpoint_files()]
    assert steps == [4, 7, 8]
