"""What every registered policy promises: its options, its actions, and its saved state."""

import json
import math
from copy import deepcopy
from dataclasses import fields, replace
from typing import get_args

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
from counterpoise.balance.policy import Needs
from counterpoise.balance.smoothing import NO_AVERAGE, averaged, blend
from counterpoise.config_file import load_config
from counterpoise.errors import UserError
from counterpoise.records import NO_ACTION, Readings, Signals
from helpers import SIGNALS

SCALES = ("d_learning_rate_scale", "g_learning_rate_scale", "adversarial_weight_scale")
numbers = st.one_of(st.floats(0, 1), st.floats(-30, 30), st.floats())
readings = st.builds(Readings, **{f.name: st.one_of(st.none(), numbers) for f in fields(Readings)})
signals = st.builds(
    Signals,
    step=st.just(0),
    **{
        f.name: numbers
        for f in fields(Signals)
        if f.name not in ("step", "auc", "d_equilibrium_loss", "readings")
    },
    auc=st.one_of(st.none(), numbers),
    d_equilibrium_loss=st.sampled_from([None, math.log(4), 0.5, 2.0, 0.0, math.nan]),
    readings=st.one_of(st.just(Readings()), readings),
)
histories = st.lists(signals, min_size=1, max_size=8).map(
    lambda history: [replace(s, step=7 + i) for i, s in enumerate(history)]
)

# Each history is shown to every policy: making one up takes longer than they do.


@given(history=histories)
def test_actions_can_be_carried_out_and_say_why(history):
    for name in POLICIES:
        policy = build_policy(name, {})
        for shown in history:
            before = repr(shown)
            action = policy.observe(shown)
            assert repr(shown) == before, name
            for scale in SCALES:
                assert 0 < getattr(action, scale) < math.inf, name
            assert action.d_steps >= 0, name
            assert action.g_steps >= 0, name
            assert 0 <= action.augment_probability <= 1, name
            assert 0 <= action.noise_std < math.inf, name
            assert 0 <= action.lecam_weight < math.inf, name
            assert math.isfinite(action.lecam_real_anchor), name
            assert math.isfinite(action.lecam_fake_anchor), name
            assert action.reason or action == NO_ACTION, name
            json.dumps(action.changes(), allow_nan=False)


@given(history=histories, cut=st.integers(0, 8))
def test_a_policy_goes_on_from_its_saved_state_exactly(history, cut):
    for name in POLICIES:
        policy, resumed = build_policy(name, {}), build_policy(name, {})
        for shown in history[:cut]:
            policy.observe(shown)
        saved = policy.state_dict()
        written = json.dumps(saved, allow_nan=False)
        resumed.load_state_dict(json.loads(written))
        rest = history[cut:] or history
        assert [resumed.observe(s) for s in rest] == [policy.observe(s) for s in rest], name
        # A saved state is a copy: it does not follow the policy.
        assert json.dumps(saved, allow_nan=False) == written, name


@given(history=histories)
def test_a_step_without_a_finite_number_leaves_no_trace(history):
    """Broken numbers may be reported, but the actions after them are as if they had not been."""
    broken = {f.name: math.nan for f in fields(Signals) if f.name not in ("step", "readings")}
    lost = {f.name: math.nan for f in fields(Readings)}
    # `auto` watches over the training: for it a step of NaN is a sign of divergence, to act upon.
    for name in set(POLICIES) - {"auto"}:
        policy = build_policy(name, {})
        for shown in history:
            policy.observe(shown)
        undisturbed = build_policy(name, {})
        undisturbed.load_state_dict(deepcopy(policy.state_dict()))
        policy.observe(Signals(step=history[-1].step, **broken, readings=Readings(**lost)))
        shown = replace(history[-1], step=history[-1].step + 1)
        answers = [each.observe(shown) for each in (policy, undisturbed)]
        assert replace(answers[0], reason="") == replace(answers[1], reason=""), name


@pytest.mark.parametrize("name", POLICIES)
def test_defaults_build_and_are_documented(name):
    assert policy_problems(name, policy_options(POLICIES[name])) == []
    assert POLICIES[name].__doc__
    assert POLICIES[name].needs in get_args(Needs)


