"""`counterpoise best`: planted generators of known order, and what can be wrong with a run."""

import json
import shutil

import numpy as np
import pytest

from counterpoise.evaluate.plane import rank
from counterpoise.evaluate.scores import Scores
from counterpoise.json_lines import read_json_lines
from counterpoise.models.weights import load_generator
from counterpoise.run_folder import RunFolder
from counterpoise.training import checkpoint, held_out
from helpers import write_images
from training_helpers import run, tiny


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    write_images(folder, 4)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory, photos):
    path = tmp_path_factory.mktemp("best") / "run"
    run(tiny("train.checkpoint_every=2", "train.keep_checkpoints=9", data=photos), path)
    return path


@pytest.fixture
def folder(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def plant(folder, step, part, blur):
    """Make a generator of a checkpoint bicubic plus a constant error."""
    file = folder.checkpoint(step)
    snapshot = checkpoint.load(file)
    for name, tensor in snapshot.tensors.items():
        if name.startswith(f"{part}/"):
            tensor.zero_()
    snapshot.tensors[f"{part}/tail.bias"] += blur
    checkpoint.save(file, snapshot)


def scores(name, *points):
    rows = [(str(i), {"rmse": x, "sliced_wasserstein": y}) for i, (x, y) in enumerate(points)]
    return Scores(name, rows)


def test_the_ranking_by_hand():
    candidates = [
        scores("sharp", (12.0, 100.0), (14.0, 120.0)),
        scores("middle", (10.0, 110.0), (12.0, 130.0)),
        scores("blurred", (9.0, 300.0), (11.0, 320.0)),
        scores("beaten", (12.0, 200.0), (14.0, 220.0)),
    ]
    ranking = rank(candidates)
    assert ranking.on_front.tolist() == [True, True, True, False]
    # Spread between two images that differ by 2 in RMSE and by 20 in the distance.
    assert ranking.spreads == pytest.approx([np.sqrt(2), 10 * np.sqrt(2)])
    assert ranking.distances[1] == pytest.approx(np.hypot(1 / np.sqrt(2), 10 / (10 * np.sqrt(2))))
    assert ranking.order == (1, 0, 2, 3)
    assert ranking.recommended == 1
    # One image is ranked in shares of the mean.
    ranking = rank([scores("a", (10.0, 100.0)), scores("b", (20.0, 300.0))])
    assert ranking.spreads.tolist() == [15, 200]
    assert ranking.order == (0, 1)


def test_the_planted_best_is_found_and_written(counterpoise, folder):
    plant(folder, 8, "g", 0.3)
    plant(folder, 8, "g_average", 0.3)
    for step in (4, 6):
        plant(folder, step, "g_average", 0.2)
        plant(folder, step, "g", 0.1)
    plant(folder, 6, "g", 0.0)
    code, out, err = counterpoise("best", folder.path)
    assert (code, err) == (0, "")
    assert "Recommended: step 6, as trained, since" in out
    assert "6 held-out evaluations" in out  # for a trend
    result = json.loads(folder.best.read_text())
    best = result["recommended"]
    assert (best["step"], best["weights"]) == (6, "as trained")
    assert best["checkpoint"] == "checkpoints/step-00000006.safetensors"
    assert result["candidates"][0]["step"] == 6
    # Steps 4, 6 and 8; step 2 is of the pretraining. Stages have 3 and 5 steps.
    assert {each["step"] for each in result["candidates"]} == {4, 6, 8}
    references = {reference["method"] for reference in result["references"]}
    assert references == {"bicubic", "E (pretrained)"}
    chosen = load_generator(folder.best_generator)
    assert chosen.metadata["trained"] == "stage train, step 6, as trained"
    assert not chosen.generator.head.weight.any()


def best_json(counterpoise, *arguments):
    code, out, _ = counterpoise("best", *arguments, "--json")
    assert code == 0
    return json.loads(out)


def test_json_and_other_images(counterpoise, folder, tmp_path):
    write_images(tmp_path / "photos", 3)
    result = best_json(counterpoise, folder.path, "--data", tmp_path / "photos")
    assert result["image_count"] == 3
    assert result == json.loads(folder.best.read_text())
    assert result["perception"] == "sliced_wasserstein"


def test_averages_on_held_out_images_are_what_the_training_recorded(counterpoise, folder):
    result = best_json(counterpoise, folder.path)
    recorded = {row["step"]: row for row in read_json_lines(folder.metrics)[0]}
    averages = [each for each in result["candidates"] if each["weights"] == "average"]
    compared = [each for each in averages if each["step"] in recorded]
    assert compared
    for each in compared:
        for name in ("psnr_y", "rmse", "sliced_wasserstein"):
            expected = recorded[each["step"]][name]
            assert each["metrics"][name] == pytest.approx(expected, rel=1e-4)


def test_a_damaged_checkpoint_is_named_and_left_out(counterpoise, folder):
    folder.checkpoint(8).write_bytes(b"torn")
    code, out, _ = counterpoise("best", folder.path)
    assert code == 0
    assert "step-00000008.safetensors: damaged checkpoint" in out
    assert "Recommended: step 8" not in out
    for file in folder.checkpoint_files():
        file.write_bytes(b"torn")
    before = folder.best.read_text()
    one_line(counterpoise("best", folder.path), "no checkpoint that can be read")
    assert folder.best.read_text() == before


def one_line(result, expected):
    code, _, err = result
    assert code == 2, err
    assert err.count("\n") == 1, err
    assert expected in err


def test_runs_without_checkpoints(counterpoise, folder, tmp_path):
    shutil.rmtree(folder.checkpoints)
    one_line(counterpoise("best", folder.path), "has no checkpoint yet")
    one_line(counterpoise("best", tmp_path), "not a run folder")
    balance = tmp_path / "balance"
    balance.mkdir()
    (balance / "config.yaml").write_text("balance: {policy: auto}\n")
    one_line(counterpoise("best", balance), "evaluate --outputs FOLDER")
    assert not (balance / "best.json").exists()


def test_the_best_held_out_checkpoint_outlives_the_newest_ones(tmp_path, photos, monkeypatch):
    monkeypatch.setattr(held_out, "nearest_to_ideal", lambda rows: 4 if rows else None)
    every = "train={checkpoint_every: 1, sample_every: 1, keep_checkpoints: 2, batch_size: 2}"
    config = tiny(every, "train.steps=5", "train.pretrain_steps=3", data=photos)
    run(config, tmp_path / "run")
    steps = [int(f.stem[-8:]) for f in RunFolder(tmp_path / "run").checkpoint_files()]
    assert steps == [4, 7, 8]
