"""`auto` against simulated discriminators whose nature is known."""

import dataclasses
import json
import math

import numpy as np
import pytest

from counterpoise.balance.auto import AutoPolicy
from counterpoise.balance.policies import build_policy
from counterpoise.records import Readings
from helpers import SIGNALS


class Plant:
    """A D whose skill rises with its learning rate and falls as G learns from it.

    `skill` is a logit: accuracy is its sigmoid. It stands for what D knows beyond G.
    """

    def __init__(self, strength=0.05, g_strength=0.02, skill=0.0, noise=0.03, seed=0):
        self.strength, self.g_strength, self.skill = strength, g_strength, skill
        self.noise, self.random = noise, np.random.default_rng(seed)
        self.readings = Readings()
        self.spread = 1.0
        self.step = 0

    def learns(self, scale):
        return self.strength * scale

    def signals(self):
        self.step += 1
        accuracy = 0.5 + 0.5 * math.tanh(self.skill)
        accuracy = float(np.clip(accuracy + self.random.normal(0, self.noise), 0, 1))
        loss = math.log(4) * (1 - math.tanh(max(0.0, self.skill)))
        return dataclasses.replace(
            SIGNALS,
            step=self.step,
            d_accuracy_real=accuracy,
            d_accuracy_fake=accuracy,
            d_loss_real=loss / 2,
            d_loss_fake=loss / 2,
            real_logit_mean=self.skill,
            fake_logit_mean=-self.skill,
            real_logit_std=self.spread,
            fake_logit_std=self.spread,
            d_equilibrium_loss=math.log(4),
            readings=self.readings,
        )

    def apply(self, action):
        weight = action.adversarial_weight_scale
        lead = max(0.0, self.skill)
        self.skill += self.learns(action.d_learning_rate_scale)
        self.skill -= self.g_strength * weight * min(1.0, lead) + 3.0 * action.noise_std * lead
        if action.probe_discriminator:
            self.readings = dataclasses.replace(self.readings, d_probe_accuracy=self.fits())

    def fits(self):
        return 0.95


def run(policy, plant, steps):
    """Accuracies (smoothed as a reader would) and actions."""
    accuracies, actions, smooth = [], [], 0.5
    for _ in range(steps):
        signals = plant.signals()
        action = policy.observe(signals)
        plant.apply(action)
        smooth = 0.95 * smooth + 0.05 * signals.d_accuracy_real
        accuracies.append(smooth)
        actions.append(action)
    return np.array(accuracies), actions


def share_in_band(accuracies, warm_up=300):
    late = accuracies[warm_up:]
    return ((late >= 0.6) & (late <= 0.9)).mean()


@pytest.mark.parametrize("strength", [0.04, 0.1, 0.2])
def test_a_d_that_would_win_is_held_in_its_band_and_never_stopped(strength):
    accuracies, actions = run(AutoPolicy(), Plant(strength), 1500)
    assert share_in_band(accuracies) >= 0.9
    assert all(action.d_steps >= 1 for action in actions)
    scales = [action.d_learning_rate_scale for action in actions]
    assert min(scales) >= 0.01
    assert max(scales) <= 1
    # Without it, the same D is certain.
    alone, _ = run(build_policy("none", {}), Plant(strength), 1500)
    assert share_in_band(alone) < 0.5


def test_a_balanced_training_is_left_alone():
    plant = Plant(strength=0.01, g_strength=0.02, skill=0.5)
    accuracies, actions = run(AutoPolicy(), plant, 1000)
    assert share_in_band(accuracies) > 0.95
    untold = {"keep_snapshot", "reason", "label_smoothing"}
    changed = [a for a in actions if a.changes().keys() - untold]
    assert len(changed) < 100
    assert sum(a.keep_snapshot for a in actions) >= 4


def test_no_wind_up():
    """After thousands of steps at its limit it comes back as fast as after some hundred."""

    def recovery(steps_at_limit):
        policy = AutoPolicy(max_noise_std=0.0)
        plant = Plant(strength=0.0, g_strength=0.0, skill=3.0)
        run(policy, plant, steps_at_limit)
        plant.skill = 0.0
        for step in range(2000):
            if policy.observe(plant.signals()).d_learning_rate_scale > 0.5:
                return step
        return 2000

    assert recovery(5000) <= recovery(300) + 20
    assert recovery(300) < 300


def test_rate_limits():
    _, actions = run(AutoPolicy(), Plant(strength=0.3), 500)
    logs = np.log([a.d_learning_rate_scale for a in actions])
    assert np.abs(np.diff(logs)).max() <= 0.1 + 1e-9
    noise = np.array([a.noise_std for a in actions])
    assert np.abs(np.diff(noise)).max() <= 0.004 + 1e-9


def test_a_drowned_adversarial_term_is_raised_and_comes_back():
    plant = Plant(strength=0.05, g_strength=0.001)
    plant.readings = Readings(g_gradient_adversarial=0.01, g_gradient_content=1.0)
    policy = AutoPolicy()
    accuracies, actions = run(policy, plant, 1000)
    weights = np.array([a.adversarial_weight_scale for a in actions])
    assert weights.max() > 5
    assert "G hears too little of D" in actions[int(weights.argmax())].reason
    assert share_in_band(accuracies) > 0.9
    plant.skill, plant.strength = 0.0, 0.0
    _, actions = run(policy, plant, 600)
    assert actions[-1].adversarial_weight_scale == 1


