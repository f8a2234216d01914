"""The parts of `auto`: a G that is too fast, told from one that has become good; a steep D."""

import dataclasses
import math

import numpy as np
import pytest

from counterpoise.balance.auto import AutoPolicy
from counterpoise.balance.auto_parts import FastGenerator, SteepDiscriminator
from counterpoise.records import Readings
from helpers import SIGNALS

HIGH = 0.9
CALM = {"diversity_ratio": 1.0, "d_gradient_cosine": 0.1}
CHASES = CALM | {"d_gradient_cosine": 0.95}


def shown(auc, accuracy=None, loss=1.2, **readings):
    accuracy = auc if accuracy is None else accuracy
    return dataclasses.replace(
        SIGNALS,
        auc=auc,
        d_accuracy_real=accuracy,
        d_accuracy_fake=accuracy,
        d_loss_real=loss / 2,
        d_loss_fake=loss / 2,
        d_equilibrium_loss=math.log(4),
        readings=Readings(**readings),
    )


def watched(rows, *, accuracy=0.53, least_scale=0.02):
    fast = FastGenerator(least_scale)
    for row in rows:
        reason = fast.observe(row, accuracy, HIGH)
    return fast, reason


def at_chance(steps, noise=0.04):
    return np.clip(0.53 + noise * np.random.default_rng(0).standard_normal(steps), 0, 1)


# A G that runs ahead.


@pytest.mark.parametrize("noise", [0.04, 0.2])
def test_a_good_g_is_left_alone_and_the_noise_of_small_batches_is_no_swing(noise):
    fast, reason = watched([shown(auc, **CALM) for auc in at_chance(500, noise)])
    assert (fast.scale, reason) == (1.0, "")


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(
            [shown(0.5 + 0.4 * np.sin(step / 10), **CALM) for step in range(200)],
            id="D is right in turns",
        ),
        pytest.param([shown(auc, **CHASES) for auc in at_chance(200)], id="D chases G"),
        pytest.param(
            [dataclasses.replace(shown(0.5, **CHASES), auc=None)] * 200, id="no ranking: accuracy"
        ),
        pytest.param(
            [shown(auc - 0.05, **(CALM | {"diversity_ratio": 0.2})) for auc in at_chance(200)],
            id="alike",
        ),
    ],
)
def test_a_g_that_runs_ahead_is_slowed(rows):
    fast, reason = watched(rows)
    assert fast.scale < 0.1
    assert "G ran ahead of D" in reason


def test_it_is_not_slowed_below_its_limit_nor_where_that_is_one():
    rows = [shown(auc, **CHASES) for auc in at_chance(500)]
    assert watched(rows)[0].scale == pytest.approx(0.02)
    assert watched(rows, least_scale=1.0)[0].scale == 1.0


def recovery(shown_then, steps, times=1):
    """By how much G's rate has risen, when it was slowed so many times and then saw this."""
    fast = FastGenerator(0.02)
    for _ in range(times):
        for value in at_chance(300):
            fast.observe(shown(value, **CHASES), 0.5, HIGH)
        start = fast.scale
        for step in range(steps):
            signals, accuracy = shown_then(step)
            fast.observe(signals, accuracy, HIGH)
    return fast.scale / start


def test_it_comes_back_where_all_is_calm_faster_where_d_leads_and_slower_the_next_time():
    calm = recovery(lambda step: (shown(0.6, **CALM), 0.6), 400)
    assert 1 < calm < recovery(lambda step: (shown(0.97, **CALM), 0.97), 400)
    assert recovery(lambda step: (shown(0.6, **CALM), 0.6), 400, times=3) < calm


def test_a_slowed_g_that_d_follows_is_tried_at_a_larger_rate_but_less_so_after_a_relapse():
    def followed(step):  # swings, so not calm, but D ranks most pairs rightly all the time
        return shown(0.84 + 0.1 * np.sin(step / 10), **(CALM | {"d_gradient_cosine": 0.6})), 0.75

    once, twice, thrice = (recovery(followed, 600, times) for times in (1, 2, 3))
    assert once > twice > thrice > 1


def test_auto_gives_g_its_rate_back_before_it_slows_d():
    policy = AutoPolicy(r1=0.0)
    for value in at_chance(300):
        action = policy.observe(shown(value, **CHASES))
    assert action.g_learning_rate_scale < 0.1
    assert action.d_learning_rate_scale == 1.0
    for _ in range(30):
        action = policy.observe(shown(0.97, **CALM))
    assert action.g_learning_rate_scale < 1
    assert action.d_learning_rate_scale == 1.0
    for _ in range(400):
        action = policy.observe(shown(0.97, **CALM))
    assert action.g_learning_rate_scale == 1.0
    assert action.d_learning_rate_scale < 0.5


# A D that is steep, or stays near chance.

