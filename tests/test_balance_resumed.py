"""A loop that goes on from a saved state, in the same folder."""

import copy
import json

import pytest
import yaml

from counterpoise.errors import UserError
from counterpoise.json_lines import read_json_lines
from loop_helpers import Loop, same


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (
            {"policy": {"previous": None}},
            "the state of policy 'accuracy-band' is that of policy 'threshold'",
        ),
        ({"policy": {}}, "'said' is missing"),
        ({"policy": 3}, "the state of policy 'accuracy-band' cannot be 3"),
        ({"step": -1}, "'step' must be"),
        ({"action": {"foo": 1}}, "'foo' has no place"),
        ({"readings": []}, "'readings' cannot be"),
        ({"objective": {"name": 3, "probabilities": True}}, "'objective' cannot be"),
        ({"objective": {}}, "'objective' cannot be"),
    ],
)
def test_another_state_is_refused_in_one_line_and_changes_nothing(tmp_path, change, what):
    loop = Loop()
    balance = loop.balance(run_dir=tmp_path / "run", policy="accuracy-band")
    loop.run(balance, 2, seed=1)
    state = balance.state_dict()
    before = json.dumps(state)
    with pytest.raises(UserError, match=f"Balance.load_state_dict: .*{what}.*; give what this"):
        balance.load_state_dict(state | change)
    with pytest.raises(UserError, match="'step' is missing"):
        balance.load_state_dict({})
    assert json.dumps(balance.state_dict()) == before
    balance.close()


def test_a_policy_without_a_memory_takes_the_state_of_any(tmp_path):
    with Loop().balance(policy="auto") as balance:
        state = balance.state_dict()
    with Loop().balance(policy="none") as balance:
        balance.load_state_dict(state)


def test_resume_goes_on_in_the_same_folder(tmp_path):
    whole = Loop()
    options = {"policy": "accuracy-band", "sensors_every": 3}
    balance = whole.balance(run_dir=tmp_path / "whole", **options)
    whole.run(balance, 4, seed=1)
    whole.run(balance, 4, seed=2)
    balance.close()

    first = Loop()
    balance = first.balance(run_dir=tmp_path / "parts", **options)
    first.run(balance, 4, seed=1)
    saved = copy.deepcopy(
        [first.g.state_dict(), first.d.state_dict(), first.g_optimizer.state_dict(),
         first.d_optimizer.state_dict()]
    )  # fmt: skip
    state = json.loads(json.dumps(balance.state_dict()))
    first.run(balance, 2, seed=7)  # lost with the crash
    balance.close()

    second = Loop()
    for part, values in zip(
        (second.g, second.d, second.g_optimizer, second.d_optimizer), saved, strict=True
    ):
        part.load_state_dict(values)
    balance = second.balance(run_dir=tmp_path / "parts", **options)
    with pytest.raises(UserError, match="load_state_dict"):
        balance.d_step()
    balance.load_state_dict(state)
    second.run(balance, 4, seed=2)
    balance.close()
    assert same(whole.state(), second.state())
    one, other = (
        read_json_lines(tmp_path / name / "signals.jsonl")[0] for name in ("whole", "parts")
    )
    assert [row["step"] for row in other] == list(range(1, 9))
    for a, b in zip(one, other, strict=True):
        a.pop("seconds"), b.pop("seconds")
        # What a gradient is compared with is forgotten with the process.
        for name in ("g_gradient_cosine", "d_gradient_cosine"):
            a.pop(name, None), b.pop(name, None)
        assert a == b


def test_a_loop_that_goes_on_with_other_options_says_so_in_its_configuration(tmp_path):
    loop = Loop()
    first = loop.balance("auto", policy_options={"decay": 0.8}, run_dir=tmp_path / "run")
    loop.run(first, 2)
    state = first.state_dict()
    first.close()
    second = loop.balance("auto", policy_options={"decay": 0.7}, run_dir=tmp_path / "run")
    second.load_state_dict(state)
    loop.run(second, 1)
    second.close()
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["balance"]["options"]["decay"] == 0.7
    assert config["loss"]["adversarial"]["form"] == "non-saturating"
