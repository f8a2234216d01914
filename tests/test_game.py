"""Every field of an action does what it says in a training, and sensors change nothing."""

import math

import pytest
import torch
from safetensors.torch import load_file

from counterpoise.errors import TrainingDivergedError, UserError
from counterpoise.json_lines import read_json_lines
from counterpoise.records import Action
from counterpoise.run_folder import RunFolder
from counterpoise.training import checkpoint, setup
from counterpoise.training.stage import StageTraining
from training_helpers import (
    poison_d,
    run,
    signals,
    stop_at,
    tiny,
    without_showing,
    without_time,
)

# The adversarial stage is steps 4 to 8.
SENSORS = "sensors={every: 2, probes_every: 3, held_out_crops: 3}"


class Scripted:
    """Asks at each step for what a script says, and when it sees something broken, to go back."""

    def __init__(self, script, mends=False):
        self.script, self.mends = script, mends
        self.seen = {}

    def observe(self, signals):
        self.seen[signals.step] = signals
        if self.mends and not math.isfinite(signals.fake_logit_mean):
            return Action(roll_back=True, reason="D's logits are not finite")
        return self.script.get(signals.step, Action())

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


@pytest.fixture(autouse=True)
def shown(monkeypatch):
    return without_showing(monkeypatch)


@pytest.fixture
def scripted(monkeypatch):
    """A function that gives the next trainings a scripted policy."""

    def give(script, mends=False):
        policy = Scripted(script, mends)
        monkeypatch.setattr(setup, "build_policy", lambda name, options: policy)
        return policy

    return give


def events(path, kind):
    rows, _ = read_json_lines(RunFolder(path).events)
    return [row["message"] for row in rows if row["kind"] == kind]


def trained(path):
    return [row for row in signals(path) if row["stage"] == "train"]


EVERYTHING = {
    4: Action(noise_std=0.1, augment_probability=0.8, lecam_weight=0.5, lecam_real_anchor=1.0),
    5: Action(keep_snapshot=True, noise_std=0.2, augment_probability=0.6, d_steps=2, g_steps=2),
    6: Action(probe_discriminator=True, augment_probability=0.5, d_learning_rate_scale=0.3),
    7: Action(noise_std=0.3, adversarial_weight_scale=2.0, r1_weight=0.5),
    8: Action(roll_back=True, reason="the script says so"),
}


