"""What `auto` asks for where D is steep, or stays near chance."""

import dataclasses
import math

import pytest

from counterpoise.balance.auto import AutoPolicy
from counterpoise.balance.auto_parts import SteepDiscriminator
from counterpoise.records import Readings
from helpers import SIGNALS

PATIENCE_STEPS = SteepDiscriminator.PATIENCE_STEPS
MAY = {"may_smooth": True, "may_repeat": True}


def observed(*rankings, r1=0.1, most_d_steps=2, **may):
    steep = SteepDiscriminator(r1, most_d_steps)
    reasons = [steep.observe(ranking, **(MAY | may)) for ranking in rankings]
    return steep, reasons[-1]


def test_a_d_that_leads_is_smoothed_and_trained_more_until_g_follows():
    steep = SteepDiscriminator(0.1, 3)
    asked = []
    for ranking in (0.85, 0.92, 0.85, 0.79, 0.85):
        reason = steep.observe(ranking, **MAY)
        asked.append((steep.r1_weight, steep.d_steps, bool(reason)))
    smoothed = (0.1, 3, True)
    assert asked == [(0.0, 1, False), smoothed, smoothed, (0.0, 1, False), (0.0, 1, False)]


def test_a_d_that_is_all_but_certain_is_not_trained_more():
    steep, reason = observed(0.97)
    assert (steep.r1_weight, steep.d_steps) == (0.1, 1)
    assert reason == "D ranks 0.97 of the pairs rightly: R1 with a gamma of 0.1"


def test_a_d_that_stays_near_chance_is_trained_more_and_a_young_one_is_not():
    young, _ = observed(*[0.55] * PATIENCE_STEPS)
    assert young.d_steps == 1
    weak, reason = observed(*[0.55] * (PATIENCE_STEPS + 1))
    assert (weak.r1_weight, weak.d_steps) == (0.0, 2)
    assert reason == "D ranks 0.55 of the pairs rightly: 2 steps of D"
    # One good step is no recovery; as many as the bad ones are.
    wavering, _ = observed(*[0.55] * (PATIENCE_STEPS + 2), 0.8, 0.55)
    assert wavering.d_steps == 2
    recovered, _ = observed(*[0.55] * 500, *[0.8] * 2 * PATIENCE_STEPS, 0.55)
    assert recovered.d_steps == 1


@pytest.mark.parametrize(
    ("rankings", "options", "asked"),
    [
        ([0.92], {"may_repeat": False}, (0.1, 1)),
        ([0.55] * 200, {"may_repeat": False}, (0.0, 1)),
        # Without R1 a D that leads is not trained more.
        ([0.92], {"r1": 0.0}, (0.0, 1)),
        ([0.92], {"may_smooth": False}, (0.0, 1)),
        # The ranking is not known yet.
        ([0.92, None], {}, (0.0, 1)),
    ],
)
def test_nothing_is_asked_for_that_may_not_be(rankings, options, asked):
    steep, reason = observed(*rankings, **options)
    assert (steep.r1_weight, steep.d_steps) == asked
    assert bool(reason) == (asked != (0.0, 1))


def test_a_run_of_before_it_goes_on():
    state = AutoPolicy().state_dict()
    del state["steep"]
    policy = AutoPolicy()
    policy.load_state_dict(state)
    assert policy.state_dict() == AutoPolicy().state_dict()


def signals(auc, accuracy, loss=1.2, **readings):
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


def test_auto_asks_for_r1_and_says_why():
    policy = AutoPolicy(r1=0.5)
    alone = {"g_gradient_adversarial": 1.0, "g_gradient_content": 0.0}
    actions = [policy.observe(signals(0.93, 0.8, **alone)) for _ in range(30)]
    assert (actions[0].r1_weight, actions[0].d_steps) == (0.0, 1)
    assert (actions[-1].r1_weight, actions[-1].d_steps) == (0.5, 2)
    assert "D ranks 0.93 of the pairs rightly: R1 with a gamma of 0.5" in actions[-1].reason


@pytest.mark.parametrize(("content", "d_steps"), [(0.0, 2), (1e-4, 2), (0.5, 1)])
def test_auto_tells_by_the_gradients_whether_g_learns_from_d_alone(content, d_steps):
    policy = AutoPolicy()
    gradients = {"g_gradient_adversarial": 1.0, "g_gradient_content": content}
    actions = [policy.observe(signals(0.93, 0.8, **gradients)) for _ in range(30)]
    assert actions[-1].d_steps == d_steps
    # What is not known is not taken for granted.
    assert AutoPolicy().observe(signals(0.93, 0.8)).d_steps == 1


def test_auto_leaves_r1_where_it_cannot_be_had():
    cannot = dataclasses.replace(signals(0.97, 0.8), d_takes_r1=False)
    policy = AutoPolicy()
    actions = [policy.observe(cannot) for _ in range(300)]
    assert {(a.r1_weight, a.d_steps, a.d_learning_rate_scale) for a in actions} == {(0, 1, 1)}


def test_auto_leaves_a_d_alone_that_a_g_ran_away_from():
    policy = AutoPolicy()
    policy._fast._log_scale = math.log(0.2)
    actions = [policy.observe(signals(0.93, 0.8)) for _ in range(30)]
    assert {action.r1_weight for action in actions} == {0.0}
    policy._fast._log_scale = math.log(0.5)
    assert policy.observe(signals(0.93, 0.8)).r1_weight > 0


def test_auto_slows_a_d_that_ranks_nearly_all_pairs_rightly_though_it_is_in_the_band():
    slowed, left = AutoPolicy(), AutoPolicy()
    for _ in range(300):
        of_slowed = slowed.observe(signals(0.99, 0.8))
        of_left = left.observe(signals(0.94, 0.8))
    assert of_slowed.d_learning_rate_scale < 0.5
    assert of_left.d_learning_rate_scale == 1


def test_auto_gives_up_both_where_it_goes_back():
    policy = AutoPolicy()
    for _ in range(200):
        policy.observe(signals(0.91, 0.75))
    gone_back = policy.observe(signals(0.91, 0.75, loss=math.nan))
    assert gone_back.roll_back
    assert (gone_back.r1_weight, gone_back.d_steps) == (0.0, 1)
