"""Schedules, warm-up, clipping, accumulated batches and the loss scale of 16 bits."""

import pytest
import torch

from counterpoise.config import AdamConfig
from counterpoise.records import Action
from counterpoise.run_folder import RunFolder
from counterpoise.training import checkpoint
from counterpoise.training.fabric import make_fabric
from counterpoise.training.plan import learning_rate
from helpers import one_line
from loop_helpers import Scripted
from training_helpers import (
    before_step,
    differing_tensors,
    events,
    run,
    signals,
    stop_at,
    tiny,
    weights,
    without_time,
)

ALL = (
    "optimizer.g={learning_rate: 1.0e-3, clip_norm: 0.1, warmup_steps: 2, schedule: cosine}",
    "optimizer.d={learning_rate: 1.0e-3, clip_norm: 0.1, schedule: steps, milestones: [2, 4]}",
    "train.accumulate_batches=2",
    "generator.degradation={name: real-esrgan, sharpened_hr: true}",
)
pytestmark = pytest.mark.usefixtures("shown")


@pytest.mark.parametrize(
    ("config", "scheduler"),
    [
        ({"schedule": "cosine"}, lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 20)),
        (
            {"schedule": "steps", "milestones": (3, 12), "gamma": 0.1},
            lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [3, 12], 0.1),
        ),
        ({}, lambda o: torch.optim.lr_scheduler.ConstantLR(o, 1)),
    ],
)
def test_schedules_are_pytorchs(config, scheduler):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.02)
    theirs = scheduler(optimizer)
    config = AdamConfig(learning_rate=0.02, **config)
    for step in range(1, 21):
        assert learning_rate(config, step, 20) == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()


