"""`ada`, `instance-noise`, `lecam`: what is done to D's inputs and to its loss."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.balance.policies import build_policy
from counterpoise.records import NO_ACTION
from helpers import SIGNALS


def on_real(accuracy):
    return replace(SIGNALS, d_accuracy_real=accuracy)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.sampled_from([20, 64, 15625]))
@settings(max_examples=40, deadline=None)
def test_ada_is_the_published_heuristic(accuracies, ramp_steps):
    policy = build_policy("ada", {"ramp_steps": ramp_steps})
    batch_size, kimg = 32, ramp_steps * 32 / 1000
    probability, signs = 0.0, []
    for number, accuracy in enumerate(accuracies, start=1):
        # E[sign D(real)]: a share `accuracy` of +1, the rest -1.
        signs.append(accuracy * 1 + (1 - accuracy) * -1)
        if number % 4 == 0:
            adjust = np.sign(np.mean(signs) - 0.6) * (batch_size * 4) / (kimg * 1000)
            if abs(np.mean(signs) - 0.6) > 1e-9:  # at the target itself rounding decides
                probability = min(max(probability + adjust, 0), 1)
            else:
                return
            signs = []
        action = policy.observe(on_real(accuracy))
        assert action.augment_probability == pytest.approx(probability, abs=1e-12)
        assert bool(action.reason) == (action.augment_probability > 0)


def test_ada_rises_to_its_limit_in_the_stated_steps_and_comes_back():
    policy = build_policy("ada", {"ramp_steps": 100, "max_probability": 0.8})
    rising = [policy.observe(on_real(0.95)).augment_probability for _ in range(120)]
    assert rising[3] == pytest.approx(0.04)
    assert rising[78] < 0.8
    assert rising[79] == rising[-1] == pytest.approx(0.8)
    # No wind-up: the first interval on the other side of the target lowers it.
    falling = [policy.observe(on_real(0.7)) for _ in range(4)]
    assert falling[-1].augment_probability == pytest.approx(0.76)
    assert "r_t was 0.40 (target 0.6)" in falling[-1].reason
    for _ in range(100):
        action = policy.observe(on_real(0.7))
    assert action == NO_ACTION


def test_ada_keeps_its_probability_and_its_interval_over_a_broken_step():
    policy = build_policy("ada", {"ramp_steps": 100})
    for accuracy in (1.0, 1.0, 1.0, math.nan):
        action = policy.observe(on_real(accuracy))
    assert action.augment_probability == 0
    assert "held" in action.reason
    assert policy.observe(on_real(1.0)).augment_probability == pytest.approx(0.04)


def test_instance_noise_fades_linearly_from_where_it_begins():
    policy = build_policy("instance-noise", {"std": 0.2, "anneal_steps": 10})
    actions = [policy.observe(replace(SIGNALS, step=500 + t)) for t in range(13)]
    expected = [0.2 * max(1 - t / 10, 0) for t in range(13)]
    assert [a.noise_std for a in actions] == pytest.approx(expected)
    assert "0.2 on D's inputs" in actions[0].reason
    assert actions[10] == actions[12] == NO_ACTION


logits = st.floats(-50, 50)


@given(st.lists(st.tuples(logits, logits), min_size=1, max_size=40), st.integers(0, 20))
@settings(max_examples=40, deadline=None)
def test_lecam_anchors_are_averages_of_all_steps_and_used_from_the_start_on(history, start):
    policy = build_policy("lecam", {"start_steps": start, "decay": 0.9})
    for n, (real, fake) in enumerate(history, start=1):
        action = policy.observe(replace(SIGNALS, real_logit_mean=real, fake_logit_mean=fake))
        if n <= start:
            assert action == NO_ACTION
            continue
        weights = 0.9 ** np.arange(n - 1, -1, -1)
        anchors = np.average(np.array(history[:n]), axis=0, weights=weights)
        assert action.lecam_weight == 0.3
        found = (action.lecam_real_anchor, action.lecam_fake_anchor)
        assert found == pytest.approx(tuple(anchors), rel=1e-6, abs=1e-6)
        assert "LeCam" in action.reason


def test_lecam_anchors_do_not_take_in_what_is_not_finite():
    policy = build_policy("lecam", {"start_steps": 0})
    shown = replace(SIGNALS, real_logit_mean=2.0, fake_logit_mean=-1.0)
    policy.observe(shown)
    broken = policy.observe(replace(shown, real_logit_mean=math.inf))
    assert (broken.lecam_real_anchor, broken.lecam_fake_anchor) == (2, -1)
    assert "held" in broken.reason
