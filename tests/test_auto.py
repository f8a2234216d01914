"""`auto` against sequences of signals whose nature is known."""

import dataclasses
import json
import math

import numpy as np
import pytest

from counterpoise.balance.auto import TRIAL_TURNS, AutoPolicy
from counterpoise.records import Readings
from helpers import SIGNALS


def share(adversarial, content):
    return Readings(g_gradient_adversarial=adversarial, g_gradient_content=content)


ALONE, CONTENT = share(1.0, 0.0), share(1.0, 1.0)
UNTOLD = {"reason", "keep_snapshot"}
DICE = np.random.default_rng(0)


def new(readings):
    """Readings that are not those of the turn before."""
    return dataclasses.replace(readings, g_gradient_norm=DICE.random())


def turns(auc, count, noise=0.03, seed=0, readings=ALONE, **values):
    """Signals of a D with this AUC, on small batches."""
    draws = np.random.default_rng(seed).normal(auc, noise, count).clip(0, 1)
    known = {"d_equilibrium_loss": math.log(4)} | values
    return [
        dataclasses.replace(SIGNALS, auc=float(each), **known, readings=new(readings))
        for each in draws
    ]


def seen(*parts, policy=None):
    """What the policy answers to sequences of signals, one after the other."""
    policy = policy or AutoPolicy()
    return [policy.observe(signals) for part in parts for signals in part]


def changes(actions):
    return set().union(*(action.changes().keys() for action in actions)) - UNTOLD


def gammas(actions):
    """R1's weights where it was asked for."""
    return [action.r1_weight for action in actions if action.r1_weight]


