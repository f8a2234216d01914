"""Whole small trainings: what they leave, how they resume, how they end."""

import os
import subprocess
import sys

import pytest
import torch

from counterpoise.errors import UserError
from counterpoise.json_lines import read_json_lines
from counterpoise.logs.read import read_log
from counterpoise.models.weights import load_generator
from counterpoise.run_folder import RunFolder
from counterpoise.training import checkpoint
from training_helpers import differing_tensors, events, run, signals, tiny, without_time


def test_a_run_is_a_folder_of_plain_files(finished):
    names = {str(p.relative_to(finished)) for p in finished.rglob("*") if p.is_file()}
    assert names == {
        ".lock",
        "config.yaml",
        "signals.jsonl",
        "metrics.jsonl",
        "events.jsonl",
        "train.log",
        "generator.safetensors",
        "generator-pretrained.safetensors",
        *(f"checkpoints/step-0000000{step}.safetensors" for step in (3, 4, 8)),
        *(f"samples/step-0000000{step}.png" for step in (3, 4, 8)),
    }
    assert any(message.startswith("5 images of") for message in events(finished))


def test_signals_of_every_step(finished):
    rows = signals(finished)
    assert [row["step"] for row in rows] == list(range(1, 9))
    assert [row["stage"] for row in rows] == ["pretrain"] * 3 + ["train"] * 5
    pretrain, trained = rows[0], rows[4]
    assert set(pretrain["g_terms"]) == {"pixel"}
    assert "d_loss" not in pretrain
    assert set(trained["g_terms"]) == {"pixel", "adversarial"}
    assert trained["g_loss"] == pytest.approx(sum(trained["g_terms"].values()))
    assert trained["d_loss"] == pytest.approx(trained["d_loss_real"] + trained["d_loss_fake"])
    assert trained["d_updated"] is True
    assert trained["d_fake_after"] != trained["d_fake_before"]
    assert 0 <= trained["d_accuracy_real"] <= 1


def test_metrics_of_bicubic_and_of_each_stage(finished):
    rows, _ = read_json_lines(RunFolder(finished).metrics)
    stages = [(0, "bicubic"), (3, "pretrain"), (4, "train"), (8, "train")]
    assert [(row["step"], row["stage"]) for row in rows] == stages
    assert all(10 < row["psnr_y"] < 50 for row in rows)


def test_log_lines_have_the_known_form(finished):
    trace = read_log(finished / "train.log")[-1]
    assert (trace.format, trace.steps.tolist()) == ("epoch-step", [1, 3, 5])
    for row, recorded in enumerate(signals(finished)[3::2]):
        for name in ("g_loss", "d_loss", "d_real", "d_fake_before", "d_fake_after"):
            assert trace.get(name)[row] == pytest.approx(recorded[name], abs=1e-6)


def test_saved_weights_are_the_average(finished):
    saved = load_generator(finished / "generator.safetensors")
    snapshot = checkpoint.load(RunFolder(finished).checkpoint(8))
    average, trained = snapshot.part("g_average"), snapshot.part("g")
    for name, tensor in saved.generator.state_dict().items():
        assert torch.equal(tensor, average[name])
    assert any(not torch.equal(average[name], trained[name]) for name in average)


def test_resuming_after_a_crash_drops_what_was_recorded_since(finished, crashed):
    run_folder = RunFolder(crashed)
    # A sheet of a step that this training will not make again as it is.
    run_folder.sample(7).write_bytes(b"a sheet")
    (run_folder.samples / "step-before-after.png").write_bytes(b"somebody's")
    with run_folder.signals.open("a") as file:
        file.write('{"step": 9, "sta')
    (run_folder.checkpoints / ".step-00000008.1.tmp.safetensors").write_bytes(b"half a checkpoint")
    run(tiny(), crashed, resume=True)
    assert without_time(signals(crashed)) == without_time(signals(finished))
    assert differing_tensors(crashed, finished) == []
    assert not list(run_folder.checkpoints.glob(".*"))
    sheets = [p.name for p in RunFolder(finished).sample_files()]
    assert [p.name for p in run_folder.sample_files()] == sheets
    assert (run_folder.samples / "step-before-after.png").exists()
    assert any("signals.jsonl line 9 is torn" in message for message in events(crashed))