MAY = {"may_smooth": True, "may_repeat": True}
PATIENCE = SteepDiscriminator.PATIENCE_STEPS


def test_a_d_that_leads_is_smoothed_and_trained_more_until_g_follows():
    steep = SteepDiscriminator(0.1, 3)
    asked = []
    for ranking in (0.85, 0.92, 0.85, 0.79, 0.85):
        reason = steep.observe(ranking, **MAY)
        asked.append((steep.r1_weight, steep.d_steps, bool(reason)))
    smoothed = (0.1, 3, True)
    assert asked == [(0.0, 1, False), smoothed, smoothed, (0.0, 1, False), (0.0, 1, False)]


@pytest.mark.parametrize(
    ("rankings", "options", "asked"),
    [
        # All but certain: further steps would only let it lead more.
        ([0.97], {}, (0.1, 1)),
        ([0.92], {"may_repeat": False}, (0.1, 1)),
        # Without R1 a D that leads is not trained more.
        ([0.92], {"r1": 0.0}, (0.0, 1)),
        ([0.92], {"may_smooth": False}, (0.0, 1)),
        # The ranking is not known yet.
        ([0.92, None], {}, (0.0, 1)),
        # Near chance, but young; for long; not any more, or only for one step.
        ([0.55] * PATIENCE, {}, (0.0, 1)),
        ([0.55] * (PATIENCE + 1), {}, (0.0, 2)),
        ([0.55] * (PATIENCE + 1), {"may_repeat": False}, (0.0, 1)),
        ([*[0.55] * (PATIENCE + 2), 0.8, 0.55], {}, (0.0, 2)),
        ([*[0.55] * 500, *[0.8] * 2 * PATIENCE, 0.55], {}, (0.0, 1)),
    ],
)
def test_what_is_asked_for(rankings, options, asked):
    steep = SteepDiscriminator(options.get("r1", 0.1), 2)
    may = {name: options.get(name, True) for name in MAY}
    reasons = [steep.observe(ranking, **may) for ranking in rankings]
    assert (steep.r1_weight, steep.d_steps) == asked
    assert bool(reasons[-1]) == (asked != (0.0, 1))


def test_a_run_of_before_it_goes_on():
    state = AutoPolicy().state_dict()
    del state["steep"]
    policy = AutoPolicy()
    policy.load_state_dict(state)
    assert policy.state_dict() == AutoPolicy().state_dict()


@pytest.mark.parametrize(("content", "d_steps"), [(0.0, 2), (1e-4, 2), (0.5, 1)])
def test_auto_asks_for_r1_and_for_steps_only_where_g_learns_from_d_alone(content, d_steps):
    policy = AutoPolicy(r1=0.5)
    gradients = {"g_gradient_adversarial": 1.0, "g_gradient_content": content}
    actions = [policy.observe(shown(0.93, 0.8, **gradients)) for _ in range(30)]
    assert (actions[0].r1_weight, actions[0].d_steps) == (0.0, 1)
    assert (actions[-1].r1_weight, actions[-1].d_steps) == (0.5, d_steps)
    assert "R1 with a gamma of 0.5" in actions[-1].reason


def test_auto_leaves_r1_where_it_cannot_be_had():
    cannot = dataclasses.replace(shown(0.97, 0.8), d_takes_r1=False)
    policy = AutoPolicy()
    actions = [policy.observe(cannot) for _ in range(300)]
    assert {(a.r1_weight, a.d_steps, a.d_learning_rate_scale) for a in actions} == {(0, 1, 1)}


def test_auto_leaves_a_d_alone_that_a_g_ran_away_from():
    policy = AutoPolicy()
    policy._fast._log_scale = math.log(0.2)
    actions = [policy.observe(shown(0.93, 0.8)) for _ in range(30)]
    assert {action.r1_weight for action in actions} == {0.0}
    policy._fast._log_scale = math.log(0.5)
    assert policy.observe(shown(0.93, 0.8)).r1_weight > 0


def test_auto_slows_a_d_that_ranks_nearly_all_pairs_rightly_though_it_is_in_the_band():
    slowed, left = AutoPolicy(), AutoPolicy()
    for _ in range(300):
        of_slowed = slowed.observe(shown(0.99, 0.8))
        of_left = left.observe(shown(0.94, 0.8))
    assert of_slowed.d_learning_rate_scale < 0.5
    assert of_left.d_learning_rate_scale == 1


def test_auto_gives_up_both_where_it_goes_back():
    policy = AutoPolicy()
    for _ in range(200):
        policy.observe(shown(0.91, 0.75))
    gone_back = policy.observe(shown(0.91, 0.75, loss=math.nan))
    assert gone_back.roll_back
    assert (gone_back.r1_weight, gone_back.d_steps) == (0.0, 1)
