"""Whole small trainings."""

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from counterpoise.errors import TrainingDivergedError, UserError
from counterpoise.json_lines import read_json_lines
from counterpoise.models.weights import load_generator
from counterpoise.run_folder import RunFolder
from counterpoise.training import checkpoint
from helpers import write_images
from training_helpers import poison_d, run, signals, stop_at, tiny, without_time


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished training: E, then E and A, with the paper's rule."""
    path = tmp_path_factory.mktemp("runs") / "tiny"
    outcome = run(tiny(), path)
    assert (outcome.step, outcome.interrupted) == (8, False)
    return path


def test_a_run_is_a_folder_of_plain_files(finished):
    names = {str(p.relative_to(finished)) for p in finished.rglob("*") if p.is_file()}
    names = {name for name in names if not name.startswith("tensorboard/")}
    assert names == {
        ".lock",
        "config.yaml",
        "signals.jsonl",
        "metrics.jsonl",
        "events.jsonl",
        "train.log",
        "generator.safetensors",
        "generator-pretrained.safetensors",
        "checkpoints/step-00000003.safetensors",
        "checkpoints/step-00000004.safetensors",
        "checkpoints/step-00000008.safetensors",
        "samples/step-00000003.png",
        "samples/step-00000004.png",
        "samples/step-00000008.png",
    }
    assert any((finished / "tensorboard").iterdir())


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
    assert [(row["step"], row["stage"]) for row in rows] == [
        (0, "bicubic"),
        (3, "pretrain"),
        (4, "train"),
        (8, "train"),
    ]
    assert all(10 < row["psnr_y"] < 50 for row in rows)


def test_log_lines_have_the_known_form(finished):
    text = (finished / "train.log").read_text()
    number = r"-?\d+\.\d{6}"

    pattern = (
        rf"^Epoch 1/1 - Step: \d/5  Loss G: {number}  Loss D: {number}  D\(x\): {number}  "
        rf"D\(G\(z\)\): {number} / {number}\nTime for the last step: \d+\.\d\d s    "
        r"Epoch ETA: \d\d:\d\d:\d\d$"
    )
    assert len(re.findall(pattern, text, re.MULTILINE)) == 3
    assert re.search(rf"^Epoch 1/1 - Step: 2/3  Loss G: {number}$", text, re.MULTILINE)


def test_notes_are_recorded(finished):
    rows, _ = read_json_lines(RunFolder(finished).events)
    messages = [row["message"] for row in rows]
    assert any("scikit-image's photographs" in message for message in messages)


def test_saved_weights_are_the_average(finished):
    saved = load_generator(finished / "generator.safetensors")
    snapshot = checkpoint.load(RunFolder(finished).checkpoint(8))
    average, trained = snapshot.part("g_average"), snapshot.part("g")
    for name, tensor in saved.generator.state_dict().items():
        assert torch.equal(tensor, average[name])
    assert any(not torch.equal(average[name], trained[name]) for name in average)