def test_a_game_in_balance_gets_r1_and_is_left_alone():
    policy = AutoPolicy()
    actions = seen(turns(0.8, 1000, readings=CONTENT), policy=policy)
    assert changes(actions) == {"r1_weight"}
    # A part of the turns computes it, for all.
    assert gammas(actions) == [policy.r1 * policy.r1_every_turns] * (1000 // policy.r1_every_turns)
    assert "gamma" in actions[-1].reason
    assert "nothing was changed since turn 0" in actions[-1].reason
    assert sum(action.keep_snapshot for action in actions) >= 4


def test_r1_lets_a_d_learn_that_it_holds_at_chance():
    policy = AutoPolicy()
    asked = gammas(seen(turns(0.5, 300, readings=CONTENT), policy=policy))
    most = policy.r1 * policy.r1_every_turns
    # Not on one reading, then by and by, then not at all.
    assert asked[:20] == [most] * 20
    assert sorted(asked, reverse=True) == asked
    assert len(set(asked)) > 3
    assert policy.observe(turns(0.5, 1)[0]).r1_weight == 0.0
    # A D that came to lead without it bears it.
    assert gammas(seen(turns(0.97, 200, readings=CONTENT), policy=policy))[-1] == most


def test_r1_stays_where_d_is_fooled_later():
    policy = AutoPolicy()
    actions = seen(turns(0.75, 100, readings=CONTENT), turns(0.5, 300, readings=CONTENT))
    assert set(gammas(actions)) == {policy.r1 * policy.r1_every_turns}


def test_a_newborn_d_is_left_alone_whatever_g_does():
    """What strangled the first training at real size: a D at chance beside a G that was trained
    before, and gradients of D that point the same way step after step."""
    alike = Readings(d_gradient_cosine=0.99, g_gradient_content=1.0, high_frequency_ratio=0.4)
    actions = seen(turns(0.5, 500, noise=0.1, readings=alike))
    assert changes(actions) == {"r1_weight"}


def test_one_reading_is_no_reason():
    calm = turns(0.8, 300, readings=CONTENT)
    for place in range(0, 300, 20):
        calm[place] = dataclasses.replace(
            calm[place],
            auc=1.0,
            d_loss_real=math.nan if place % 40 else 1e6,
            readings=Readings(diversity_ratio=0.0),
        )
    assert changes(seen(calm)) == {"r1_weight", "is_unsafe"}


@pytest.mark.parametrize(
    ("values", "asked"),
    [
        ({}, {"r1_weight", "d_steps"}),
        # With a loss of its own G is not told more by a D that is trained more.
        ({"readings": CONTENT}, {"r1_weight"}),
        ({"readings": Readings()}, {"r1_weight"}),
        # Beside a loss that is meant to lead, a small share is no fault.
        ({"readings": share(3.0, 97.0)}, {"r1_weight"}),
        ({"readings": share(0.1, 99.0)}, {"r1_weight", "adversarial_weight_scale"}),
        # Of several Ds, G hears another.
        (
            {
                "readings": Readings(g_gradient_adversarial=0.1, g_gradient_content=99.0),
                "discriminators": 3,
            },
            {"r1_weight"},
        ),
        ({"d_takes_r1": False}, {"d_steps"}),
        # Logits of an unknown scale.
        ({"d_equilibrium_loss": 0.0, "readings": CONTENT}, set()),
    ],
)
def test_what_a_leading_d_gets(values, asked):
    assert changes(seen(turns(0.7, 100, **values), turns(0.92, 300, **values))) == asked


def test_a_reading_that_stands_for_many_turns_is_one():
    policy = AutoPolicy()
    stale = dataclasses.replace(ALONE, diversity_ratio=0.2)
    signals = [dataclasses.replace(each, readings=stale) for each in turns(0.5, 400)]
    assert changes(seen(signals, policy=policy)) == {"r1_weight"}


def test_a_drowned_d_is_raised_to_a_tenth_and_comes_back():
    """Whether the policy's factor is in what is read or not."""

    def weights(policy, auc, count):
        scale, scales = 1.0, []
        for signals in turns(auc, count):
            readings = Readings(
                g_gradient_adversarial=0.001 * scale,
                g_gradient_content=1.0,
                g_adversarial_scale=scale,
            )
            action = policy.observe(dataclasses.replace(signals, readings=new(readings)))
            scale = action.adversarial_weight_scale
            scales.append(scale)
        return scales

    policy = AutoPolicy()
    raised = weights(policy, 0.7, 100) + weights(policy, 0.97, 1000)
    assert raised == sorted(raised)
    share = 0.001 * raised[-1] / (1 + 0.001 * raised[-1])
    assert 0.1 < share < 0.2
    assert weights(policy, 0.6, 600)[-1] == 1


def fooled(count, diversity=0.2):
    return turns(0.5, count, readings=dataclasses.replace(ALONE, diversity_ratio=diversity))


def test_g_is_slowed_for_a_trial_and_the_trials_become_rare():
    actions = seen(turns(0.8, 100), fooled(6000))
    scales = [action.g_learning_rate_scale for action in actions]
    assert set(scales) == {0.25, 1.0}
    slowed = [len(run) for run in "".join("x" if s < 1 else " " for s in scales).split()]
    assert set(slowed) == {TRIAL_TURNS}
    assert sum(slowed) < 6000 / 10
    assert changes(actions) == {"g_learning_rate_scale", "d_steps", "r1_weight"}


def test_a_trial_that_helps_is_kept_until_d_follows():
    """While G is slow its outputs differ more; at its own rate they are alike again."""
    policy = AutoPolicy()
    seen(turns(0.8, 100), policy=policy)
    scale, scales = 1.0, []
    for step in range(2000):
        diversity = 0.5 + 0.01 * math.sin(step) if scale < 1 else 0.2
        (signals,) = fooled(1, diversity)
        scale = policy.observe(signals).g_learning_rate_scale
        scales.append(scale)
    assert np.mean(scales) < 0.5
    followed = seen(turns(0.85, 2 * TRIAL_TURNS), policy=policy)
    assert followed[-1].g_learning_rate_scale == 1


@pytest.mark.parametrize("broken", [{"d_loss_real": math.nan}, {"d_loss_fake": 500.0}])
def test_what_explodes_goes_back_a_bounded_number_of_times(broken):
    policy = AutoPolicy()
    bad = turns(0.8, 20, **broken)
    # There is no state to go back to yet.
    assert not any(action.roll_back for action in seen(turns(0.8, 40), bad[:9], policy=policy))
    seen(turns(0.8, 300), policy=policy)
    actions = seen(bad, policy=policy)
    assert [action.roll_back for action in actions][:3] == [False, False, True]
    for _ in range(5):
        seen(turns(0.8, 100), bad, policy=policy)
    (last,) = seen(turns(0.8, 1), policy=policy)
    assert last.d_learning_rate_scale == 0.125
    assert "went back 3 times" in last.reason


@pytest.mark.parametrize("cut", [60, 155, 237, 290, 433])
def test_its_state_resumes_exactly_wherever_it_is(cut):
    signals = [*turns(0.7, 100), *turns(0.95, 100), *fooled(200), *turns(0.7, 100)]
    first, second = AutoPolicy(), AutoPolicy()
    seen(signals[:cut], policy=first)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert seen(signals[cut:], policy=first) == seen(signals[cut:], policy=second)


def test_the_state_of_the_auto_before_it_begins_anew():
    policy = AutoPolicy()
    policy.load_state_dict({"integral": 0.0, "log_scale": -3.0, "fast": {}})
    assert policy.state_dict() == AutoPolicy().state_dict()
