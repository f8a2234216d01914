"""`ttur`, `accuracy-band` and `gap-lr`: formulas by hand, and loops closed over a small plant."""

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.balance.policies import build_policy
from counterpoise.records import NO_ACTION
from helpers import SIGNALS

LN4 = math.log(4)


def accurate(accuracy, step=1):
    return replace(SIGNALS, step=step, d_accuracy_real=accuracy, d_accuracy_fake=accuracy)


def with_loss(loss, ideal=LN4):
    return replace(
        SIGNALS, d_loss_real=loss / 4, d_loss_fake=loss * 3 / 4, d_equilibrium_loss=ideal
    )


def test_ttur():
    action = build_policy("ttur", {"g_learning_rate_scale": 0.5}).observe(SIGNALS)
    assert (action.d_learning_rate_scale, action.g_learning_rate_scale) == (4, 0.5)
    assert "4 (D) and 0.5 (G)" in action.reason


# -- accuracy-band -----------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
@settings(max_examples=40, deadline=None)
def test_accuracy_band_formula(accuracies):
    policy = build_policy("accuracy-band", {"max_scale": 3.0, "decay": 0.5})
    log_scale, weighted, total = 0.0, 0.0, 0.0
    for accuracy in accuracies:
        weighted, total = 0.5 * weighted + accuracy, 0.5 * total + 1
        error = 0.75 - weighted / total
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


def test_accuracy_band_says_what_it_does():
    policy = build_policy("accuracy-band", {"decay": 0})
    assert "0.95 is outside 0.75 +- 0.1: its learning rate is 0.99 times" in (
        policy.observe(accurate(0.95)).reason
    )
    inside = policy.observe(accurate(0.8))
    assert "0.80 is inside" in inside.reason
    held = policy.observe(accurate(math.nan))
    assert held.d_learning_rate_scale == inside.d_learning_rate_scale
    assert "held: D's accuracy is not finite" in held.reason


def test_accuracy_band_does_not_move_on_a_broken_step():
    policy = build_policy("accuracy-band", {})
    before = policy.observe(accurate(1.0))
    held = policy.observe(accurate(math.inf))
    assert before.d_learning_rate_scale < 1
    assert held.d_learning_rate_scale == before.d_learning_rate_scale


class Plant:
    """D's lead over G: its updates raise it, G's lower it, and it decays by itself."""

    def __init__(self, d_strength, g_strength=0.02, seed=0):
        self.d_strength, self.g_strength = d_strength, g_strength
        self.lead = 0.0
        self.random = random.Random(seed)  # noqa: S311

    def accuracy(self):
        noise = self.random.gauss(0, 0.05)
        return min(max(0.5 + 0.5 * math.tanh(self.lead) + noise, 0), 1)

    def step(self, scale):
        self.lead += self.d_strength * scale - self.g_strength - 0.01 * self.lead


@pytest.mark.parametrize(("d_strength", "options"), [(0.06, {}), (0.015, {"max_scale": 8.0})])
def test_accuracy_band_brings_the_plant_into_its_band(d_strength, options):
    """Too strong a D (accuracy 0.999 if left alone) and, where it may, too weak a D (0.5)."""
    policy, plant = build_policy("accuracy-band", options), Plant(d_strength)
    true_accuracies, scales = [], []
    for step in range(2000):
        action = policy.observe(accurate(plant.accuracy(), step))
        plant.step(action.d_learning_rate_scale)
        true_accuracies.append(0.5 + 0.5 * math.tanh(plant.lead))
        scales.append(action.d_learning_rate_scale)
    late = true_accuracies[1000:]
    assert sum(0.65 <= a <= 0.85 for a in late) >= 0.9 * len(late)
    assert 0.1 < min(scales[1000:]) <= max(scales[1000:]) < 8

    alone = Plant(d_strength)
    for _ in range(2000):
        alone.step(1.0)
    assert not 0.65 <= 0.5 + 0.5 * math.tanh(alone.lead) <= 0.85


def test_accuracy_band_does_not_wind_up():
    def recovery(saturated_steps):
        policy = build_policy("accuracy-band", {})
        for _ in range(saturated_steps):
            action = policy.observe(accurate(1.0))
        assert action.d_learning_rate_scale == pytest.approx(0.1)
        return [policy.observe(accurate(0.5)).d_learning_rate_scale for _ in range(300)]

    soon, late = recovery(400), recovery(20000)
    assert late == pytest.approx(soon)
    # The smoothed accuracy falls below 0.65 after 24 steps (0.5 + 0.5 * 0.95^24); then it rises.
    assert soon[22] == pytest.approx(0.1)
    assert soon[30] > 0.1
    assert soon[-1] == 1


