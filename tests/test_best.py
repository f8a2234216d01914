"""The checkpoint to take: which it is, and that it goes wherever weights do."""

import json
import shutil

import pytest
from PIL import Image

from counterpoise import best_step
from counterpoise.best_step import best_checkpoint
from counterpoise.errors import UserError
from counterpoise.json_lines import read_json_lines
from counterpoise.models.weights import load_generator
from counterpoise.run_folder import RunFolder
from counterpoise.training import checkpoint
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


def test_the_best_of_those_that_are_there(folder):
    rows = read_json_lines(folder.metrics)[0]
    rows = [row | IDEAL if row["step"] == 6 else row for row in rows]
    assert best_checkpoint(folder, rows) == folder.checkpoint(6)
    folder.checkpoint(6).unlink()
    assert best_checkpoint(folder, rows) in (folder.checkpoint(4), folder.checkpoint(8))
    assert best_checkpoint(folder, []) is None


def test_the_verb_names_the_best(folder, counterpoise):
    code, out, _ = counterpoise("best", folder.path, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["checkpoint"] == str(best_checkpoint(folder, found["candidates"]))
    code, out, _ = counterpoise("best", folder.path)
    assert (code, found["checkpoint"] in out.replace("\n", "")) == (0, True)
    shutil.rmtree(folder.checkpoints)
    one_line(counterpoise("best", folder.path), "no checkpoint")


def test_a_checkpoint_is_the_weights_of_its_average(folder, photos, tmp_path, counterpoise):
    path = folder.checkpoint(6)
    loaded = load_generator(path)
    assert loaded.metadata["trained"] == "step 6, average"
    saved = checkpoint.load(path).part("g_average")
    for name, tensor in loaded.generator.state_dict().items():
        assert tensor.equal(saved[name])
    code, out, _ = counterpoise("evaluate", "--weights", path, "--data", photos)
    assert (code, path.stem in out) == (0, True)
    run(tiny(f"train.initial_weights={path}", "train.steps=1", data=photos), tmp_path / "next")


def test_a_checkpoint_of_pairs_says_so(photos, tmp_path, counterpoise):
    for path in photos.iterdir():
        with Image.open(path) as hr:
            small = hr.resize((hr.width // 4, hr.height // 4))
        (tmp_path / "lr").mkdir(exist_ok=True)
        small.save(tmp_path / "lr" / path.name)
    pairs = f"data.lr_folders=[{tmp_path / 'lr'}]"
    run(tiny(pairs, "train.pretrain_steps=0", "train.steps=1", data=photos), tmp_path / "run")
    made = RunFolder(tmp_path / "run")
    both = (load_generator(path).generator for path in (made.generator, made.checkpoint(1)))
    assert {g.config.degradation.name for g in both} == {"paired"}
    code, out, _ = counterpoise("evaluate", "--weights", made.path, "--data", photos)
    assert (code, "run (bicubic LR)" in out, "trained on pairs" in out) == (0, True, True)


@pytest.mark.parametrize("values", ["{}", "torn", json.dumps({"step": 6})])
def test_a_checkpoint_that_does_not_say_its_network_is_refused(folder, monkeypatch, values):
    metadata = {"format": "counterpoise-checkpoint", "values": values}
    monkeypatch.setattr("counterpoise.models.weights.read_safetensors", lambda _: ({}, metadata))
    with pytest.raises(UserError):
        load_generator(folder.checkpoint(6))


def test_the_best_held_out_checkpoint_outlives_the_newest_ones(tmp_path, photos, monkeypatch):
    monkeypatch.setattr(best_step, "nearest_to_ideal", lambda rows: 4 if rows else None)
    every = "train={checkpoint_every: 1, sample_every: 1, keep_checkpoints: 2, batch_size: 2}"
    config = tiny(every, "train.steps=5", "train.pretrain_steps=3", data=photos)
    run(config, tmp_path / "run")
    steps = [int(f.stem[-8:]) for f in RunFolder(tmp_path / "run").checkpoint_files()]
    assert steps == [4, 7, 8]
