"""Saved states of policies: every policy refuses what is not its own, in words."""

import json
from dataclasses import dataclass, field

import pytest

from counterpoise.balance.policies import POLICIES, build_policy, take_up
from counterpoise.balance.saved import NotThisStateError, is_kind
from counterpoise.balance.stateful import Stateful
from counterpoise.errors import UserError

STATES = {name: build_policy(name, {}).state_dict() for name in POLICIES}
WITH_MEMORY = [name for name, state in STATES.items() if state]


@pytest.mark.parametrize("name", WITH_MEMORY)
@pytest.mark.parametrize("other", WITH_MEMORY)
def test_only_its_own_state_is_taken_up(name, other):
    policy, state = build_policy(name, {}), json.loads(json.dumps(STATES[other]))
    if STATES[name].keys() == STATES[other].keys():
        take_up(policy, name, state)
        return
    with pytest.raises(UserError, match=f"the state of policy '{name}' is that of .*'{other}'"):
        take_up(policy, name, state)


@pytest.mark.parametrize("name", WITH_MEMORY)
def test_an_entry_that_is_missing_or_of_another_kind(name):
    for key in STATES[name]:
        state = {k: v for k, v in STATES[name].items() if k != key}
        if not (name == "auto" and key == "steep"):  # earlier versions have none
            with pytest.raises(UserError, match=f"'{name}' is broken .*'{key}' is missing"):
                take_up(build_policy(name, {}), name, state)
        for value in ("x", {}, [object()]):
            if key == "said" and isinstance(value, list):
                continue
            with pytest.raises(UserError, match=f"the state of policy '{name}' is broken"):
                take_up(build_policy(name, {}), name, state | {key: value})


@dataclass
class Mine(Stateful):
    """A policy of somebody's, with memories of other types than ours have."""

    _pair: tuple[float, ...] = field(default=(0.0,), init=False)
    _word: str | None = field(default=None, init=False)
    _words: list[str] | None = field(default=None, init=False)


def test_memories_of_any_plain_type_go_on():
    policy, resumed = Mine(), Mine()
    policy._pair, policy._word, policy._words = (1.0, 2.0), "a", ["b"]
    resumed.load_state_dict(json.loads(json.dumps(policy.state_dict())))
    assert (resumed._pair, resumed._word, resumed._words) == ([1.0, 2.0], "a", ["b"])
    with pytest.raises(NotThisStateError, match="'word' cannot be 3"):
        resumed.load_state_dict(policy.state_dict() | {"word": 3})


def test_kinds():
    assert is_kind(1, float)
    assert is_kind(1, float | None)
    assert is_kind(None, float | None)
    assert is_kind(True, bool)
    assert is_kind(True, object)
    assert not is_kind(True, int)
    assert not is_kind(True, float | None)
    assert not is_kind(1, bool)
    assert not is_kind(1.5, int)
    assert not is_kind(None, float)
