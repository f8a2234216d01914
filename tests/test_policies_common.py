"""What every registered policy promises, whatever it is shown."""

import dataclasses
import json
import math
from copy import deepcopy
from dataclasses import dataclass, field, fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.balance.policies import POLICIES, build_policy, policy_options, policy_problems
from counterpoise.records import NO_ACTION, Readings, Signals

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
each_policy = pytest.mark.parametrize("name", POLICIES)


@each_policy
@given(history=histories)
@settings(max_examples=15, deadline=None)
def test_actions_can_be_carried_out_and_say_why(name, history):
    policy = build_policy(name, {})
    for shown in history:
        before = repr(shown)
        action = policy.observe(shown)
        assert repr(shown) == before
        for scale in SCALES:
            assert math.isfinite(getattr(action, scale))
            assert getattr(action, scale) > 0
        assert action.d_steps >= 0
        assert action.g_steps >= 0
        assert 0 <= action.augment_probability <= 1
        assert 0 <= action.noise_std < math.inf
        assert 0 <= action.lecam_weight < math.inf
        assert math.isfinite(action.lecam_real_anchor)
        assert math.isfinite(action.lecam_fake_anchor)
        assert 0 <= action.label_smoothing < 1
        # Smoothed labels are on throughout, as the policy's documentation says.
        said = dataclasses.replace(action, label_smoothing=0.0)
        assert action.reason or said == NO_ACTION
        json.dumps(action.changes(), allow_nan=False)


@each_policy
@given(history=histories, cut=st.integers(0, 8))
@settings(max_examples=15, deadline=None)
def test_a_policy_goes_on_from_its_saved_state_exactly(name, history, cut):
    policy, resumed = build_policy(name, {}), build_policy(name, {})
    for shown in history[:cut]:
        policy.observe(shown)
    saved = policy.state_dict()
    written = json.dumps(saved, allow_nan=False)
    resumed.load_state_dict(json.loads(written))
    rest = history[cut:] or history
    assert [resumed.observe(s) for s in rest] == [policy.observe(s) for s in rest]
    # A saved state is a copy: it does not follow the policy.
    assert json.dumps(saved, allow_nan=False) == written


# `auto` watches over the training: for it a step of NaN is a sign of divergence, to act upon.
@pytest.mark.parametrize("name", [name for name in POLICIES if name != "auto"])
@given(history=histories)
@settings(max_examples=10, deadline=None)
def test_a_step_without_a_finite_number_leaves_no_trace(name, history):
    """Broken numbers may be reported, but the actions after them are as if they had not been."""
    policy = build_policy(name, {})
    for shown in history:
        policy.observe(shown)
    undisturbed = build_policy(name, {})
    undisturbed.load_state_dict(deepcopy(policy.state_dict()))
    broken = {f.name: math.nan for f in fields(Signals) if f.name not in ("step", "readings")}
    lost = {f.name: math.nan for f in fields(Readings)}
    policy.observe(Signals(step=history[-1].step, **broken, readings=Readings(**lost)))
    shown = replace(history[-1], step=history[-1].step + 1)
    assert _settings(policy.observe(shown)) == _settings(undisturbed.observe(shown))


def _settings(action):
    return replace(action, reason="")


@each_policy
def test_defaults_build_and_are_documented(name):
    options = policy_options(POLICIES[name])
    assert policy_problems(name, options) == []
    assert isinstance(build_policy(name, options).state_dict(), dict)
    assert POLICIES[name].__doc__


@dataclass
class _WithList:
    steps: list[int] = field(default_factory=lambda: [1, 2])
    _seen: int = field(default=0, init=False)


def test_options_show_defaults_that_a_factory_makes():
    options = policy_options(_WithList)
    assert options == {"steps": [1, 2]}
    options["steps"].append(3)
    assert policy_options(_WithList) == {"steps": [1, 2]}


BAD_OPTIONS = [
    ("ttur", {"d_learning_rate_scale": 0}, "above 0"),
    ("ttur", {"g_learning_rate_scale": math.inf}, "above 0"),
    ("accuracy-band", {"target": 1.0}, "target"),
    ("accuracy-band", {"half_width": -0.1}, "half_width"),
    ("accuracy-band", {"gain": 0}, "gain"),
    ("accuracy-band", {"min_scale": 2.0}, "min_scale"),
    ("accuracy-band", {"max_scale": 0.5}, "max_scale"),
    ("accuracy-band", {"decay": 1.0}, "decay"),
    ("ada", {"target": 1.0}, "target"),
    ("ada", {"interval_steps": 0}, "interval_steps"),
    ("ada", {"ramp_steps": 0}, "ramp_steps"),
    ("ada", {"max_probability": 1.5}, "max_probability"),
    ("gap-lr", {"equilibrium_loss": math.nan}, "equilibrium_loss"),
    ("gap-lr", {"x_min": -1}, "x_min"),
    ("gap-lr", {"x_max": math.inf}, "x_max"),
    ("gap-lr", {"h_min": 0}, "h_min"),
    ("gap-lr", {"f_max": 0.9}, "f_max"),
    ("gap-lr", {"decay": math.nan}, "decay"),
    ("skip-band", {"lower": 0.9, "upper": 0.9}, "upper above lower"),
    ("skip-band", {"equilibrium_loss": -1}, "equilibrium_loss"),
    ("win-rate", {"target": 0}, "target"),
    ("win-rate", {"decay": 1}, "decay"),
    ("gradient-balance", {"ratio": 0}, "ratio"),
    ("gradient-balance", {"min_scale": 0}, "min_scale"),
    ("gradient-balance", {"max_change": 0}, "max_change"),
    ("instance-noise", {"std": 0}, "std"),
    ("instance-noise", {"anneal_steps": 0}, "anneal_steps"),
    ("lecam", {"weight": 0}, "weight"),
    ("lecam", {"start_steps": -1}, "start_steps"),
    ("lecam", {"decay": 1.0}, "decay"),
]


@pytest.mark.parametrize(("name", "options", "message"), BAD_OPTIONS)
def test_bad_options_are_one_clear_line(name, options, message):
    (problem,) = policy_problems(name, options)
    assert problem.path == "balance.options"
    assert message in problem.message
    assert "\n" not in problem.message