@pytest.mark.parametrize("cut", [5, 6, 7])
def test_resuming_is_bitwise_with_every_actuator(tmp_path, monkeypatch, scripted, cut):
    config = tiny(SENSORS)
    whole = scripted(EVERYTHING)
    run(config, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_at(patch, cut)
        assert run(config, tmp_path / "parts").step == cut
    torch.manual_seed(12345)  # whatever the new process begins with
    resumed = scripted(EVERYTHING)
    assert run(config, tmp_path / "parts", resume=True).step == 8

    assert resumed.seen == {step: whole.seen[step] for step in range(cut + 1, 9)}
    assert without_time(signals(tmp_path / "parts")) == without_time(signals(tmp_path / "whole"))
    saved = {name: RunFolder(tmp_path / name).checkpoint(8) for name in ("whole", "parts")}
    tensors = {name: load_file(path) for name, path in saved.items()}
    assert tensors["whole"].keys() == tensors["parts"].keys()
    for name, tensor in tensors["whole"].items():
        assert torch.equal(tensor, tensors["parts"][name]), name
    assert events(tmp_path / "parts", "roll-back") == events(tmp_path / "whole", "roll-back")
    assert len(events(tmp_path / "whole", "roll-back")) == 1


def test_the_policy_sees_the_latest_readings(tmp_path, scripted):
    policy = scripted(EVERYTHING)
    run(tiny(SENSORS), tmp_path / "run")
    first, readings = policy.seen[4], policy.seen[7].readings
    assert first.d_equilibrium_loss == pytest.approx(math.log(4))
    assert 0 <= first.auc <= 1
    assert first.readings.d_saturation_fake is None
    assert policy.seen[5].readings.d_saturation_fake is not None
    rows = signals(tmp_path / "run")
    assert readings.d_probe_accuracy == rows[5]["d_probe_accuracy"]
    recorded = pytest.approx(rows[5]["g_gradient_adversarial"], rel=1e-6)  # of seven digits
    assert readings.g_gradient_adversarial == recorded
    assert readings.g_gradient_adversarial > 0
    assert readings.g_adversarial_scale == 1
    held_out = pytest.approx(rows[5]["held_out_logit_mean"], rel=1e-6)
    assert readings.held_out_logit_mean == held_out
    assert readings.auc_quantised == rows[5]["auc_quantised"]


def test_going_back_restores_everything(tmp_path, scripted):
    scripted({5: Action(keep_snapshot=True), 8: Action(roll_back=True, reason="try again")})
    run(tiny("train.keep_checkpoints=9"), tmp_path / "run")
    # The checkpoint of step 4 is the state before step 5.
    before, after = (checkpoint.load(RunFolder(tmp_path / "run").checkpoint(s)) for s in (4, 8))
    for part in ("g", "d", "g_average", "g_optimizer", "d_optimizer"):
        tensors = before.part(part)
        assert tensors
        for name, tensor in tensors.items():
            assert torch.equal(after.part(part)[name], tensor), (part, name)
    row = signals(tmp_path / "run")[-1]
    assert (row["d_updated"], row["g_updated"]) == (False, False)
    assert row["action"] == {"roll_back": True, "reason": "try again"}
    message = "step 8: back to the state before step 5: try again"
    assert events(tmp_path / "run", "roll-back") == [message]


def test_going_back_to_nothing_is_said(tmp_path, scripted):
    scripted({6: Action(roll_back=True, reason="try again")})
    run(tiny(), tmp_path / "run")
    (message,) = events(tmp_path / "run", "roll-back")
    assert "cannot go back, no state was kept (try again)" in message
    assert signals(tmp_path / "run")[5]["d_updated"] is True


def test_a_kept_state_can_mend_what_is_not_finite(tmp_path, monkeypatch, scripted, shown):
    scripted({5: Action(keep_snapshot=True)}, mends=True)
    poison_d(monkeypatch, 6)
    assert run(tiny("train.sample_every=1"), tmp_path / "run").step == 8
    rows = signals(tmp_path / "run")
    assert [row["step"] for row in rows if "non_finite" in row] == [6]
    assert rows[5]["action"]["roll_back"] is True
    assert rows[-1]["d_updated"] is True
    assert shown == list(range(1, 9))
    assert events(tmp_path / "run", "diverged") == []


@pytest.mark.parametrize("broken_from", [6, 8])
def test_a_policy_that_does_not_mend_ends_the_training(
    tmp_path, monkeypatch, scripted, broken_from
):
    scripted({5: Action(keep_snapshot=True)})
    poison_d(monkeypatch, broken_from)
    with pytest.raises(TrainingDivergedError):
        run(tiny("train.checkpoint_every=1"), tmp_path / "run")
    # It had one more step to go back in, where there was one, and nothing broken was saved.
    assert signals(tmp_path / "run")[-1]["step"] == min(broken_from + 1, 8)
    newest = RunFolder(tmp_path / "run").checkpoint_files()[-1]
    assert newest == RunFolder(tmp_path / "run").checkpoint(broken_from - 1)
    waits = [m for m in events(tmp_path / "run", "non-finite") if "no checkpoint" in m]
    assert len(waits) == min(8 - broken_from, 1)


def test_noise_begins_in_the_next_step_and_is_alike_in_both_turns(tmp_path, scripted):
    frozen = {step: Action(d_steps=0) for step in range(4, 9)}
    scripted(frozen)
    run(tiny(), tmp_path / "clean")
    scripted({k: Action(d_steps=0, noise_std=50.0) for k in frozen})
    run(tiny(), tmp_path / "noisy")
    clean, noisy = trained(tmp_path / "clean"), trained(tmp_path / "noisy")
    assert noisy[0]["d_fake_before"] == clean[0]["d_fake_before"]
    for row, other in zip(noisy[1:], clean[1:], strict=True):
        assert row["d_fake_before"] != other["d_fake_before"]
        assert row["real_logit_mean"] != other["real_logit_mean"]
        # D stood still, so the same images get the same answer (and others a slightly other one:
        # so small a D sees little of anything less).
        assert row["d_fake_after"] == row["d_fake_before"]


def test_lecam_is_in_the_recorded_penalty(tmp_path, scripted):
    anchors = {"lecam_weight": 2.0, "lecam_real_anchor": 5.0, "lecam_fake_anchor": -5.0}
    scripted({5: Action(**anchors)})
    run(tiny(), tmp_path / "run")
    row = trained(tmp_path / "run")[1]
    by_mean = (row["real_logit_mean"] + 5) ** 2 + (5 - row["fake_logit_mean"]) ** 2
    spread = row["real_logit_std"] ** 2 + row["fake_logit_std"] ** 2
    assert row["d_penalty"] == pytest.approx(2 * (by_mean + spread), rel=1e-4)
    assert [r["d_penalty"] for r in trained(tmp_path / "run")[2:]] == [0, 0, 0]


def test_r1_is_in_the_recorded_penalty_and_not_under_batch_norm(tmp_path, scripted):
    asked = {5: Action(r1_weight=2.0, d_steps=2), 6: Action(r1_weight=2.0, d_steps=2)}
    scripted(dict(asked))
    run(tiny(), tmp_path / "run")
    rows = trained(tmp_path / "run")
    assert [row["d_penalty"] > 0 for row in rows] == [False, True, True, False, False]
    assert rows[1]["action"] == {"d_steps": 2, "r1_weight": 2.0}
    scripted(dict(asked))
    run(tiny("discriminator.norm=batch"), tmp_path / "batch")
    rows = trained(tmp_path / "batch")
    assert not any(row["d_penalty"] for row in rows)
    assert rows[1]["action"] == {}
    events, _ = read_json_lines(RunFolder(tmp_path / "batch").events)
    (told,) = [event["message"] for event in events if "R1" in event["message"]]
    assert "cannot: D has batch norm" in told


def test_sensors_change_nothing_and_read_when_they_are_due(tmp_path):
    off = "sensors={every: 0, probes_every: 0}"
    run(tiny(off), tmp_path / "off")
    run(tiny(SENSORS), tmp_path / "on")
    without, with_sensors = (
        load_file(RunFolder(tmp_path / name).checkpoint(8)) for name in ("off", "on")
    )
    assert all(torch.equal(tensor, with_sensors[name]) for name, tensor in without.items())
    for row in signals(tmp_path / "on"):
        adversarial, due = row["stage"] == "train", row["step"] % 2 == 0
        assert ("g_update_ratio" in row) == due
        assert ("g_gradient_content" in row) == due
        assert ("d_update_ratio" in row) == (due and adversarial)
        assert ("d_accuracy_held_out" in row) == (due and adversarial)
        assert ("high_frequency_ratio" in row) == (due and adversarial)
        assert ("auc_border_hidden" in row) == (row["step"] % 3 == 0 and adversarial)
        assert ("d_saturation_real" in row) == adversarial
    assert not any("g_update_ratio" in row for row in signals(tmp_path / "off"))
    # D's first update is in step 4: there is no gradient before it to compare with.
    assert [row["step"] for row in signals(tmp_path / "on") if "d_gradient_cosine" in row] == [6, 8]


def test_where_g_learns_from_d_alone_its_content_is_known_to_be_nothing(tmp_path):
    alone = "loss={pixel: {weight: 0}, adversarial: {weight: 1}}"
    run(tiny(alone, "sensors.every=2", "train.pretrain_steps=0"), tmp_path / "run")
    read = [row for row in trained(tmp_path / "run") if "g_gradient_adversarial" in row]
    assert read
    assert {row["g_gradient_content"] for row in read} == {0}


def test_update_ratios_are_those_of_the_saved_weights(tmp_path):
    config = tiny("sensors.every=1", "train.checkpoint_every=1", "train.keep_checkpoints=9")
    run(config, tmp_path / "run")
    before, after = (checkpoint.load(RunFolder(tmp_path / "run").checkpoint(s)) for s in (6, 7))
    row = signals(tmp_path / "run")[6]
    for part in ("g", "d"):
        old = torch.cat([tensor.flatten() for tensor in before.part(part).values()])
        new = torch.cat([after.part(part)[name].flatten() for name in before.part(part)])
        expected = (new - old).norm() / old.norm()
        assert row[f"{part}_update_ratio"] == pytest.approx(expected.item(), rel=1e-4)


def test_a_frozen_network_has_no_cosine_to_an_older_gradient(tmp_path, scripted):
    scripted({6: Action(d_steps=0)})
    run(tiny("sensors.every=1"), tmp_path / "run")
    steps = [row["step"] for row in trained(tmp_path / "run") if "d_gradient_cosine" in row]
    assert steps == [5, 8]


def test_what_breaks_after_the_decision_is_mended_in_the_next_step(
    tmp_path, monkeypatch, scripted, shown
):
    scripted({5: Action(keep_snapshot=True)}, mends=True)
    update = StageTraining._further_d_step

    def broken_update(self, turn):
        update(self, turn)
        with torch.no_grad():
            next(self.d.parameters()).fill_(math.nan)

    monkeypatch.setattr(StageTraining, "_further_d_step", broken_update)
    scripted({5: Action(keep_snapshot=True), 6: Action(d_steps=2)}, mends=True)
    run(tiny("train.sample_every=1", "train.checkpoint_every=1"), tmp_path / "run")
    rows = signals(tmp_path / "run")
    assert [row["step"] for row in rows if "non_finite" in row] == [6, 7]
    assert "roll_back" not in rows[5]["action"]
    assert rows[6]["action"]["roll_back"] is True
    assert shown == [1, 2, 3, 4, 5, 7, 8]
    first, second = events(tmp_path / "run", "non-finite")
    assert "the policy may go back to the kept state" in first
    assert "no checkpoint" in second


def test_a_checkpoint_of_an_older_version_is_refused(tmp_path):
    config = tiny("train.steps=1", "train.pretrain_steps=0")
    run(config, tmp_path / "run")
    path = RunFolder(tmp_path / "run").checkpoint(1)
    snapshot = checkpoint.load(path)
    del snapshot.values["readings"]
    checkpoint.save(path, snapshot)
    with pytest.raises(UserError, match="older version.*start a new run"):
        run(config, tmp_path / "run", resume=True)
