"""`cp.Balance` as a loop holds it: what it must leave alone, what it says, and how it goes on from
a saved state."""

import copy
import json
import logging
import pickle

import pytest
import torch
import yaml

from counterpoise.anyloop.journal import Journal
from counterpoise.errors import UserError
from counterpoise.records import Action
from counterpoise.run_folder import RunFolder
from loop_helpers import Loop, rows_of, same, scripted

__all__ = ["scripted"]


@pytest.fixture
def loop():
    return Loop()


@pytest.mark.filterwarnings("error")
def test_schedulers_made_before_and_after_keep_working(scripted, loop):
    before = torch.optim.lr_scheduler.StepLR(loop.d_optimizer, 1, gamma=0.1)
    balance, _ = scripted(loop, Action(d_steps=0), Action(d_learning_rate_scale=2.0))
    after = torch.optim.lr_scheduler.StepLR(loop.g_optimizer, 1, gamma=0.5)
    for _ in range(2):
        loop.run(balance, 1)
        before.step()
        after.step()
    assert loop.d_optimizer.param_groups[0]["lr"] == pytest.approx(2e-5)
    assert loop.g_optimizer.param_groups[0]["lr"] == pytest.approx(2.5e-4)


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (Action(d_trains_on_real=False), "step.loss(real=..., fake=...)"),
        (Action(lecam_weight=1.0), "step.loss(real=..., fake=...)"),
        (Action(d_steps=3), "3 steps of D"),
        (Action(g_steps=2), "2 steps of G"),
    ],
)
def test_a_loop_that_cannot_do_what_is_asked_is_told_once(scripted, caplog, loop, action, said):
    balance, _ = scripted(loop, *[action] * 3)
    with caplog.at_level(logging.INFO, "counterpoise"):
        loop.run(balance, 1)
        # A loop may have asked before the turn began, or may yet do them.
        steps = [r for r in caplog.records if "steps of" in r.message]
        assert not steps
        loop.run(balance, 2)
    messages = [r.message for r in caplog.records if "the policy" in r.message]
    assert len(messages) == 1
    assert said in messages[0]


def test_two_steps_of_g_that_are_asked_for_and_done_are_not_missed(scripted, caplog, loop):
    balance, _ = scripted(loop, *[Action(g_steps=2)] * 3)

    def turn(loop, balance):
        loop.turn(balance)
        balance.g_step()
        loop.g_part(loop.g(loop.batch()[1]))

    with caplog.at_level(logging.WARNING, "counterpoise"):
        loop.run(balance, 3, turn=turn)
    assert caplog.records == []


def test_an_error_in_the_loop_passes_and_leaves_nothing_open(loop):
    balance = loop.balance()
    original = torch.autograd._engine_run_backward
    with pytest.raises(ZeroDivisionError), balance.d_step():
        assert torch.autograd._engine_run_backward is not original
        _ = 1 / 0
    assert torch.autograd._engine_run_backward is original
    loop.run(balance, 1)
    assert balance.step == 1


def test_close_undoes_everything(loop):
    step, backward = type(loop.d_optimizer).step, torch.autograd._engine_run_backward
    balance = loop.balance(check=True)
    loop.run(balance, 1)
    balance.d_step()
    balance.close()
    assert "step" not in vars(loop.d_optimizer)
    assert loop.d_optimizer.step.__func__ is step
    assert torch.autograd._engine_run_backward is backward
    hooks = (loop.g._forward_hooks, loop.d._forward_hooks, loop.d._forward_pre_hooks)
    assert not any(hooks)
    with pytest.raises(UserError, match="closed"):
        balance.d_step()


def test_copies_of_the_networks_are_not_watched(loop):
    balance = loop.balance()
    average = copy.deepcopy(loop.g)
    pickle.loads(pickle.dumps(loop.g))(torch.randn(2, 4))  # noqa: S301  our own
    average(torch.randn(2, 4))
    loop.run(balance, 1)
    assert balance.step == 1