# -- gap-lr ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "scale"),
    [
        (LN4, 1.0),
        (1.05 * LN4, math.sqrt(2)),  # half of x_max above: 2^(1/2)
        (1.1 * LN4, 2.0),
        (5 * LN4, 2.0),
        (0.95 * LN4, math.sqrt(0.1)),  # half of x_min below: 0.1^(1/2)
        (0.9 * LN4, 0.1),
        (0.0, 0.1),
        (-1e300, 0.1),
        (1e300, 2.0),
    ],
)
def test_gap_lr_by_hand(loss, scale):
    action = build_policy("gap-lr", {"decay": 0.0}).observe(with_loss(loss))
    assert action.d_learning_rate_scale == pytest.approx(scale)


@given(
    st.lists(st.floats(0, 4), min_size=1, max_size=30),
    st.sampled_from([LN4, 0.5, 2.0]),
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


def test_gap_lr_takes_the_ideal_loss_from_its_option_first():
    policy = build_policy("gap-lr", {"equilibrium_loss": 2 * LN4, "decay": 0.0})
    assert policy.observe(with_loss(2 * LN4)) == NO_ACTION
    assert policy.observe(with_loss(LN4)).d_learning_rate_scale == pytest.approx(0.1)


def test_gap_lr_says_once_what_it_lacks():
    policy = build_policy("gap-lr", {})
    unknown = with_loss(0.1, ideal=None)
    assert "set equilibrium_loss" in policy.observe(unknown).reason
    assert policy.observe(unknown) == NO_ACTION
    wasserstein = with_loss(-3.0, ideal=0.0)
    assert "set x_min and x_max" in policy.observe(wasserstein).reason
    assert policy.observe(wasserstein) == NO_ACTION


def test_gap_lr_on_wasserstein_with_its_own_widths():
    policy = build_policy("gap-lr", {"x_min": 2.0, "x_max": 4.0, "decay": 0.0})
    below = policy.observe(with_loss(-1.0, ideal=0.0))
    assert below.d_learning_rate_scale == pytest.approx(0.1**0.5)
    assert "below its ideal 0" in below.reason
    above = policy.observe(with_loss(4.0, ideal=0.0))
    assert above.d_learning_rate_scale == pytest.approx(2)


def test_gap_lr_brings_the_plant_to_where_its_function_meets_the_need():
    """D's loss falls with D's updates and rises with G's; left alone, D wins."""

    def run(policy):
        loss, scale = LN4, 1.0
        noise = random.Random(1)  # noqa: S311
        history = []
        for _ in range(4000):
            if policy is not None:
                shown = with_loss(max(loss + noise.gauss(0, 0.1), 0))
                scale = policy.observe(shown).d_learning_rate_scale
            # G alone takes the loss to 1.5; with D at its full rate it goes to 0.14.
            loss += 0.001 * (1.5 - loss) - 0.00136 * scale
            history.append(loss)
        return history[2000:]

    alone, controlled = run(None), run(build_policy("gap-lr", {}))
    assert alone[-1] < 0.2
    # The scale that the plant needs for a loss l is (1.5 - l) / 1.36; h gives it at gap x with
    # 0.1^(x / 0.1 ln 4) = (1.5 - ln 4 + x) / 1.36: by bisection.
    low, high = 0.0, 0.1 * LN4
    for _ in range(60):
        x = (low + high) / 2
        wants_more = 0.1 ** (x / (0.1 * LN4)) > (1.5 - LN4 + x) / 1.36
        low, high = (x, high) if wants_more else (low, x)
    assert sum(controlled) / len(controlled) == pytest.approx(LN4 - low, abs=0.02)
    assert all(0.9 * LN4 < loss < 1.1 * LN4 for loss in controlled)


def test_gap_lr_does_not_wind_up():
    def recovery(saturated_steps):
        policy = build_policy("gap-lr", {})
        for _ in range(saturated_steps):
            policy.observe(with_loss(0.0))
        return [policy.observe(with_loss(LN4)).d_learning_rate_scale for _ in range(120)]

    soon, late = recovery(500), recovery(20000)
    assert late == pytest.approx(soon, rel=1e-6)
    # The gap is L* 0.95^n: under a tenth of L* after 45 steps, whatever came before.
    assert soon[43] == pytest.approx(0.1)
    assert soon[45] > 0.1
    assert soon[-1] > 0.9


def test_gap_lr_holds_where_the_loss_is_not_finite():
    policy = build_policy("gap-lr", {})
    before = policy.observe(with_loss(0.0))
    held = policy.observe(with_loss(math.nan))
    assert held.d_learning_rate_scale == before.d_learning_rate_scale
    assert "held: D's loss is not finite" in held.reason