# In pretraining, at its end, and in the stage after it.
@pytest.mark.parametrize(
    ("policy", "cut"),
    [
        ("threshold", 2),
        ("threshold", 3),
        ("threshold", 6),
        ("loss-gate", 6),
        ("{policy: ratio, options: {d_steps: 2, g_steps: 3}}", 6),
    ],
)
def test_resuming_is_bitwise(tmp_path, monkeypatch, policy, cut):
    balance = f"balance={policy}" if policy.startswith("{") else f"balance.policy={policy}"
    config = tiny(balance, "loss.adversarial.r1=1", "loss.adversarial.gradient_penalty=1")
    run(config, tmp_path / "whole")
    stop_at(monkeypatch, cut)
    outcome = run(config, tmp_path / "parts")
    assert (outcome.step, outcome.interrupted) == (cut, True)
    monkeypatch.undo()
    torch.manual_seed(12345)  # whatever the new process begins with
    assert run(config, tmp_path / "parts", resume=True).step == 8

    assert without_time(signals(tmp_path / "parts")) == without_time(signals(tmp_path / "whole"))
    whole, parts = (
        load_file(RunFolder(tmp_path / name).checkpoint(8)) for name in ("whole", "parts")
    )
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_resuming_after_a_crash_drops_what_was_recorded_since(tmp_path, finished):

    path = tmp_path / "crashed"
    shutil.copytree(finished, path)
    run_folder = RunFolder(path)
    run_folder.checkpoint(8).unlink()
    # A sheet of a step that this training will not make again as it is.
    run_folder.sample(7).write_bytes(b"a sheet")
    (run_folder.samples / "step-before-after.png").write_bytes(b"somebody's")
    with run_folder.signals.open("a") as file:
        file.write('{"step": 9, "sta')
    (run_folder.checkpoints / ".step-00000008.safetensors.1.tmp").write_bytes(b"half a checkpoint")
    run(tiny(), path, resume=True)
    assert without_time(signals(path)) == without_time(signals(finished))
    assert not list(run_folder.checkpoints.glob(".*"))
    assert {p.name for p in run_folder.sample_files()} == {
        *(p.name for p in RunFolder(finished).sample_files()),
        "step-before-after.png",
    }
    events, _ = read_json_lines(run_folder.events)
    assert any("signals.jsonl line 9 is torn" in row["message"] for row in events)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, finished):

    path = tmp_path / "damaged"
    shutil.copytree(finished, path)
    newest = RunFolder(path).checkpoint(8)
    newest.write_bytes(newest.read_bytes()[:1000])
    run(tiny(), path, resume=True)
    events, _ = read_json_lines(RunFolder(path).events)
    assert any("damaged checkpoint" in row["message"] for row in events)
    whole, again = (load_file(RunFolder(p).checkpoint(8)) for p in (finished, path))
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_a_training_that_broke_off_before_its_first_checkpoint_begins_anew(tmp_path, finished):
    path = tmp_path / "early"
    run_folder = RunFolder(path)
    run_folder.create(tiny().to_yaml())
    for name in ("signals.jsonl", "metrics.jsonl", "events.jsonl"):
        first = (finished / name).read_text().splitlines(keepends=True)[0]
        (path / name).write_text(first + first[:-5])
    assert run(tiny(), path, resume=True).step == 8
    assert without_time(signals(path)) == without_time(signals(finished))
    assert run_folder.metrics.read_text() == (finished / "metrics.jsonl").read_text()
    events, notes = read_json_lines(run_folder.events)
    assert notes == []
    messages = [row["message"] for row in events]
    anew = "begins anew: it broke off before its first checkpoint, with counterpoise"
    assert any(message.startswith(anew) for message in messages)
    assert any("events.jsonl: an unfinished last line" in message for message in messages)


def test_a_run_whose_checkpoints_are_all_damaged_is_one_line(tmp_path, finished):
    path = tmp_path / "damaged"
    shutil.copytree(finished, path)
    for file in RunFolder(path).checkpoint_files():
        file.write_bytes(b"nothing")
    with pytest.raises(UserError, match="no checkpoint to resume from .*damaged"):
        run(tiny(), path, resume=True)


def test_resuming_on_other_images_is_refused(tmp_path, finished):

    path = tmp_path / "moved"
    shutil.copytree(finished, path)
    write_images(tmp_path / "other", 4)
    with pytest.raises(UserError, match="not those that this run began with"):
        run(tiny(data=tmp_path / "other"), path, resume=True)


def test_a_non_finite_loss_stops_the_training_with_its_evidence(tmp_path, monkeypatch):
    config = tiny()
    poison_d(monkeypatch, 6)
    with pytest.raises(TrainingDivergedError, match="step 6: .*adversarial.*not finite"):
        run(config, tmp_path / "nan")
    last = signals(tmp_path / "nan")[-1]
    assert last["step"] == 6
    assert "g_loss" in last["non_finite"]
    assert last["g_loss"] is None
    events, _ = read_json_lines(RunFolder(tmp_path / "nan").events)
    assert "diverged" in {row["kind"] for row in events}
    assert RunFolder(tmp_path / "nan").checkpoint_files()[-1].stem == "step-00000004"


def test_non_finite_weights_are_never_saved():
    module = torch.nn.Linear(2, 2)
    with torch.no_grad():
        module.weight[0, 0] = math.inf
    with pytest.raises(TrainingDivergedError, match="g's weight weight is not finite"):
        checkpoint.collect({"g": module.state_dict()}, {}, {}, {})


def test_the_gate_freezes_d_and_says_so(tmp_path):
    config = tiny("balance={policy: loss-gate, options: {threshold: 100}}")
    run(config, tmp_path / "gated")
    trained = [row for row in signals(tmp_path / "gated") if row["stage"] == "train"]
    for row in trained:
        assert row["d_updated"] is False
        # D stood still, so the same images get the same answer: measured, and equal.
        assert row["d_fake_after"] == pytest.approx(row["d_fake_before"], abs=1e-6)
        assert row["action"]["d_steps"] == 0
        assert "not above 100" in row["action"]["reason"]
    d_weights = [
        checkpoint.load(path).part("d") for path in RunFolder(tmp_path / "gated").checkpoint_files()
    ]
    for name, tensor in d_weights[0].items():
        assert torch.equal(tensor, d_weights[-1][name])


