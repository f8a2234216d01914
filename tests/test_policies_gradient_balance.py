import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.balance.policies import build_policy
from counterpoise.records import NO_ACTION, Readings
from helpers import SIGNALS


def with_gradients(adversarial, content):
    readings = Readings(g_gradient_adversarial=adversarial, g_gradient_content=content)
    return replace(SIGNALS, readings=readings)


norms = st.floats(1e-6, 1e6)


def read_under(adversarial, content, scale):
    """As a training reads them: the adversarial gradient has the policy's factor in it."""
    readings = Readings(
        g_gradient_adversarial=adversarial * scale,
        g_gradient_content=content,
        g_adversarial_scale=scale,
    )
    return replace(SIGNALS, readings=readings)


@given(norms, norms, st.integers(1, 10))
@settings(max_examples=30, deadline=None)
def test_the_weight_settles_though_it_is_in_what_is_read(adversarial, content, every):
    """Read every few steps, under the factor of that time."""
    policy = build_policy("gradient-balance", {"max_change": 0.1})
    scale, signals = 1.0, SIGNALS
    for step in range(200):
        if step % every == 0:
            signals = read_under(adversarial, content, scale)
        scale = policy.observe(signals).adversarial_weight_scale
    assert scale == pytest.approx(min(max(content / adversarial, 0.01), 100), rel=1e-4)


@given(norms, norms, st.floats(0.1, 10))
@settings(max_examples=30, deadline=None)
def test_the_weight_settles_where_the_gradients_have_the_ratio(adversarial, content, ratio):
    policy = build_policy("gradient-balance", {"ratio": ratio, "max_change": 0.1})
    for _ in range(60):  # ln 100 / 0.1 = 46.05 steps are the most that it needs
        action = policy.observe(with_gradients(adversarial, content))
    expected = min(max(ratio * content / adversarial, 0.01), 100)
    scale = action.adversarial_weight_scale
    assert scale == pytest.approx(expected, rel=1e-6)
    if 0.01 < expected < 100:
        assert scale * adversarial / content == pytest.approx(ratio, rel=1e-6)


@given(st.lists(st.tuples(norms, norms), min_size=2, max_size=30))
@settings(max_examples=30, deadline=None)
def test_formula_limits_and_rate(history):
    options = {"min_scale": 0.5, "max_scale": 4.0, "max_change": 0.05, "decay": 0.5}
    policy = build_policy("gradient-balance", options)
    log_scale, weighted, total = 0.0, 0.0, 0.0
    for adversarial, content in history:
        wanted = min(max(math.log(content / adversarial), math.log(0.5)), math.log(4))
        weighted, total = 0.5 * weighted + wanted, 0.5 * total + 1
        change = min(max(weighted / total - log_scale, -0.05), 0.05)
        log_scale += change
        scale = policy.observe(with_gradients(adversarial, content)).adversarial_weight_scale
        assert scale == pytest.approx(math.exp(log_scale))
        assert 0.5 <= scale <= 4


def test_a_spike_moves_the_weight_by_one_small_step():
    policy = build_policy("gradient-balance", {})
    for _ in range(300):
        before = policy.observe(with_gradients(2.0, 1.0)).adversarial_weight_scale
    assert before == pytest.approx(0.5)
    after = policy.observe(with_gradients(2e5, 1.0)).adversarial_weight_scale
    assert before > after >= before * math.exp(-0.0201)


def test_it_does_not_wind_up_at_its_limit():
    policy = build_policy("gradient-balance", {"max_scale": 2.0})
    for _ in range(5000):
        policy.observe(with_gradients(1e-9, 1.0))
    # 15 steps forget all but 0.9^15 = 0.2 of the saturation; an integrator would need thousands.
    scales = [policy.observe(with_gradients(4.0, 1.0)).adversarial_weight_scale for _ in range(15)]
    assert scales[-1] < 2


def test_it_says_what_it_did():
    policy = build_policy("gradient-balance", {})
    reason = policy.observe(with_gradients(4.0, 1.0)).reason
    assert "are 4 (adversarial) and 1 (content)" in reason
    assert "weight is 0.98 times" in reason


def test_without_readings_it_says_so_once_and_does_nothing():
    policy = build_policy("gradient-balance", {})
    assert "turn sensors on" in policy.observe(SIGNALS).reason
    assert policy.observe(SIGNALS) == NO_ACTION
    assert (
        "adversarial gradient at G's output is 0" in policy.observe(with_gradients(0.0, 1)).reason
    )
    assert "content gradient at G's output is 0" in policy.observe(with_gradients(1.0, 0.0)).reason
    assert policy.observe(with_gradients(0.0, 1.0)) == NO_ACTION


@pytest.mark.parametrize("broken", [(math.nan, 1.0), (1.0, math.inf), (0.0, 1.0)])
def test_it_holds_its_weight_where_a_gradient_is_unusable(broken):
    policy = build_policy("gradient-balance", {})
    before = policy.observe(with_gradients(4.0, 1.0)).adversarial_weight_scale
    held = policy.observe(with_gradients(*broken))
    assert held.adversarial_weight_scale == before
    assert "stays at" in held.reason