def test_the_weight_is_not_counted_twice_where_it_is_in_what_is_read():
    """A training reads the adversarial gradient with the policy's factor in it."""

    class Reading(Plant):
        def apply(self, action):
            super().apply(action)
            scale = action.adversarial_weight_scale
            self.readings = Readings(
                g_gradient_adversarial=0.01 * scale,
                g_gradient_content=1.0,
                g_adversarial_scale=scale,
            )

    plain = Plant(strength=0.05, g_strength=0.001)
    plain.readings = Readings(g_gradient_adversarial=0.01, g_gradient_content=1.0)
    _, expected = run(AutoPolicy(), plain, 300)
    _, actions = run(AutoPolicy(), Reading(strength=0.05, g_strength=0.001), 300)
    weights = [[a.adversarial_weight_scale for a in each] for each in (actions, expected)]
    assert max(weights[0]) == pytest.approx(max(weights[1]), rel=0.2)


class NonMonotonic(Plant):
    """Learns at its configured rate, slowly; three times that breaks it for good."""

    broken = False

    def learns(self, scale):
        if scale >= 3:
            self.broken, self.skill, self.spread = True, 0.0, 0.0
        return 0.0 if self.broken else super().learns(scale)


def test_a_slow_d_is_never_driven_to_the_rate_that_kills_it():
    plant = NonMonotonic(strength=0.0015, g_strength=0.0)
    accuracies, actions = run(AutoPolicy(), plant, 2000)
    assert not plant.broken
    assert max(a.d_learning_rate_scale for a in actions) <= 2
    assert accuracies[-1] > 0.6


def test_a_young_d_is_waited_for():
    plant = Plant(strength=0.004, g_strength=0.0)
    _, actions = run(AutoPolicy(), plant, 60)
    assert all(a.d_learning_rate_scale == 1 for a in actions)


def test_a_raise_that_does_not_help_is_undone():
    class Hopeless(Plant):
        def learns(self, scale):
            return 0.0

    _, actions = run(AutoPolicy(), Hopeless(), 3000)
    scales = [a.d_learning_rate_scale for a in actions]
    assert max(scales) == pytest.approx(1.5)
    assert scales[-1] in (1.0, pytest.approx(1.5))
    assert any("undone" in a.reason for a in actions)
    # Patience doubles: the trials become rare.
    raised = [a > 1 for a in scales]
    assert sum(raised[2000:]) <= sum(raised[:1000]) + 600


def test_a_broken_d_gets_smaller_steps_not_larger_ones():
    plant = Plant(strength=0.0, g_strength=0.0)
    plant.spread = 0.0
    _, actions = run(AutoPolicy(), plant, 1000)
    assert max(a.d_learning_rate_scale for a in actions) == 1
    assert min(a.d_learning_rate_scale for a in actions) <= 0.25
    assert any("logits are constant" in a.reason for a in actions)


def test_a_d_with_nothing_left_to_see_is_left_alone():
    """A copy of D that cannot fit a batch is no sign of damage where G has become good."""

    class CannotFit(Plant):
        def fits(self):
            return 0.5

    _, actions = run(AutoPolicy(), CannotFit(strength=0.0, g_strength=0.0), 1000)
    assert sum(a.probe_discriminator for a in actions) >= 1
    assert not any(a.roll_back for a in actions)
    assert {a.d_learning_rate_scale for a in actions} == {1.0}
    assert {a.g_learning_rate_scale for a in actions} == {1.0}


def nan_signals(plant):
    return dataclasses.replace(plant.signals(), d_loss_real=math.nan)


@pytest.mark.parametrize("broken", [{"d_loss_real": math.nan}, {"d_loss_fake": 500.0}])
def test_what_explodes_goes_back_a_bounded_number_of_times(broken):
    policy, plant = AutoPolicy(), Plant(strength=0.01, g_strength=0.02, skill=0.5)
    # There is no state to go back to yet.
    assert not policy.observe(dataclasses.replace(plant.signals(), **broken)).roll_back
    run(policy, plant, 300)
    action = policy.observe(dataclasses.replace(plant.signals(), **broken))
    assert action.roll_back
    assert "back to the last calm state" in action.reason
    actions = [policy.observe(nan_signals(plant)) for _ in range(9)]
    assert [a.roll_back for a in actions] == [True] * 2 + [False] * 7
    _, after = run(policy, plant, 50)
    assert after[-1].d_learning_rate_scale <= 0.125 + 1e-9


def chased(plant):
    """Signals of a G that runs ahead of a D which then leads: a fast G, then a steep D."""
    for step in range(600):
        auc = 0.53 + 0.01 * math.sin(step) if step < 300 else 0.93
        readings = Readings(d_gradient_cosine=0.95, diversity_ratio=1.0, g_gradient_adversarial=1.0)
        yield dataclasses.replace(
            plant.signals(), auc=auc, d_accuracy_real=auc, d_accuracy_fake=auc, readings=readings
        )


@pytest.mark.parametrize("cut", [60, 237, 290, 400])
@pytest.mark.parametrize("seen", [chased, lambda plant: [plant.signals() for _ in range(640)]])
def test_its_state_resumes_exactly_wherever_it_is(seen, cut):
    """Within a trial with a weak D, or while G is slowed, or comes back, or D gets R1."""
    signals = list(seen(Plant(strength=0.0)))
    first, second = AutoPolicy(), AutoPolicy()
    for each in signals[:cut]:
        first.observe(each)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert [first.observe(s) for s in signals[cut:]] == [second.observe(s) for s in signals[cut:]]
