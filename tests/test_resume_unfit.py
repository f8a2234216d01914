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
from counterpoise.json_lines import read_json_lines
from counterpoise.models.discriminator import DISCRIMINATORS
from counterpoise.models.generator import build_generator
from counterpoise.models.weights import save_generator
from counterpoise.run_folder import RunFolder
from counterpoise.training import checkpoint
from counterpoise.training.resume import refuse_lost_checkpoints
from training_helpers import run, signals, tiny

ONE_BEFORE = "delete this checkpoint to go on from the one before"
POLICY = "balance={policy: auto}"
SENSORS = "sensors={every: 2, probes_every: 0, held_out_crops: 1}"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("finished") / "run"
    run(tiny(POLICY, SENSORS), path)
    return path


@pytest.fixture
def crashed(tmp_path, finished):
    """A run whose newest checkpoint is of step 4, the first of the adversarial stage."""
    path = tmp_path / "run"
    shutil.copytree(finished, path)
    RunFolder(path).checkpoint(8).unlink()
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
        "generator.blocks=2",
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
    assert message.endswith(ONE_BEFORE)


def test_the_command_line_says_it_in_one_line(counterpoise, crashed):
    config = crashed / "config.yaml"
    config.write_text("# mine\n" + config.read_text().replace("blocks: 1", "blocks: 2"))
    before = contents(crashed)
    code, out, err = counterpoise("resume", crashed)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "generator.blocks is 2, and was 1 when this run was begun" in err
    assert contents(crashed) == before


def test_where_there_is_no_earlier_checkpoint_none_is_offered(crashed):
    RunFolder(crashed).checkpoint(3).unlink()
    edit(crashed, lambda tensors, values: values.pop("config"), step=4)
    assert ONE_BEFORE not in refused(crashed, "generator.width=8")


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("generator.width=8", "generator.width is 8, and was 4"),
        ("discriminator.leaky_slope=0.1", "discriminator.leaky_slope is 0.1, and was 0.2"),
        ("train.pretrain_steps=2", "train.pretrain_steps is 2, and was 3"),
        ("train.seed=7", "train.seed is 7, and was"),
        (
            "train.initial_weights=w.safetensors",
            "train.initial_weights is .*w.safetensors, and was",
        ),
    ],
)
def test_what_a_resumed_run_cannot_have_others_of(crashed, override, what):
    unchanged(crashed, what, tiny(POLICY, SENSORS, override))


def notes(path):
    return [row["message"] for row in read_json_lines(RunFolder(path).events)[0]]


def test_other_settings_hold_from_here_on_and_are_told(crashed):
    settings = ["optimizer.d.betas=[0.5, 0.99]", "optimizer.d.learning_rate=1e-5"]
    run(tiny(POLICY, SENSORS, *settings), crashed, resume=True)
    told = [note for note in notes(crashed) if note.startswith("changed from here on")]
    assert told == [
        "changed from here on: optimizer.d.learning_rate: 0.001 -> 1e-05",
        "changed from here on: optimizer.d.betas: [0.9, 0.999] -> [0.5, 0.99]",
    ]
    newest = checkpoint.load(RunFolder(crashed).checkpoint(8))
    assert newest.values["d_optimizer"][0]["betas"] == [0.5, 0.99]
    assert signals(crashed)[-1]["d_learning_rate"] < 2e-5


def test_layers_of_a_loss_are_one_setting(tmp_path):
    layers = "loss.texture.layers={%s: 1.0}"
    run(tiny(layers % "relu1_1", "train.steps=2"), tmp_path / "run")
    run(tiny(layers % "pool1", "train.steps=4"), tmp_path / "run", resume=True)
    told = "changed from here on: loss.texture.layers: {'relu1_1': 1.0} -> {'pool1': 1.0}"
    assert told in notes(tmp_path / "run")


def test_where_no_step_is_left_nothing_is_changed(tmp_path, finished):
    path = tmp_path / "run"
    shutil.copytree(finished, path)
    config = tiny(POLICY, SENSORS, "loss.pixel.weight=2")
    unchanged(path, "all its 8 steps .*loss.pixel.weight; give --steps", config)


def test_another_policy_begins_anew(crashed):
    run(tiny(SENSORS, "balance.policy=ada"), crashed, resume=True)
    assert "changed from here on: balance.policy: auto -> ada" in notes(crashed)
    assert len(signals(crashed)) == 8


def test_another_loss_network_is_refused(crashed):
    edit(crashed, lambda tensors, values: values.update(features="another"))
    perceptual = "loss.perceptual.layers={pool2: 1}"
    config = tiny(POLICY, SENSORS, perceptual)
    unchanged(crashed, "the loss network is not the one .*embedded", config)


def test_images_overwritten_by_others_are_refused(tmp_path):
    pictures, path = tmp_path / "pictures", tmp_path / "run"
    pictures.mkdir()
    for number in range(4):
        noise = np.random.default_rng(number).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(pictures / f"{number}.png")
    run(tiny("train.steps=3", data=pictures), path)
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(pictures / "2.png")
    unchanged(path, "a name or a file's size differs", tiny("train.steps=4", data=pictures))