def test_a_training_that_broke_off_before_its_first_checkpoint_begins_anew(tmp_path, finished):
    path = tmp_path / "early"
    run_folder = RunFolder(path)
    run_folder.save_config(tiny().to_yaml())
    for name in ("signals.jsonl", "metrics.jsonl", "events.jsonl"):
        first = (finished / name).read_text().splitlines(keepends=True)[0]
        (path / name).write_text(first + first[:-5])
    assert run(tiny(), path, resume=True).step == 8
    assert without_time(signals(path)) == without_time(signals(finished))
    assert run_folder.metrics.read_text() == (finished / "metrics.jsonl").read_text()
    assert read_json_lines(run_folder.events)[1] == []
    said = events(path)
    assert any(message.startswith("begins anew") for message in said)
    assert any("events.jsonl: an unfinished last line" in message for message in said)


def test_a_run_whose_checkpoints_are_all_damaged_is_one_line(crashed):
    for file in RunFolder(crashed).checkpoint_files():
        file.write_bytes(b"nothing")
    with pytest.raises(UserError, match="no checkpoint to resume from .*damaged"):
        run(tiny(), crashed, resume=True)


@pytest.mark.parametrize(
    "overrides",
    [
        ["loss.adversarial.form=lsgan", "discriminator={name: patchgan, norm: batch, width: 2}"],
        ["loss.adversarial.form=hinge", "discriminator={name: unet, norm: spectral, width: 2}"],
        ["loss.adversarial={form: wgan, weight: 0.1, gradient_penalty: 10}"],
        ["loss.adversarial.form=relativistic-average", "generator.scale=2"],
        [
            "loss.adversarial={form: relativistic-paired, weight: 0.1, r1: 1, r2: 1}",
            "generator.scale=8",
        ],
        ["loss.perceptual.layers={pool2: 0.2, pool5: 0.02}", "loss.texture.layers={relu1_1: 1e-6}"],
        [
            "train.precision=bf16-mixed",
            "loss.adversarial.r1=1",
            "loss.perceptual.layers={pool2: 1}",
        ],
        ["loss.adversarial.weight=0", "balance.policy=none", "train.pretrain_steps=0"],
    ],
    ids=lambda overrides: overrides[0],
)
def test_every_kind_of_training_runs(tmp_path, overrides):
    config = tiny("train.steps=2", "train.pretrain_steps=1", *overrides)
    assert not run(config, tmp_path / "run").interrupted
    assert all("non_finite" not in row for row in signals(tmp_path / "run"))


# A process of two as a cluster's launcher would have started it; the second is a fork of the first.
ONE_OF_TWO = """
import os, socket
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
rank = "0" if os.fork() else "1"
os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
os.environ |= {"RANK": rank, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0"}
os.environ |= {"TORCHELASTIC_RUN_ID": "test"}
"""


def started(launcher, fault_server, *arguments):
    """What a training of two processes printed."""
    if launcher == "forks":
        ended = fault_server.run(*arguments, before=(ONE_OF_TWO,))
        assert ended.code == 0, ended.err
        return ended.out
    line = [sys.executable, "-m"]
    if launcher == "torchrun":
        line += ["torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    line += ["counterpoise", *map(str, arguments), *(["--devices", "2"] * (launcher == "devices"))]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(line, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "launcher",
    ["forks", *(pytest.param(name, marks=pytest.mark.slow) for name in ("devices", "torchrun"))],
)
def test_two_processes_give_the_losses_of_one(tmp_path, launcher, fault_server):
    """And each of them its share of what is read now and then."""
    config = tiny("train.log_every=1", "sensors={every: 2, probes_every: 3, held_out_crops: 4}")
    (tmp_path / "tiny.yaml").write_text(config.to_yaml())
    run(config, tmp_path / "one")
    line = ("train", "--config", tmp_path / "tiny.yaml", "--run-dir", tmp_path / "two")
    printed = started(launcher, fault_server, *line)
    one, two = signals(tmp_path / "one"), signals(tmp_path / "two")
    assert len(one) == len(two) == 8
    losses = ("g_loss", "d_loss", "d_real", "d_fake_before", "d_fake_after")
    tolerances = {name: {"abs": 1e-4} for name in losses}
    for name in ("held_out_logit_mean", "d_update_ratio", "d_gradient_cosine"):
        tolerances[name] = {"rel": 1e-2}
    # Each process's norm is of its share, and the root of a mean is not the mean of roots.
    tolerances["g_gradient_content"] = {"rel": 0.2}
    for single, double in zip(one, two, strict=True):
        assert single.keys() == double.keys()
        for name in tolerances.keys() & single.keys():
            expected = pytest.approx(single[name], **tolerances[name])
            assert double[name] == expected, (single["step"], name)
    assert printed.count("Held-out images") == 1