@pytest.mark.parametrize("name", [n for n in POLICIES if POLICIES[n].needs == "nothing"])
def test_what_needs_no_numbers_acts_alike_whatever_they_are(name):
    shown, blind = build_policy(name, {}), build_policy(name, {})
    assert shown.needs == "nothing"
    nan = {f.name: math.nan for f in fields(Signals) if f.name not in ("step", "readings")}
    for step in range(1, 5):
        assert shown.observe(replace(SIGNALS, step=step)) == blind.observe(Signals(step, **nan))


@pytest.mark.parametrize(
    ("name", "options", "path"),
    [
        ("no-such", {}, "policy"),
        ("none", {"a": 1}, "options.a"),
        ("ratio", {"k": 1}, "options.k"),
        *[("ratio", {"d_steps": wrong}, "options.d_steps") for wrong in (0, 1.5, True, "1")],
        ("threshold", {"measure": "mood"}, "options.measure"),
        ("ttur", {"g_learning_rate_scale": math.inf}, "options.g_learning_rate_scale"),
        ("accuracy-band", {"min_scale": 2.0}, "options.min_scale"),
        ("accuracy-band", {"decay": 1.0}, "options.decay"),
        ("ada", {"target": 1.0}, "options.target"),
        ("gap-lr", {"decay": math.nan}, "options.decay"),
        ("skip-band", {"lower": 0.9, "upper": 0.9}, "options"),
        ("auto", {"low": 0.8}, "options.low"),
        ("auto", {"r1": -1.0}, "options.r1"),
    ],
)
def test_a_bad_option_is_one_problem_at_its_path(name, options, path):
    (problem,) = policy_problems(name, options)
    assert problem.path == f"balance.{path}"
    assert "\n" not in problem.message
    with pytest.raises(UserError, match=f"balance.{path}"):
        build_policy(name, options)


@pytest.mark.parametrize(
    ("preset", "settings", "paths"),
    [
        ("enet-e", ["balance.policy=threshold"], ["balance.policy"]),  # nothing to balance
        ("demo", ["balance.policy=gradient-balance", "sensors.every=0"], ["sensors.every"]),
        ("demo", ["balance.policy=gradient-balance"], []),
    ],
)
def test_a_policy_that_could_do_nothing_is_a_problem(preset, settings, paths):
    assert [each.path for each in check_balance(load_config(preset, settings))] == paths


# Saved states.

STATES = {name: build_policy(name, {}).state_dict() for name in POLICIES}
WITH_MEMORY = [name for name, state in STATES.items() if state]


def test_what_remembers_nothing_takes_any_state():
    build_policy("none", {}).load_state_dict(STATES["auto"])


@pytest.mark.parametrize("name", WITH_MEMORY)
def test_a_value_that_is_missing_is_refused(name):
    # What an `auto` of before had no need to remember.
    for key in STATES[name].keys() - {"r1_divided", "d_tells", "read"}:
        state = {k: v for k, v in STATES[name].items() if k != key}
        with pytest.raises(UserError, match=f"'{key}' is missing"):
            build_policy(name, {}).load_state_dict(state)


# Averages.

decays = st.floats(0, 0.999)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30), decays)
def test_average_is_the_normalised_weighted_sum(values, decay):
    average = NO_AVERAGE
    for value in values:
        average = averaged(average, value, decay)
    weights = [decay ** (len(values) - 1 - i) for i in range(len(values))]
    expected = sum(w * x for w, x in zip(weights, values, strict=True)) / sum(weights)
    assert average[0] == pytest.approx(expected, rel=1e-6, abs=1e-6)


@given(st.lists(st.floats(), max_size=20), decays)
def test_average_stays_within_the_finite_values_that_it_saw(values, decay):
    average = NO_AVERAGE
    for value in values:
        average = averaged(average, value, decay)
    seen = [value for value in values if math.isfinite(value)]
    assert average[1] == len(seen)
    assert average[0] is None if not seen else min(seen) <= average[0] <= max(seen)


def test_a_blend_never_leaves_its_two_numbers():
    assert blend(1.0, 3.0, 0.75) == 1.5
    assert blend(0.3, 0.3, 0.1) == 0.3