def test_a_run_that_lost_its_checkpoints_is_not_begun_anew(tmp_path, finished):
    path = tmp_path / "run"
    shutil.copytree(finished, path)
    shutil.rmtree(path / "checkpoints")
    config = tiny(POLICY, SENSORS)
    unchanged(path, "8 steps on record, and no checkpoint to go on from", config)


def test_where_a_run_that_was_stopped_has_lost_them_too(tmp_path, finished):
    """At its second step it saved, and was gone on with for one more."""
    path = tmp_path / "run"
    shutil.copytree(finished, path)
    shutil.rmtree(path / "checkpoints")
    folder = RunFolder(path)
    rows = folder.signals.read_text().splitlines(keepends=True)
    events = folder.events.read_text().splitlines(keepends=True)[:1]
    for said, refuses in (
        ("interrupted after step 3", True),
        ("stopped at once after step 3, without saving", False),
        ("broke off: KeyboardInterrupt", False),
    ):
        last = {"time": "", "step": 3, "kind": "interrupted", "message": said}
        folder.events.write_text("".join(events) + json.dumps(last) + "\n")
        folder.signals.write_text("".join(rows[:3]))
        folder.generator.unlink(missing_ok=True)
        if refuses:
            with pytest.raises(UserError, match="3 steps on record, and no checkpoint"):
                refuse_lost_checkpoints(folder)
        else:
            # Whatever cadence it is resumed with.
            refuse_lost_checkpoints(folder)
    save_generator(folder.generator, build_generator(tiny().generator), {"trained": "x, step 3"})
    refuse_lost_checkpoints(folder)  # killed between these weights and their checkpoint
    folder.signals.write_text("".join(rows[:4]))
    with pytest.raises(UserError, match="4 steps on record"):
        refuse_lost_checkpoints(folder)


def without(name):
    return lambda tensors, values: tensors.pop(name)


def put(name, tensor):
    return lambda tensors, values: tensors.update({name: tensor})


def value(name, wrong):
    return lambda tensors, values: values.update({name: wrong})


DAMAGE = {
    "a weight is missing": without("g/blocks.0.first.bias"),
    "a weight of another network": put("foo/bar", torch.zeros(3)),
    "a weight of another shape": put("d/features.0.weight", torch.zeros(3, 3)),
    "a weight that is not finite": put("g/blocks.0.first.bias", torch.full((4,), torch.nan)),
    "a moment is missing": without("d_optimizer/0/exp_avg"),
    "a moment of another shape": put("d_optimizer/0/exp_avg", torch.zeros(2)),
    "no random state": without("rng/cpu"),
    "a random state that is none": put("rng/cpu", torch.zeros(2, dtype=torch.uint8)),
    "no step": lambda tensors, values: values.pop("batches_drawn"),
    "a step that is none": value("step", "x"),
    "an action of a later version": value("last_action", {"foo": 1}),
    "another policy's state": value("policy", {"smoothed": 0.5}),
    "a kept state without its tensors": value("kept_step", 2),
    "optimizers of other weights": value("g_optimizer", [{"betas": [0.9, 0.99], "params": [0]}]),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint(crashed, damage):
    edit(crashed, DAMAGE[damage])
    refused(crashed)


@pytest.mark.parametrize("values", ["[1]", '"readings step data"'])
def test_values_that_are_no_table_are_damage_and_the_one_before_is_taken(crashed, finished, values):
    file = RunFolder(crashed).checkpoint(4)
    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
    save_file(load_file(file), file, metadata | {"values": values})
    assert run(tiny(POLICY, SENSORS), crashed, resume=True).step == 8
    whole, again = (load_file(RunFolder(p).checkpoint(8)) for p in (finished, crashed))
    assert all(torch.equal(whole[name], again[name]) for name in whole)


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_every_weight_of_a_discriminator_has_its_moments(tmp_path, name):
    """Else a sound checkpoint would be refused."""
    discriminator = (f"discriminator.name={name}", "discriminator.norm=spectral")
    config = tiny(*discriminator, "train.pretrain_steps=1", "train.steps=4")
    run(config, tmp_path / "run")
    RunFolder(tmp_path / "run").checkpoint(5).unlink()
    assert run(config, tmp_path / "run", resume=True).step == 5


def test_rows_without_a_step_or_of_no_stage_are_no_obstacle(counterpoise, crashed):
    rows = RunFolder(crashed)
    with rows.signals.open("a") as file:
        file.write('{"d_loss_real": 1.0}\n')
    with rows.metrics.open("a") as file:
        file.write('{"step": 1}\n{"step": 2, "stage": "x"}\n{"step": 3, "stage": [1]}\n')
        file.write('{"stage": "train", "psnr_y": 1.0}\n')
    code, out, err = counterpoise("resume", crashed)
    assert (code, err) == (0, "")
    assert "Held-out images" in out
    assert signals(crashed)[-1]["step"] == 8
    with rows.metrics.open("a") as file:
        file.write('{"step": 8, "stage": "train", "psnr_y": "x"}\n')
    code, out, err = counterpoise("resume", crashed)
    assert (code, err) == (0, "")
    assert "complete" in out
