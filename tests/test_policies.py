import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.balance.policies import (
    POLICIES,
    build_policy,
    check_balance,
    policy_options,
    policy_problems,
)
from counterpoise.config_file import load_config
from counterpoise.errors import UserError
from counterpoise.records import NO_ACTION, Action
from helpers import SIGNALS

shares = st.floats(0, 1)


def test_none_changes_nothing():
    assert build_policy("none", {}).observe(SIGNALS) == NO_ACTION
    assert NO_ACTION.changes() == {}


def test_ratio():
    action = build_policy("ratio", {"d_steps": 5, "g_steps": 2}).observe(SIGNALS)
    reason = "5 updates of D for 2 of G"
    assert action == Action(d_steps=5, g_steps=2, reason=reason)
    assert action.changes() == {"d_steps": 5, "g_steps": 2, "reason": reason}
    assert build_policy("ratio", {}).observe(SIGNALS) == NO_ACTION


@given(st.lists(st.tuples(shares, shares), min_size=1, max_size=20), st.floats(0.05, 1))
def test_threshold_looks_at_either_half_of_the_previous_batch(history, threshold):
    policy = build_policy("threshold", {"threshold": threshold})
    trained = []
    for real, fake in history:
        signals = replace(SIGNALS, d_accuracy_real=real, d_accuracy_fake=fake)
        trained.append(policy.observe(signals).d_steps == 1)
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
    ("real", "fake", "action"),
    [
        (0.31, 0.31, (1, True, True)),
        (0.31, 0.3, (1, True, False)),
        (0.1, 0.5, (1, False, True)),
        (0.3, 0.3, (0, False, False)),
    ],
)
def test_loss_gate_takes_each_half_apart(real, fake, action):
    signals = replace(SIGNALS, d_loss_real=real, d_loss_fake=fake)
    answer = build_policy("loss-gate", {}).observe(signals)
    assert (answer.d_steps, answer.d_trains_on_real, answer.d_trains_on_fake) == action


def test_loss_gate_in_texture_mode_compares_doubled_losses():
    signals = replace(SIGNALS, d_loss_real=0.16, d_loss_fake=0.14)
    answer = build_policy("loss-gate", {"loss_multiplier": 2}).observe(signals)
    assert (answer.d_trains_on_real, answer.d_trains_on_fake) == (True, False)


@pytest.mark.parametrize("name", POLICIES)
def test_state_survives_json(name):
    first, second = build_policy(name, {}), build_policy(name, {})
    signals = replace(SIGNALS, d_accuracy_real=1.0, d_accuracy_fake=1.0)
    first.observe(signals)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert first.observe(SIGNALS) == second.observe(SIGNALS)


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_says_what_it_does_and_builds_from_its_defaults(name):
    assert POLICIES[name].__doc__
    assert policy_problems(name, policy_options(POLICIES[name])) == []


@pytest.mark.parametrize(
    ("name", "options", "path", "message"),
    [
        ("no-such", {}, "balance.policy", "unknown policy 'no-such'; known: none"),
        ("none", {"a": 1}, "balance.options.a", "it has none"),
        ("ratio", {"k": 1}, "balance.options.k", "known: d_steps, g_steps"),
        ("ratio", {"d_steps": 1.5}, "balance.options.d_steps", "expected a value of type int"),
        ("ratio", {"d_steps": True}, "balance.options.d_steps", "expected a value of type int"),
        ("ratio", {"d_steps": 0}, "balance.options", "at least 1"),
        ("threshold", {"measure": "mood"}, "balance.options", "accuracy, mean-output"),
        ("loss-gate", {"threshold": -1}, "balance.options", "at least 0"),
    ],
)
def test_bad_options(name, options, path, message):
    (problem,) = policy_problems(name, options)
    assert problem.path == path
    assert message in problem.message
    with pytest.raises(UserError):
        build_policy(name, options)


def test_a_policy_without_an_adversary_is_a_problem():
    config = load_config("enet-e", ["balance.policy=threshold"])
    assert [problem.path for problem in check_balance(config)] == ["balance.policy"]


def test_a_policy_of_readings_needs_the_sensors():
    settings = ["balance.policy=gradient-balance", "sensors.every=0"]
    assert [p.path for p in check_balance(load_config("demo", settings))] == ["sensors.every"]
    assert not check_balance(load_config("demo", settings[:1]))
