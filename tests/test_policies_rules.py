"""What each policy does: its formula by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.balance.policies import build_policy, objective_problems
from counterpoise.records import NO_ACTION, Action, Readings
from helpers import SIGNALS

LN4 = math.log(4)
shares = st.floats(0, 1)
norms = st.floats(1e-6, 1e6)
logits = st.floats(-50, 50)


def accurate(real, fake=None, step=1):
    fake = real if fake is None else fake
    return replace(SIGNALS, step=step, d_accuracy_real=real, d_accuracy_fake=fake)


def with_loss(loss, ideal=LN4):
    return replace(
        SIGNALS, d_loss_real=loss / 4, d_loss_fake=loss * 3 / 4, d_equilibrium_loss=ideal
    )


def with_gradients(adversarial, content, scale=None):
    readings = Readings(
        g_gradient_adversarial=adversarial, g_gradient_content=content, g_adversarial_scale=scale
    )
    return replace(SIGNALS, readings=readings)


def with_logits(real, fake):
    return replace(SIGNALS, real_logit_mean=real, fake_logit_mean=fake)


def test_those_that_never_look():
    assert build_policy("none", {}).observe(SIGNALS) == NO_ACTION
    assert NO_ACTION.changes() == {}
    action = build_policy("ratio", {"d_steps": 5, "g_steps": 2}).observe(SIGNALS)
    reason = "5 updates of D for 2 of G"
    assert action == Action(d_steps=5, g_steps=2, reason=reason)
    assert action.changes() == {"d_steps": 5, "g_steps": 2, "reason": reason}
    assert build_policy("ratio", {}).observe(SIGNALS) == NO_ACTION
    action = build_policy("ttur", {"g_learning_rate_scale": 0.5}).observe(SIGNALS)
    assert (action.d_learning_rate_scale, action.g_learning_rate_scale) == (4, 0.5)
    policy = build_policy("instance-noise", {"std": 0.2, "anneal_steps": 10})
    actions = [policy.observe(replace(SIGNALS, step=500 + t)) for t in range(13)]
    expected = [0.2 * max(1 - t / 10, 0) for t in range(13)]
    assert [a.noise_std for a in actions] == pytest.approx(expected)
    assert actions[10] == actions[12] == NO_ACTION


@given(st.lists(st.tuples(shares, shares), min_size=1, max_size=20), st.floats(0.05, 1))
def test_threshold_looks_at_either_half_of_the_previous_batch(history, threshold):
    policy = build_policy("threshold", {"threshold": threshold})
    trained = [policy.observe(accurate(real, fake)).d_steps == 1 for real, fake in history]
    expected = [real < threshold or fake < threshold for real, fake in history[:-1]]
    assert trained == [True, *expected]


def test_threshold_on_the_mean_output():
    policy = build_policy("threshold", {"measure": "mean-output", "threshold": 0.8})
    strong = replace(SIGNALS, d_real=0.95, d_fake=0.1)
    assert policy.observe(strong) == NO_ACTION
    frozen = policy.observe(SIGNALS)
    assert frozen.d_steps == 0
    assert "0.95 (real) and 0.90 (fake)" in frozen.reason
    assert policy.observe(strong) == NO_ACTION


@pytest.mark.parametrize(
    ("real", "fake", "options", "action"),
    [
        (0.31, 0.31, {}, (1, True, True)),
        (0.31, 0.3, {}, (1, True, False)),
        (0.1, 0.5, {}, (1, False, True)),
        (0.3, 0.3, {}, (0, False, False)),
        (0.16, 0.14, {"loss_multiplier": 2}, (1, True, False)),  # texture mode: doubled losses
    ],
)
def test_loss_gate_takes_each_half_apart(real, fake, options, action):
    signals = replace(SIGNALS, d_loss_real=real, d_loss_fake=fake)
    answer = build_policy("loss-gate", options).observe(signals)
    assert (answer.d_steps, answer.d_trains_on_real, answer.d_trains_on_fake) == action


def skips(policy, loss, steps, ideal=2.0):
    return [policy.observe(with_loss(loss, ideal)).d_steps == 0 for _ in range(steps)]


@pytest.mark.parametrize(
    ("loss", "probability"),
    [(2.5, 0.0), (1.8, 0.0), (1.4, 0.5), (1.2, 0.75), (1.0, 1.0), (0.0, 1.0)],
)
def test_skip_band_skips_with_the_stated_probability(loss, probability):
    """Hinge: the band is 0.9 to 0.5 of an equilibrium loss of 2."""
    skipped = sum(skips(build_policy("skip-band", {}), loss, 2000))
    # Five standard deviations of a binomial count; at the ends there are none.
    deviation = math.sqrt(2000 * probability * (1 - probability))
    assert abs(skipped - 2000 * probability) <= 5 * deviation


def test_skip_band_is_a_share_of_any_equilibrium_loss_and_draws_by_its_seed():
    reference = skips(build_policy("skip-band", {}), 0.7 * 2, 50)
    assert skips(build_policy("skip-band", {}), 0.7 * LN4, 50, LN4) == reference
    assert skips(build_policy("skip-band", {"seed": 1}), 1.4, 50) != reference
    half, resumed = build_policy("skip-band", {}), build_policy("skip-band", {})
    start = skips(half, 1.4, 25)
    resumed.load_state_dict(half.state_dict())
    assert start + skips(resumed, 1.4, 25) == reference


@given(st.lists(st.tuples(shares, shares), min_size=1, max_size=60), st.floats(0.1, 0.9))
@settings(max_examples=50, deadline=None)
def test_win_rate_takes_turns_as_the_source_does(history, target):
    policy = build_policy("win-rate", {"target": target})
    success = target
    for real, fake in history:
        action = policy.observe(accurate(real, fake))
        if success >= target:
            assert (action.d_steps, action.g_steps) == (0, 1)
            g_accuracy = 1 - fake  # the share of fakes that pass for real
            success = success * (1 - 0.05) + 0.05 * (1 - g_accuracy)
        else:
            assert (action.d_steps, action.g_steps) == (1, 0)
            success = success * (1 - 0.05) + 0.05 * (real + fake) / 2
        assert action.reason
        if abs(success - target) < 1e-9:
            return  # rounding decides


@given(st.lists(shares, min_size=1, max_size=40))
@settings(max_examples=40, deadline=None)
def test_accuracy_band_formula(accuracies):
    policy = build_policy("accuracy-band", {"max_scale": 3.0, "decay": 0.5})
    log_scale, weighted, total = 0.0, 0.0, 0.0
    for accuracy in accuracies:
        weighted, total = 0.5 * weighted + accuracy, 0.5 * total + 1
        error = 0.75 - weighted / total
        if abs(abs(error) - 0.1) < 1e-9:
            return  # rounding decides
        if abs(error) > 0.1:
            log_scale += 0.05 * error
            log_scale = min(max(log_scale, math.log(0.1)), math.log(3))
        scale = policy.observe(accurate(accuracy)).d_learning_rate_scale
        assert scale == pytest.approx(math.exp(log_scale))


def test_accuracy_band_leaves_a_good_or_a_weak_d_alone_by_default():
    policy = build_policy("accuracy-band", {})
    assert all(policy.observe(accurate(a)) == NO_ACTION for a in [0.75, 0.8, 0.7] * 20)
    # At chance: a larger learning rate is what would kill it.
    assert all(policy.observe(accurate(0.5)) == NO_ACTION for _ in range(500))


@given(
    st.lists(st.floats(0, 4), min_size=1, max_size=30),
    st.sampled_from([LN4, 0.5, 2.0, 0.0]),
    st.floats(0.01, 1),
    st.floats(0.01, 1),
)
@settings(max_examples=40, deadline=None)
def test_gap_lr_is_the_published_function_of_the_smoothed_loss(losses, ideal, x_min, x_max):
    policy = build_policy("gap-lr", {"x_min": x_min, "x_max": x_max})
    smoothed = ideal
    for loss in losses:
        smoothed = 0.95 * smoothed + 0.05 * loss
        gap = abs(smoothed - ideal)
        above = min(max(2.0 ** (gap / x_max), 1), 2.0)
        below = min(max(0.1 ** (gap / x_min), 0.1), 1)
        expected = above if smoothed > ideal else below
        action = policy.observe(with_loss(loss, ideal))
        assert action.d_learning_rate_scale == pytest.approx(expected, rel=1e-6)


@given(norms, norms, st.floats(0.1, 10), st.integers(1, 10))
@settings(max_examples=30, deadline=None)
def test_gradient_balance_settles_though_its_weight_is_in_what_is_read(
    adversarial, content, ratio, every
):
    """A training reads every few steps, under the factor of that time."""
    policy = build_policy("gradient-balance", {"ratio": ratio, "max_change": 0.1})
    scale, shown = 1.0, SIGNALS
    for step in range(200):
        if step % every == 0:
            shown = with_gradients(adversarial * scale, content, scale)
        scale = policy.observe(shown).adversarial_weight_scale
    assert scale == pytest.approx(min(max(ratio * content / adversarial, 0.01), 100), rel=1e-4)


@given(st.lists(shares, min_size=1, max_size=60), st.sampled_from([20, 64, 15625]))
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
        action = policy.observe(accurate(accuracy))
        assert action.augment_probability == pytest.approx(probability, abs=1e-12)
        assert bool(action.reason) == (action.augment_probability > 0)


@given(st.lists(st.tuples(logits, logits), min_size=1, max_size=40), st.integers(0, 20))
@settings(max_examples=40, deadline=None)
def test_lecam_anchors_are_averages_of_all_steps_and_used_from_the_start_on(history, start):
    policy = build_policy("lecam", {"start_steps": start, "decay": 0.9})
    for n, (real, fake) in enumerate(history, start=1):
        action = policy.observe(with_logits(real, fake))
        if n <= start:
            assert action == NO_ACTION
            continue
        weights = 0.9 ** np.arange(n - 1, -1, -1)
        anchors = np.average(np.array(history[:n]), axis=0, weights=weights)
        assert action.lecam_weight == 0.3
        found = (action.lecam_real_anchor, action.lecam_fake_anchor)
        assert found == pytest.approx(tuple(anchors), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "problems"),
    [
        ("gap-lr", {}, 1),
        ("gap-lr", {"x_min": 0.1, "x_max": 0.1}, 0),
        ("skip-band", {}, 1),
        ("accuracy-band", {}, 0),
    ],
)
def test_shares_of_an_ideal_loss_of_0_are_refused(name, options, problems):
    policy = build_policy(name, options)
    assert len(objective_problems(policy, "wgan")) == problems
    assert objective_problems(policy, "hinge") == []


@pytest.mark.parametrize("gradients", [(None, None), (0.0, 1.0), (1.0, 0.0)])
def test_a_weight_that_cannot_be_chosen_stays_and_that_is_said(gradients):
    action = build_policy("gradient-balance", {}).observe(with_gradients(*gradients))
    assert action.adversarial_weight_scale == 1
    assert action.reason


@pytest.mark.parametrize(
    ("name", "scale", "high", "middle"),
    [
        ("accuracy-band", "d_learning_rate_scale", accurate(1.0), accurate(0.5)),
        ("gap-lr", "d_learning_rate_scale", with_loss(0.0), with_loss(LN4)),
        ("gradient-balance", "adversarial_weight_scale", with_gradients(1e9, 1.0),
         with_gradients(1.0, 4.0)),
    ],
)  # fmt: skip
def test_none_of_them_winds_up(name, scale, high, middle):
    """After thousands of steps at its limit it comes back as soon as after some hundred."""

    def recovery(saturated_steps):
        policy = build_policy(name, {})
        for _ in range(saturated_steps):
            action = policy.observe(high)
        assert getattr(action, scale) <= 0.1 + 1e-9
        return [getattr(policy.observe(middle), scale) for _ in range(300)]

    soon, late = recovery(500), recovery(8000)
    assert late == pytest.approx(soon, rel=1e-6)
    assert soon[0] < 0.11
    assert soon[-1] > 0.9