def test_further_steps_take_fresh_batches(tmp_path):
    config = tiny("balance={policy: ratio, options: {d_steps: 3, g_steps: 2}}")
    run(config, tmp_path / "ratio")
    values = checkpoint.load(RunFolder(tmp_path / "ratio").checkpoint(8)).values
    assert values["batches_drawn"] == 3 + 5 * (1 + 2 + 1)


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
        ["generator.degradation=lanczos", "data.worker_processes=1"],
        ["loss.adversarial.weight=0", "balance.policy=none", "train.pretrain_steps=0"],
    ],
    ids=lambda overrides: overrides[0],
)
def test_every_kind_of_training_runs(tmp_path, overrides):
    config = tiny("train.steps=2", "train.pretrain_steps=1", *overrides)
    assert not run(config, tmp_path / "run").interrupted
    assert all("non_finite" not in row for row in signals(tmp_path / "run"))


def command(*arguments):
    return [sys.executable, "-m", "counterpoise", *map(str, arguments)]


def test_kill_during_a_checkpoint_then_resume(tmp_path, finished):
    """SIGKILL in the middle of writing a checkpoint leaves the last good one to resume from."""
    path = tmp_path / "killed"
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(os.path.dirname(__file__))!r})
from counterpoise.training import checkpoint
from training_helpers import run, tiny
from pathlib import Path
save_file = checkpoint.save_file
def killed(tensors, where, metadata):
    save_file(tensors, where, metadata)
    if "00000008" in str(where):
        os.truncate(where, 5000)
        os.kill(os.getpid(), signal.SIGKILL)
checkpoint.save_file = killed
run(tiny(), Path({str(path)!r}))
"""
    result = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert result.returncode == -signal.SIGKILL
    assert list(RunFolder(path).checkpoints.glob(".*.tmp*"))
    assert not RunFolder(path).checkpoint(8).exists()
    assert run(tiny(), path, resume=True).step == 8
    whole, again = (load_file(RunFolder(p).checkpoint(8)) for p in (finished, path))
    assert all(torch.equal(whole[name], again[name]) for name in whole)


@pytest.mark.parametrize("launcher", ["torchrun", "devices"])
def test_two_processes_give_the_losses_of_one(tmp_path, launcher):
    config = tiny("train.log_every=1", "sensors={every: 2, probes_every: 3, held_out_crops: 4}")
    (tmp_path / "tiny.yaml").write_text(config.to_yaml())
    run(config, tmp_path / "one")
    train = ["train", "--config", tmp_path / "tiny.yaml", "--run-dir", tmp_path / "two"]
    if launcher == "torchrun":
        start = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node=2",
        ]
        line = [*start, "-m", "counterpoise", *train]
    else:
        line = command(*train, "--devices", 2)
    result = subprocess.run(
        [str(part) for part in line],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    one, two = signals(tmp_path / "one"), signals(tmp_path / "two")
    assert len(one) == len(two) == 8
    for single, double in zip(one, two, strict=True):
        for name in ("g_loss", "d_loss", "d_real", "d_fake_before", "d_fake_after"):
            if name in single:
                assert double[name] == pytest.approx(single[name], abs=1e-4), (single["step"], name)
        assert single.keys() == double.keys()
        for name in ("held_out_logit_mean", "d_update_ratio", "d_gradient_cosine"):
            if name in single:
                assert double[name] == pytest.approx(single[name], rel=1e-2), (single["step"], name)
        # Each process's norm is of its share, and the root of a mean is not the mean of roots.
        if "g_gradient_content" in single:
            assert double["g_gradient_content"] == pytest.approx(
                single["g_gradient_content"], rel=0.2
            )
    assert result.stdout.count("Held-out images") == 1


def test_ctrl_c_saves_and_says_how_to_resume(tmp_path):
    config = tiny("train.steps=100000", "train.pretrain_steps=0", "train.log_every=1")
    (tmp_path / "long.yaml").write_text(config.to_yaml())
    path = tmp_path / "long"
    process = subprocess.Popen(
        command("train", "--config", tmp_path / "long.yaml", "--run-dir", path),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(signals(path)) < 3:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert f"counterpoise resume {path}" in output
    assert "Traceback" not in output
    step = signals(path)[-1]["step"]
    assert RunFolder(path).checkpoint(step).exists()
    assert json.loads((path / "signals.jsonl").read_text().splitlines()[-1])["step"] == step
