"""A checkpoint that a run cannot be resumed from is one line, and nothing of the run changes."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from counterpoise.errors import UserError
from counterpoise.run_folder import RunFolder
from counterpoise.training import checkpoint
from helpers import one_line, write_images
from training_helpers import differing_tensors, events, run, signals, tiny, without_showing

POLICY = "balance={policy: auto}"
SENSORS = "sensors={every: 2, probes_every: 0, held_out_crops: 1}"
pytestmark = pytest.mark.usefixtures("shown")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("finished") / "run"
    with pytest.MonkeyPatch.context() as patch:
        without_showing(patch)
        run(tiny(POLICY, SENSORS), path)
    return path


def contents(path):
    files = [p for p in path.rglob("*") if p.is_file() and p.name != ".lock"]
    return {str(p.relative_to(path)): p.read_bytes() for p in files}


def edit(path, change, step=4):
    """Change a checkpoint's tensors and values."""
    file = RunFolder(path).checkpoint(step)
    tensors = load_file(file)
    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
    values = json.loads(metadata["values"])
    change(tensors, values)
    save_file(tensors, file, metadata | {"values": json.dumps(values)})


def unchanged(path, match, config):
    """What is said where a run cannot be resumed, of which nothing is changed."""
    before = contents(path)
    with pytest.raises(UserError, match=match) as refusal:
        run(config, path, resume=True)
    assert contents(path) == before
    return str(refusal.value)


def refused(path, *overrides):
    """The same, of a checkpoint that does not fit."""
    message = unchanged(path, "does not fit this training", tiny(POLICY, SENSORS, *overrides))
    assert str(RunFolder(path).checkpoint(4)) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    "override",
    [
        "balance.policy=threshold",
        "generator.width=8",
        "discriminator.norm=batch",
        "discriminator.name=patchgan",
        "loss.adversarial.weight=0",
    ],
)
def test_a_configuration_that_a_checkpoint_of_before_does_not_fit(crashed, override):
    """Checkpoints did not hold their configuration once."""
    edit(crashed, lambda tensors, values: values.pop("config"))
    others = ["balance.policy=none"] if override.startswith("loss") else []
    message = refused(crashed, override, *others)
    assert "undo the edit of config.yaml" in message


def test_the_command_line_says_it_in_one_line(counterpoise, crashed):
    config = crashed / "config.yaml"
    config.write_text("# mine\n" + config.read_text().replace("blocks: 1", "blocks: 2"))
    before = contents(crashed)
    one_line(counterpoise("resume", crashed), "generator.blocks is 2, and was 1 when this run was")
    assert contents(crashed) == before


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("generator.width=8", "generator.width is 8, and was 4"),
        ("discriminator.leaky_slope=0.1", "discriminator.leaky_slope is 0.1, and was 0.2"),
        ("train.pretrain_steps=2", "train.pretrain_steps is 2, and was 3"),
        ("train.seed=7", "train.seed is 7, and was"),
        ("train.initial_weights=w.safetensors", "initial_weights is .*w.safetensors, and was"),
    ],
)
def test_what_a_resumed_run_cannot_have_others_of(crashed, override, what):
    unchanged(crashed, what, tiny(POLICY, SENSORS, override))


def test_other_settings_hold_from_here_on_and_are_told(crashed):
    settings = ["optimizer.d.betas=[0.5, 0.99]", "optimizer.d.learning_rate=1e-5"]
    settings += ["loss.texture.layers={pool1: 1.0}"]
    run(tiny("balance.policy=ada", SENSORS, *settings), crashed, resume=True)
    told = [note for note in events(crashed) if note.startswith("changed from here on")]
    assert sorted(told) == [
        "changed from here on: balance.policy: auto -> ada",
        "changed from here on: loss.texture.layers: {} -> {'pool1': 1.0}",
        "changed from here on: optimizer.d.betas: [0.9, 0.999] -> [0.5, 0.99]",
        "changed from here on: optimizer.d.learning_rate: 0.001 -> 1e-05",
    ]
    newest = checkpoint.load(RunFolder(crashed).checkpoint(8))
    assert newest.values["d_optimizer"][0]["betas"] == [0.5, 0.99]
    assert signals(crashed)[-1]["d_learning_rate"] == pytest.approx(1e-5)


def test_another_loss_network_is_refused(crashed):
    edit(crashed, lambda tensors, values: values.update(features="another"))
    perceptual = "loss.perceptual.layers={pool2: 1}"
    config = tiny(POLICY, SENSORS, perceptual)
    unchanged(crashed, "the loss network is not the one", config)


def test_other_images_are_refused_also_under_the_names_of_the_old_ones(tmp_path):
    pictures = write_images(tmp_path / "pictures", 4)
    write_images(tmp_path / "others", 3)
    path = tmp_path / "run"
    run(tiny("train.steps=1", data=tmp_path / "pictures"), path)
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(pictures[2])
    for folder in ("pictures", "others"):
        config = tiny("train.steps=4", data=tmp_path / folder)
        unchanged(path, "a name or a file's size differs", config)


def test_a_run_that_lost_its_checkpoints_is_not_begun_anew(tmp_path, finished):
    path = tmp_path / "run"
    shutil.copytree(finished, path)
    shutil.rmtree(path / "checkpoints")
    rows = RunFolder(path).signals.read_text().splitlines(keepends=True)
    RunFolder(path).signals.write_text("".join(rows[:4]))  # the first checkpoint was of step 3
    unchanged(path, "4 steps on record, and no ch", tiny(POLICY, SENSORS))


def without(name):
    return lambda tensors, values: tensors.pop(name)


def put(name, tensor):
    return lambda tensors, values: tensors.update({name: tensor})


def value(name, wrong):
    return lambda tensors, values: values.update({name: wrong})


DAMAGE = {
    "a weight is missing": without("g/blocks.0.first.bias"),
    "a weight of another shape": put("d/features.0.weight", torch.zeros(3, 3)),
    "no random state": without("rng/cpu"),
    "an action of a later version": value("player", {"action": {"foo": 1}, "readings": {}}),
    "another policy's state": value("policy", {"smoothed": 0.5}),
    "optimizers of other weights": value("g_optimizer", [{"betas": [0.9, 0.99], "params": [0]}]),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_checkpoint_of_another_version_or_training(crashed, damage):
    edit(crashed, DAMAGE[damage])
    refused(crashed)


@pytest.mark.parametrize("how", ["torn", "values that are no table"])
def test_of_a_damaged_checkpoint_the_one_before_is_taken(crashed, finished, how):
    file = RunFolder(crashed).checkpoint(4)
    if how == "torn":
        file.write_bytes(file.read_bytes()[:1000])
    else:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata()
        save_file(load_file(file), file, metadata | {"values": "[1]"})
    assert run(tiny(POLICY, SENSORS), crashed, resume=True).step == 8
    assert any("falling back to the one before" in message for message in events(crashed))
    assert differing_tensors(crashed, finished) == []