@pytest.mark.parametrize(
    "options", [{"objective": "gane"}, {"policy": "nothing"}, {"log_every": 0}]
)
def test_mistakes_are_one_line(loop, options):
    (name,) = options
    with pytest.raises(UserError, match=name):
        loop.balance(**options)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"policy": {"previous": None}}, "is missing"),
        ({"policy": 3}, "int"),
        ({"action": {"foo": 1}}, "foo"),
        ({"readings": []}, "list"),
        ({"objective": {"name": 3, "probabilities": True}}, "3"),
        (None, "step"),
    ],
)
def test_another_state_is_refused_in_one_line_and_changes_nothing(loop, change, what):
    balance = loop.balance("accuracy-band")
    loop.run(balance, 2)
    state = balance.state_dict()
    with pytest.raises(UserError, match="before the first step"):
        balance.load_state_dict(state)
    fresh = loop.balance("accuracy-band")
    before = json.dumps(fresh.state_dict())
    with pytest.raises(UserError, match=f"Balance.load_state_dict: .*{what}"):
        fresh.load_state_dict({} if change is None else state | change)
    assert json.dumps(fresh.state_dict()) == before


def test_resume_is_bitwise_and_in_the_same_folder(tmp_path):
    options = {"policy": "accuracy-band", "sensors_every": 3}
    whole, first, second = Loop(), Loop(), Loop()
    with whole.balance(run_dir=tmp_path / "whole", **options) as balance:
        whole.run(balance, 4, seed=1)
        whole.run(balance, 4, seed=2)
    parts = ("g", "d", "g_optimizer", "d_optimizer")
    with first.balance(run_dir=tmp_path / "parts", **options) as balance:
        first.run(balance, 4, seed=1)
        saved = {name: copy.deepcopy(getattr(first, name).state_dict()) for name in parts}
        state = json.loads(json.dumps(balance.state_dict()))
        first.run(balance, 2, seed=7)  # lost with the crash
    for name in parts:
        getattr(second, name).load_state_dict(saved[name])
    options["policy_options"] = {}
    with second.balance(run_dir=tmp_path / "parts", **options) as balance:
        with pytest.raises(UserError, match="load_state_dict"):
            balance.d_step()
        balance.load_state_dict(state)
        second.run(balance, 4, seed=2)
        assert balance.diagnosis().rows == 8
    assert same(whole.state(), second.state())
    rows = {name: rows_of(tmp_path / name) for name in ("whole", "parts")}
    assert [row["step"] for row in rows["parts"]] == list(range(1, 9))
    for a, b in zip(*rows.values(), strict=True):
        # What a gradient is compared with is forgotten with the process.
        for name in ("seconds", "g_gradient_cosine", "d_gradient_cosine"):
            a.pop(name, None), b.pop(name, None)
        assert a == b


def test_a_resumed_loop_may_have_a_folder_of_its_own(tmp_path, loop):
    with loop.balance("none", run_dir=tmp_path / "one") as balance:
        loop.run(balance, 2)
        state = balance.state_dict()
    with loop.balance("none", run_dir=tmp_path / "two") as balance:
        balance.load_state_dict(state)
        loop.run(balance, 1)
    assert [row["step"] for row in rows_of(tmp_path / "two")] == [3]


def test_a_loop_that_goes_on_with_other_options_says_so_in_its_configuration(tmp_path, loop):
    states = []
    for decay in (0.8, 0.7):
        options = {"policy_options": {"decay": decay}, "run_dir": tmp_path / "run"}
        with loop.balance("accuracy-band", **options) as balance:
            for state in states:
                balance.load_state_dict(state)
            loop.run(balance, 1)
            states.append(balance.state_dict())
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["balance"]["options"]["decay"] == 0.7
    assert config["loss"]["adversarial"]["form"] == "non-saturating"


def test_a_second_balance_in_one_folder_is_refused_until_the_first_is_closed(tmp_path):
    run = RunFolder(tmp_path / "run")
    journals = [Journal(run.path, "none", {}, 10) for _ in range(3)]
    with run.lock(), pytest.raises(UserError, match=r"pid \d+ .* writes this run"):
        journals[0].begin(0, writes=True)
    journals[0].begin(0, writes=True)
    with pytest.raises(UserError, match="writes this run"):
        journals[1].begin(3, writes=True)
    journals[0].close()
    journals[2].begin(3, writes=True)
    journals[2].close()
