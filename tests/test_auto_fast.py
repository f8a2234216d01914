"""A G that runs ahead of D, against one that has become good: the same accuracy, told apart."""

import dataclasses

import numpy as np
import pytest

from counterpoise.balance.auto import AutoPolicy
from counterpoise.balance.auto_parts import FastGenerator
from counterpoise.records import Readings
from helpers import SIGNALS

HIGH = 0.9


def shown(auc, *, diversity=1.0, cosine=0.1):
    readings = Readings(diversity_ratio=diversity, d_gradient_cosine=cosine)
    return dataclasses.replace(
        SIGNALS, auc=auc, d_accuracy_real=auc, d_accuracy_fake=auc, readings=readings
    )


def watched(rows, *, accuracy=None, least_scale=0.02):
    fast = FastGenerator(least_scale)
    for row in rows:
        reason = fast.observe(row, row.auc if accuracy is None else accuracy, HIGH)
    return fast, reason


def at_chance(steps, noise=0.04, seed=0):
    return 0.53 + noise * np.random.default_rng(seed).standard_normal(steps)


@pytest.mark.parametrize("noise", [0.04, 0.2])
def test_a_good_g_is_left_alone_and_the_noise_of_small_batches_is_no_swing(noise):
    fast, reason = watched([shown(auc) for auc in np.clip(at_chance(500, noise), 0, 1)])
    assert (fast.scale, reason) == (1.0, "")


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(
            [shown(0.5 + 0.4 * np.sin(step / 10)) for step in range(200)], id="D is right in turns"
        ),
        pytest.param([shown(auc, cosine=0.95) for auc in at_chance(200)], id="D chases G"),
        pytest.param([shown(auc - 0.05, diversity=0.2) for auc in at_chance(200)], id="alike"),
    ],
)
def test_a_g_that_runs_ahead_is_slowed(rows):
    fast, reason = watched(rows)
    assert fast.scale < 0.1
    assert "G ran ahead of D" in reason


def test_it_is_not_slowed_below_its_limit_nor_where_that_is_one():
    rows = [shown(auc, cosine=0.95) for auc in at_chance(2000)]
    assert watched(rows)[0].scale == pytest.approx(0.02)
    assert watched(rows, least_scale=1.0)[0].scale == 1.0


def recovery(shown_then, steps, times=1):
    """By how much G's rate has risen, when it was slowed so many times and then saw this."""
    fast = FastGenerator(0.02)
    for _ in range(times):
        for value in at_chance(300):
            fast.observe(shown(value, cosine=0.95), 0.5, HIGH)
        start = fast.scale
        for step in range(steps):
            signals, accuracy = shown_then(step)
            fast.observe(signals, accuracy, HIGH)
    return fast.scale / start


def test_it_comes_back_where_all_is_calm_faster_where_d_leads_and_slower_the_next_time():
    calm = recovery(lambda step: (shown(0.6), 0.6), 400)
    assert 1 < calm < recovery(lambda step: (shown(0.97), 0.97), 400)
    assert recovery(lambda step: (shown(0.6), 0.6), 400, times=3) < calm


def test_a_slowed_g_that_d_follows_is_tried_at_a_larger_rate_but_less_so_after_a_relapse():
    def followed(step):  # swings, so not calm, but D ranks most pairs rightly all the time
        return shown(0.84 + 0.1 * np.sin(step / 10), cosine=0.6), 0.75

    once, twice, thrice = (recovery(followed, 600, times) for times in (1, 2, 3))
    assert once > twice > thrice > 1


def test_without_a_ranking_the_accuracy_serves():
    rows = [dataclasses.replace(shown(auc, cosine=0.95), auc=None) for auc in at_chance(200)]
    assert watched(rows, accuracy=0.53)[0].scale < 0.1


def test_auto_gives_g_its_rate_back_before_it_slows_d():
    policy = AutoPolicy()
    for value in at_chance(300):
        action = policy.observe(shown(value, cosine=0.95))
    assert action.g_learning_rate_scale < 0.1
    assert action.d_learning_rate_scale == 1.0
    for _ in range(30):
        action = policy.observe(shown(0.97))
    assert action.g_learning_rate_scale < 1
    assert action.d_learning_rate_scale == 1.0
    for _ in range(400):
        action = policy.observe(shown(0.97))
    assert action.g_learning_rate_scale == 1.0
    assert action.d_learning_rate_scale < 0.5
