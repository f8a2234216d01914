"""`skip-band` and `win-rate`: who trains in a step."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.balance.policies import build_policy
from counterpoise.records import NO_ACTION
from helpers import SIGNALS

shares = st.floats(0, 1)


def with_loss(loss, ideal=2.0):
    return replace(SIGNALS, d_loss_real=loss / 2, d_loss_fake=loss / 2, d_equilibrium_loss=ideal)


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


def test_skip_band_is_a_share_of_any_equilibrium_loss():
    reference = skips(build_policy("skip-band", {}), 0.7 * 2, 50)
    assert skips(build_policy("skip-band", {}), 0.7 * math.log(4), 50, math.log(4)) == reference
    halved = build_policy("skip-band", {"equilibrium_loss": 1.0})
    assert skips(halved, 0.7, 50) == reference
    assert skips(build_policy("skip-band", {"seed": 1}), 1.4, 50) != reference


def test_skip_band_goes_on_with_the_numbers_it_would_have_drawn():
    first = build_policy("skip-band", {"seed": 3})
    whole = skips(first, 1.4, 60)
    half, resumed = build_policy("skip-band", {"seed": 3}), build_policy("skip-band", {"seed": 3})
    start = skips(half, 1.4, 25)
    resumed.load_state_dict(half.state_dict())
    assert start + skips(resumed, 1.4, 35) == whole


def test_skip_band_gives_its_reason_or_says_once_why_it_cannot_act():
    policy = build_policy("skip-band", {})
    skipped = policy.observe(with_loss(0.4))
    assert skipped.d_steps == 0
    assert "its loss 0.4 is 0.20 of that at equilibrium" in skipped.reason
    assert "not finite" in policy.observe(with_loss(math.nan)).reason
    for ideal, problem in ((None, "unknown"), (0.0, "which is 0")):
        assert problem in policy.observe(with_loss(0.1, ideal)).reason
        assert policy.observe(with_loss(0.1, ideal)) == NO_ACTION


@given(st.lists(st.tuples(shares, shares), min_size=1, max_size=60), st.floats(0.1, 0.9))
@settings(max_examples=50, deadline=None)
def test_win_rate_takes_turns_as_the_source_does(history, target):
    policy = build_policy("win-rate", {"target": target})
    success = target
    for real, fake in history:
        action = policy.observe(replace(SIGNALS, d_accuracy_real=real, d_accuracy_fake=fake))
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


def test_win_rate_counts_only_the_fakes_while_g_trains():
    policy = build_policy("win-rate", {})
    shown = replace(SIGNALS, d_accuracy_real=0.0, d_accuracy_fake=1.0)
    # Success goes 0.8, 0.81, ...: up, though D is wrong on every real image.
    assert [policy.observe(shown).g_steps for _ in range(3)] == [1, 1, 1]
    assert policy.state_dict()["success"] == pytest.approx(1 - 0.2 * 0.95**3)


def test_win_rate_gives_the_turn_back():
    """Neither network can be locked out: a beaten D trains until it wins, and the reverse."""
    policy = build_policy("win-rate", {})
    beaten = replace(SIGNALS, d_accuracy_real=0.5, d_accuracy_fake=0.5)
    winning = replace(SIGNALS, d_accuracy_real=1.0, d_accuracy_fake=1.0)
    first = policy.observe(beaten)
    assert (first.d_steps, first.g_steps) == (0, 1)
    assert "G trains" in first.reason
    assert all(policy.observe(beaten).g_steps == 0 for _ in range(50))
    turns = [policy.observe(winning).d_steps for _ in range(50)]
    assert turns[0] == 1
    assert turns[-1] == 0
