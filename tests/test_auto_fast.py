"""A G that runs ahead of D, against one that has become good: the same accuracy, told apart."""

import dataclasses
import json

import numpy as np
import pytest

from counterpoise.balance.auto import AutoPolicy
from counterpoise.balance.auto_fast import FastGenerator
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


def test_a_good_g_is_left_alone():
    fast, reason = watched([shown(auc) for auc in at_chance(500)])
    assert (fast.scale, reason) == (1.0, "")


def test_the_noise_of_small_batches_is_no_swing():
    fast, _ = watched([shown(auc) for auc in np.clip(at_chance(500, noise=0.2), 0, 1)])
    assert fast.scale == 1.0


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


def test_it_comes_back_where_all_is_calm_faster_where_d_leads_and_slower_the_next_time():
    def recovery(accuracy, auc, times=1):
        fast = FastGenerator(0.02)
        for _ in range(times):
            for value in at_chance(300):
                fast.observe(shown(value, cosine=0.95), 0.5, HIGH)
            start = fast.scale
            for _ in range(400):
                fast.observe(shown(auc), accuracy, HIGH)
        return fast.scale / start

    calm, leading = recovery(0.6, 0.6), recovery(0.97, 0.97)
    assert 1 < calm < leading
    assert recovery(0.6, 0.6, times=3) < calm


def test_a_slowed_g_that_d_follows_is_tried_at_a_larger_rate_but_less_so_after_a_relapse():
    def recovery(times):
        fast = FastGenerator(0.02)
        for _ in range(times):
            for value in at_chance(300):
                fast.observe(shown(value, cosine=0.95), 0.5, HIGH)
            start = fast.scale
            # Swings, so not calm, but D ranks most pairs rightly all the time.
            for step in range(600):
                fast.observe(shown(0.84 + 0.1 * np.sin(step / 10), cosine=0.6), 0.75, HIGH)
        return fast.scale / start

    assert recovery(1) > recovery(2) > recovery(3) > 1


def test_without_a_ranking_the_accuracy_serves():
    rows = [dataclasses.replace(shown(auc, cosine=0.95), auc=None) for auc in at_chance(200)]
    assert watched(rows, accuracy=0.53)[0].scale < 0.1


def test_it_goes_on_from_its_saved_state():
    rows = [shown(auc, cosine=0.95) for auc in at_chance(120)]
    fast, _ = watched(rows)
    resumed = FastGenerator(0.02)
    resumed.load_state_dict(json.loads(json.dumps(fast.state_dict())))
    for row in rows:
        assert fast.observe(row, 0.5, HIGH) == resumed.observe(row, 0.5, HIGH)
    assert fast.scale == resumed.scale


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


@pytest.mark.parametrize("options", [{"min_g_scale": 0.0}, {"label_smoothing": 1.0}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match="min_g_scale"):
        AutoPolicy(**options)
