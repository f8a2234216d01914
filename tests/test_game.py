"""A policy in a training: resumed to the bit, sent back, mending what broke; and its sensors, which
change nothing."""

import math

import pytest
import torch

from counterpoise.errors import TrainingDivergedError
from counterpoise.records import Action
from counterpoise.run_folder import RunFolder
from counterpoise.training import checkpoint, setup
from counterpoise.training.stage import StageTraining
from loop_helpers import Scripted
from training_helpers import (
    differing_tensors,
    events,
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
BROKEN = "D's logits are not finite"
pytestmark = pytest.mark.usefixtures("shown")


class ByStep(Scripted):
    """Asks at each step for what a script says, and when it sees something broken, to go back."""

    def __init__(self, script, mends=False):
        self.script, self.mends = script, mends
        self.seen = {}

    def observe(self, signals):
        self.seen[signals.step] = signals
        if self.mends and not math.isfinite(signals.fake_logit_mean):
            return Action(roll_back=True, reason=BROKEN)
        return self.script.get(signals.step, Action())


def scripted(monkeypatch, script, **options):
    """The next trainings have a scripted policy."""
    policy = ByStep(script, **options)
    monkeypatch.setattr(setup, "build_policy", lambda name, given: policy)
    return policy


EVERYTHING = {
    4: Action(noise_std=0.1, augment_probability=0.8, lecam_weight=0.5, lecam_real_anchor=1.0),
    5: Action(keep_snapshot=True, noise_std=0.2, augment_probability=0.6, d_steps=2, g_steps=2),
    6: Action(augment_probability=0.5, d_learning_rate_scale=0.3),
    7: Action(noise_std=0.3, adversarial_weight_scale=2.0, r1_weight=0.5),
    8: Action(roll_back=True, reason="the script says so"),
}
PENALTIES = ("loss.adversarial.r1=1", "loss.adversarial.gradient_penalty=1")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training that nothing interrupts, with every actuator; and its policy."""
    path = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        without_showing(patch)
        policy = scripted(patch, EVERYTHING)
        run(tiny(SENSORS, *PENALTIES), path)
    return path, policy


# In pretraining, at its end, and before and after what is kept.
@pytest.mark.parametrize("cut", [2, 3, 5, 6])
def test_resuming_is_bitwise_with_every_actuator(tmp_path, monkeypatch, whole, cut):
    path, policy = whole
    config = tiny(SENSORS, *PENALTIES)
    scripted(monkeypatch, EVERYTHING)
    with monkeypatch.context() as patch:
        stop_at(patch, cut)
        assert run(config, tmp_path / "parts").step == cut
    torch.manual_seed(12345)  # whatever the new process begins with
    resumed = scripted(monkeypatch, EVERYTHING)
    assert run(config, tmp_path / "parts", resume=True).step == 8
    assert resumed.seen == {s: policy.seen[s] for s in range(max(cut, 3) + 1, 9)}
    assert without_time(signals(tmp_path / "parts")) == without_time(signals(path))
    assert differing_tensors(tmp_path / "parts", path) == []
    assert events(tmp_path / "parts", "roll-back") == events(path, "roll-back")
    assert len(events(path, "roll-back")) == 1


def test_further_steps_take_fresh_batches(whole):
    values = checkpoint.load(RunFolder(whole[0]).checkpoint(8)).values
    assert values["batches_drawn"] == 8 + 1 + 1  # one more for D and one for G, in step 5


def test_the_policy_sees_the_latest_readings(whole):
    path, policy = whole
    first, readings = policy.seen[4], policy.seen[7].readings
    assert first.d_equilibrium_loss == pytest.approx(math.log(4))
    assert 0 <= first.auc <= 1
    assert first.readings.d_saturation_fake is None
    assert policy.seen[5].readings.d_saturation_fake is not None
    row = signals(path)[5]
    assert readings.g_gradient_adversarial > 0
    assert readings.g_adversarial_scale == 1
    assert readings.auc_quantised == row["auc_quantised"]
    for name in ("g_gradient_adversarial", "held_out_logit_mean"):
        assert getattr(readings, name) == pytest.approx(row[name], rel=1e-6)  # of seven digits


def test_going_back_restores_everything(tmp_path, monkeypatch):
    back = Action(roll_back=True, reason="try again")
    scripted(monkeypatch, {5: Action(keep_snapshot=True), 8: back})
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
    (message,) = events(tmp_path / "run", "roll-back")
    assert "step 8: back to the state before step 5: try again" in message


def test_a_kept_state_can_mend_what_is_not_finite(tmp_path, monkeypatch, shown):
    scripted(monkeypatch, {5: Action(keep_snapshot=True)}, mends=True)
    poison_d(monkeypatch, 6)
    assert run(tiny("train.sample_every=1"), tmp_path / "run").step == 8
    rows = signals(tmp_path / "run")
    assert [row["step"] for row in rows if "non_finite" in row] == [6]
    assert rows[5]["action"]["roll_back"] is True
    assert rows[-1]["d_updated"] is True
    assert shown == list(range(1, 9))
    assert events(tmp_path / "run", "diverged") == []


def test_what_breaks_after_the_decision_is_mended_in_the_next_step(tmp_path, monkeypatch, shown):
    train_d = StageTraining._train_d

    def breaking(self, turn, *batch):
        changes = train_d(self, turn, *batch)
        if turn.of(None).parts > 1:  # a further step
            with torch.no_grad():
                next(self.d.parameters()).fill_(math.nan)
        return changes

    monkeypatch.setattr(StageTraining, "_train_d", breaking)
    scripted(monkeypatch, {5: Action(keep_snapshot=True), 6: Action(d_steps=2)}, mends=True)
    run(tiny("train.sample_every=1", "train.checkpoint_every=1"), tmp_path / "run")
    rows = signals(tmp_path / "run")
    assert [row["step"] for row in rows if "non_finite" in row] == [6, 7]
    assert "roll_back" not in rows[5]["action"]
    assert rows[6]["action"]["roll_back"] is True
    assert shown == [1, 2, 3, 4, 5, 7, 8]
    first, second = events(tmp_path / "run", "non-finite")
    assert "may go back" in first
    assert "no checkpoint" in second


@pytest.mark.parametrize("broken_from", [6, 8])
def test_a_policy_that_does_not_mend_ends_the_training(tmp_path, monkeypatch, broken_from):
    scripted(monkeypatch, {5: Action(keep_snapshot=True)})
    poison_d(monkeypatch, broken_from)
    with pytest.raises(TrainingDivergedError):
        run(tiny("train.checkpoint_every=1"), tmp_path / "run")
    # It had one more step to go back in, where there was one, and nothing broken was saved.
    assert signals(tmp_path / "run")[-1]["step"] == min(broken_from + 1, 8)
    newest = RunFolder(tmp_path / "run").checkpoint_files()[-1]
    assert newest == RunFolder(tmp_path / "run").checkpoint(broken_from - 1)
    waits = [m for m in events(tmp_path / "run", "non-finite") if "no checkpoint" in m]
    assert len(waits) == min(8 - broken_from, 1)


def test_sensors_change_nothing_and_read_when_they_are_due(tmp_path):
    run(tiny("sensors={every: 0, probes_every: 0}"), tmp_path / "off")
    run(tiny(SENSORS), tmp_path / "on")
    differing = differing_tensors(tmp_path / "off", tmp_path / "on")
    assert {name.partition("/")[0] for name in differing} <= {"sensors"}
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


def test_readings_are_those_of_the_saved_weights(tmp_path, monkeypatch):
    """Where G learns from D alone, and D rests in a step."""
    scripted(monkeypatch, {6: Action(d_steps=0)})
    alone = "loss={pixel: {weight: 0}, adversarial: {weight: 1}}"
    every = ("sensors.every=1", "train.checkpoint_every=1", "train.keep_checkpoints=9")
    run(tiny(alone, *every, "train.pretrain_steps=0", "train.steps=8"), tmp_path / "run")
    before, after = (checkpoint.load(RunFolder(tmp_path / "run").checkpoint(s)) for s in (4, 5))
    rows = signals(tmp_path / "run")
    for part in ("g", "d"):
        old = torch.cat([tensor.flatten() for tensor in before.part(part).values()])
        new = torch.cat([after.part(part)[name].flatten() for name in before.part(part)])
        expected = (new - old).norm() / old.norm()
        assert rows[4][f"{part}_update_ratio"] == pytest.approx(expected.item(), rel=1e-4)
    assert {row["g_gradient_content"] for row in rows} == {0}
    assert all(row["g_gradient_adversarial"] > 0 for row in rows)
    # A network that rested has no cosine to an older gradient.
    assert [r["step"] for r in rows if "d_gradient_cosine" in r] == [2, 3, 4, 5, 8]