def test_a_warm_up_rises_in_a_straight_line():
    config = AdamConfig(learning_rate=1.0, warmup_steps=4, schedule="cosine")
    rates = [learning_rate(config, step, 14) for step in range(1, 15)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert learning_rate(config, 3, 2) == 0.75  # a stage may be shorter than that


def test_accumulated_batches_are_a_larger_batch(tmp_path):
    plain = ("balance.policy=none", "loss.adversarial={weight: 0.1, r1: 1}")
    run(tiny(*plain), tmp_path / "large")
    small = ("train.batch_size=2", "train.accumulate_batches=2")
    run(tiny(*plain, *small), tmp_path / "small")
    one, other = weights(tmp_path / "large"), weights(tmp_path / "small")
    for name, own in one.items():
        torch.testing.assert_close(own, other[name], rtol=1e-3, atol=2e-5)
    pairs = zip(signals(tmp_path / "large"), signals(tmp_path / "small"), strict=True)
    assert all(a["g_loss"] == pytest.approx(b["g_loss"], rel=1e-3) for a, b in pairs)


def test_gradients_are_clipped_together_and_only_then(tmp_path, monkeypatch):
    norms, step = [], torch.optim.Adam.step

    def watched(self, *given, **more):
        gradients = [p.grad for group in self.param_groups for p in group["params"]]
        norms.append(float(torch.nn.utils.get_total_norm(gradients)))
        return step(self, *given, **more)

    monkeypatch.setattr(torch.optim.Adam, "step", watched)
    run(tiny(), tmp_path / "free")
    largest = max(norms)
    norms.clear()
    limit = largest / 10
    run(tiny(f"optimizer={{g: {{clip_norm: {limit}}}, d: {{clip_norm: {limit}}}}}"), tmp_path / "c")
    assert max(norms) == pytest.approx(limit, rel=1e-3)


def test_a_run_with_all_of_it_resumes_to_the_bit(tmp_path, monkeypatch):
    run(tiny(*ALL), tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_at(patch, 5)
        run(tiny(*ALL), tmp_path / "parted")
    run(tiny(*ALL, "data.worker_threads=2"), tmp_path / "parted", resume=True)
    assert differing_tensors(tmp_path / "whole", tmp_path / "parted") == []
    assert without_time(signals(tmp_path / "whole")) == without_time(signals(tmp_path / "parted"))


def test_policies_scale_what_the_schedule_says(tmp_path, monkeypatch):
    half = Scripted(*[Action(g_learning_rate_scale=0.5)] * 5)
    monkeypatch.setattr("counterpoise.training.setup.build_policy", lambda *_: half)
    run(tiny(*ALL), tmp_path / "run")
    rates = [row["g_learning_rate"] for row in signals(tmp_path / "run")[3:]]
    assert rates[:3] == pytest.approx([0.25e-3, 0.5e-3, 0.5e-3])


def in_16_bits(path, *overrides, **more):
    """A training whose networks compute in 16 bits on a CPU; the command line refuses that."""
    fabric = make_fabric(tiny())
    fabric.autocast = lambda: torch.autocast("cpu", torch.float16)
    return run(tiny("train.precision=16-mixed", *overrides), path, fabric=fabric, **more)


@pytest.mark.parametrize("more", [[], ["train.accumulate_batches=2", "train.batch_size=2"]])
def test_16_bits_train_as_32_do(tmp_path, more):
    """Gradients are those without the scale, also where sensors read them."""
    options = ("sensors.every=1", *more)
    run(tiny(*options), tmp_path / "32")
    in_16_bits(tmp_path / "16", *options)
    for a, b in zip(signals(tmp_path / "32"), signals(tmp_path / "16"), strict=True):
        assert a.keys() == b.keys()
        for name in a.keys() & {"g_loss", "d_loss", "g_gradient_norm", "g_gradient_content"}:
            assert b[name] == pytest.approx(a[name], rel=0.1), (name, a["step"])
    assert events(tmp_path / "16", "skipped-step") == []


def test_overflowing_steps_are_left_out_recorded_and_resumed(tmp_path, monkeypatch):
    overflow, now = {5: "g", 7: "d"}, []

    def overflowing(fabric, network):
        name = "d" if network is now[-1].parts.networks.d else "g"
        if overflow.get(now[-1].step + 1) == name:
            next(network.parameters()).grad.fill_(float("inf"))

    before_step(monkeypatch, lambda training, step: now.append(training))
    monkeypatch.setattr("counterpoise.training.stage.average_gradients", overflowing)
    in_16_bits(tmp_path / "whole", "sensors.every=1")
    rows = signals(tmp_path / "whole")
    assert [row["step"] for row in rows if not row["g_updated"]] == [5]
    assert [row["step"] for row in rows[3:] if not row["d_updated"]] == [7]
    assert not any("non_finite" in row for row in rows)
    told = events(tmp_path / "whole", "skipped-step")
    assert [text[:9] for text in told] == ["step 5: G", "step 7: D"]
    with monkeypatch.context() as patch:
        stop_at(patch, 5)
        in_16_bits(tmp_path / "parted", "sensors.every=1")
    in_16_bits(tmp_path / "parted", "sensors.every=1", resume=True)
    assert differing_tensors(tmp_path / "whole", tmp_path / "parted") == []
    assert without_time(signals(tmp_path / "parted")) == without_time(rows)
    saved = [checkpoint.load(RunFolder(tmp_path / n).checkpoint(8)) for n in ("whole", "parted")]
    assert saved[0].values["scaler"] == saved[1].values["scaler"]
    assert saved[0].values["scaler"]["scale"] == 2.0**14


@pytest.mark.parametrize(
    "wrong",
    [
        "train.precision=16-mixed", "train.precision=fp16", "train.accumulate_batches=0",
        "optimizer.g.clip_norm=0", "optimizer.d.warmup_steps=-1", "optimizer.g.schedule=linear",
        "optimizer.g.schedule=steps", "optimizer.d.milestones=[10]", "optimizer.g.gamma=0",
    ],
)  # fmt: skip
def test_wrong_values_are_one_line(counterpoise, wrong):
    cpu = ("--set", "train.accelerator=cpu")
    result = counterpoise("train", "--preset", "demo", "--dry-run", *cpu, "--set", wrong)
    one_line(result, wrong.partition("=")[0].rpartition(".")[0])
