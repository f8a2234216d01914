"""`cp.Balance` around a hand-written loop: what it must not change, and what it must."""

import copy
import functools
import logging
import pickle
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

import counterpoise as cp
from counterpoise.anyloop import handle
from counterpoise.errors import UserError
from counterpoise.json_lines import read_json_lines
from counterpoise.records import Action
from loop_helpers import Loop, same, scripted_balance


@pytest.fixture
def scripted(monkeypatch):
    """Makes a Balance whose policy answers with given actions."""

    return functools.partial(scripted_balance, monkeypatch)


def rows_of(run):
    return read_json_lines(run / "signals.jsonl")[0]


def test_import_is_light():
    code = "import sys, counterpoise; assert 'torch' not in sys.modules, 'torch was imported'"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert cp.Balance is handle.Balance
    with pytest.raises(AttributeError, match="no attribute 'Balanced'"):
        _ = cp.Balanced


@pytest.mark.parametrize("sigmoid", [False, True])
def test_with_policy_none_training_is_bitwise_the_same(tmp_path, sigmoid):
    bare, watched = Loop(sigmoid), Loop(sigmoid)
    bare.run(None, 20)
    held_out = torch.rand(4, 1, 8, 8)
    balance = watched.balance(
        run_dir=tmp_path / "run", sensors_every=2, check=True, held_out=held_out
    )
    watched.run(balance, 20)
    assert same(bare.state(), watched.state())
    assert balance.loop_findings == []
    assert balance.step == 20
    # The sensors were on.
    assert {"auc_quantised", "d_accuracy_held_out", "diversity_ratio"} <= rows_of(tmp_path / "run")[
        19
    ].keys()
    assert {"g_gradient_norm", "d_gradient_norm", "g_gradient_adversarial"} <= rows_of(
        tmp_path / "run"
    )[5].keys()


def test_frozen_discriminator_stays_to_the_bit(scripted):
    loop = Loop()
    balance, policy = scripted(loop, Action(d_steps=0), Action(g_steps=0))
    before = copy.deepcopy(loop.d.state_dict())
    g_before = [p.detach().clone() for p in loop.g.parameters()]
    loop.run(balance, 1)
    assert all(torch.equal(p, before[name]) for name, p in loop.d.named_parameters())
    assert not same(g_before, [p.detach() for p in loop.g.parameters()])
    # The next action freezes G.
    g_before = [p.detach().clone() for p in loop.g.parameters()]
    loop.run(balance, 1)
    assert same(g_before, [p.detach() for p in loop.g.parameters()])
    assert not all(torch.equal(p, before[name]) for name, p in loop.d.named_parameters())
    assert len(policy.seen) == 2


def test_learning_rates_are_scaled_in_the_step_and_the_users_after(scripted):
    loop, reference = Loop(), Loop()
    balance, _ = scripted(loop, Action(d_learning_rate_scale=0.5, g_learning_rate_scale=3.0))
    loop.run(balance, 1)
    reference.d_optimizer.param_groups[0]["lr"] *= 0.5
    reference.g_optimizer.param_groups[0]["lr"] *= 3.0
    reference.run(None, 1)
    assert same(loop.state(), reference.state())
    assert loop.d_optimizer.param_groups[0]["lr"] == 2e-3
    assert loop.g_optimizer.param_groups[0]["lr"] == 1e-3


@pytest.mark.filterwarnings("error")
def test_schedulers_made_before_and_after_keep_working(scripted):
    loop = Loop()
    before = torch.optim.lr_scheduler.StepLR(loop.d_optimizer, 1, gamma=0.1)
    balance, _ = scripted(loop, Action(d_steps=0), Action(d_learning_rate_scale=2.0))
    after = torch.optim.lr_scheduler.StepLR(loop.g_optimizer, 1, gamma=0.5)
    for _ in range(2):
        loop.run(balance, 1)
        before.step()
        after.step()
    assert loop.d_optimizer.param_groups[0]["lr"] == pytest.approx(2e-5)
    assert loop.g_optimizer.param_groups[0]["lr"] == pytest.approx(2.5e-4)


@pytest.mark.parametrize("named", [False, True])
def test_adversarial_weight_scales_what_reaches_g(scripted, named):
    """Beside a content term, whether the loop names its adversarial term or not."""

    def turn(loop, balance, scale):
        torch.manual_seed(3)
        real, noise = loop.batch()
        fake = loop.g(noise)
        if balance:
            balance.d_step()
        loop.d_part(real, fake)
        step = balance.g_step() if balance else None
        loop.g_optimizer.zero_grad()
        on_fake = loop.d(fake)
        term = scale * loop.criterion(on_fake, torch.ones_like(on_fake))
        if named:
            term = step.adversarial(term) if step else term
        (term + (fake - real).square().mean()).backward()
        gradients = [p.grad.clone() for p in loop.g.parameters()]
        loop.g_optimizer.step()
        return gradients

    loop, reference = Loop(), Loop()
    balance, _ = scripted(loop, Action(adversarial_weight_scale=4.0), sensors_every=1)
    scaled = turn(loop, balance, 1.0)
    for one, other in zip(scaled, turn(reference, None, 4.0), strict=True):
        torch.testing.assert_close(one, other)
    balance.end_step()
    plain, _ = scripted(untouched := Loop(), Action(), sensors_every=1)
    turn(untouched, plain, 1.0)
    plain.end_step()
    scaled, unscaled = balance.readings, plain.readings
    assert unscaled.g_gradient_content > 0
    assert unscaled.g_gradient_adversarial > 0
    assert scaled.g_gradient_content == pytest.approx(unscaled.g_gradient_content, rel=1e-3)
    assert scaled.g_gradient_adversarial == pytest.approx(4 * unscaled.g_gradient_adversarial)
    assert (scaled.g_adversarial_scale, unscaled.g_adversarial_scale) == (4, 1)
    assert scaled.g_gradient_unscaled == pytest.approx(unscaled.g_gradient_unscaled)


def test_halves_and_lecam_through_the_steps_loss(scripted):
    loop = Loop()
    balance, _ = scripted(loop, Action(d_trains_on_real=False), Action(lecam_weight=2.0))
    real, noise = loop.batch()
    fake = loop.g(noise).detach()
    losses = {}
    for turn in range(2):
        with balance.d_step() as step:
            on_real, on_fake = loop.d(real), loop.d(fake)
            loss_real = loop.criterion(on_real, torch.ones_like(on_real))
            loss_fake = loop.criterion(on_fake, torch.zeros_like(on_fake))
            losses[turn] = (step.loss(real=loss_real, fake=loss_fake), loss_real, loss_fake)
        with balance.g_step():
            pass
    assert losses[0][0] is losses[0][2]
    regulariser = 2 * (on_real.square().mean() + on_fake.square().mean())
    # LeCam pulls from one side only: max(0, D(x) - a)^2 + max(0, b - D(G(z)))^2.
    assert losses[1][1] + losses[1][2] < losses[1][0] <= losses[1][1] + losses[1][2] + regulariser


def test_a_loop_that_cannot_do_what_is_asked_is_told_once(scripted, caplog):
    loop = Loop()
    balance, _ = scripted(
        loop, Action(d_trains_on_real=False), Action(d_trains_on_real=False), Action(d_steps=3),
        Action(d_steps=3),
    )  # fmt: skip
    with caplog.at_level(logging.WARNING, "counterpoise"):
        loop.run(balance, 3)
        # A loop that asks before the turn begins cannot have known.
        assert not any("steps of D" in record.message for record in caplog.records)
        loop.run(balance, 1)
    messages = [record.message for record in caplog.records]
    assert sum("step.loss(real=..., fake=...)" in message for message in messages) == 1
    assert sum("asks for 3 steps of D" in message for message in messages) == 1


@pytest.mark.parametrize("parts", [1, 2])
def test_steps_of_g_are_counted_when_the_next_turn_begins(scripted, caplog, parts):
    loop = Loop()
    balance, _ = scripted(loop, *[Action(g_steps=2)] * 3)
    with caplog.at_level(logging.WARNING, "counterpoise"):
        for _ in range(3):
            real, noise = loop.batch()
            balance.d_step()
            loop.d_part(real, loop.g(noise))
            for _ in range(parts):
                balance.g_step()
                loop.g_part(loop.g(noise))
    told = [r.message for r in caplog.records if "asks for 2 steps of G" in r.message]
    assert len(told) == (parts == 1)


def test_roll_back_restores_both_networks_and_optimizers(scripted, tmp_path):
    loop = Loop()
    balance, _ = scripted(
        loop, Action(), Action(keep_snapshot=True), Action(),
        Action(roll_back=True, reason="D diverged"),
        run_dir=tmp_path / "run",
    )  # fmt: skip
    loop.run(balance, 1)
    parameters = [*loop.g.parameters(), *loop.d.parameters()]
    kept = [p.detach().clone() for p in parameters]
    loop.run(balance, 2)
    assert not same(kept, [p.detach() for p in parameters])
    loop.run(balance, 1)
    assert same(kept, [p.detach() for p in parameters])
    assert loop.d_optimizer.state_dict()["state"][0]["step"] == 1
    events, _ = read_json_lines(tmp_path / "run" / "events.jsonl")
    assert [event["kind"] for event in events] == ["began", "roll-back"]
    assert "before step 2: D diverged" in events[1]["message"]


def test_noise_is_put_on_the_inputs_of_d_from_the_next_turn(scripted):
    loop = Loop()
    balance, _ = scripted(loop, Action(noise_std=5.0), Action())
    seen = []
    handle_ = loop.d[0].register_forward_pre_hook(lambda m, args: seen.append(args[0].detach()))
    loop.run(balance, 2)
    handle_.remove()
    spreads = [float(images.std()) for images in seen]
    assert all(spread < 1.5 for spread in spreads[:3])
    assert all(spread > 3 for spread in spreads[3:])


def test_d_called_once_on_both_needs_the_logits(scripted):
    loop = Loop()
    balance, policy = scripted(loop)
    real, noise = loop.batch()
    both = torch.cat([real, loop.g(noise).detach()])
    labels = torch.cat([torch.ones(8, 1), torch.zeros(8, 1)])
    message = r"no output of D on fake images; .*step\.logits"
    with pytest.raises(UserError, match=message), balance.d_step():
        loop.criterion(loop.d(both), labels).backward()
        loop.d_optimizer.step()
    with balance.d_step() as step:
        outputs = loop.d(both)
        step.logits(real=outputs[:8], fake=outputs[8:])
        loop.criterion(outputs, labels).backward()
        loop.d_optimizer.step()
    assert policy.seen[0].real_logit_mean == pytest.approx(float(outputs[:8].mean().detach()))


def test_an_error_in_the_loop_passes_and_leaves_nothing_open():
    loop = Loop()
    balance = loop.balance()
    original = torch.autograd.backward
    with pytest.raises(ZeroDivisionError), balance.d_step():
        assert torch.autograd.backward is not original
        _ = 1 / 0
    assert torch.autograd.backward is original
    loop.run(balance, 1)
    assert balance.step == 1


def test_close_undoes_everything():
    loop = Loop()
    step, backward = type(loop.d_optimizer).step, torch.autograd.backward
    balance = loop.balance(check=True)
    loop.run(balance, 1)
    balance.d_step()
    balance.close()
    assert "step" not in vars(loop.d_optimizer)
    assert loop.d_optimizer.step.__func__ is step
    assert torch.autograd.backward is backward
    assert not loop.g._forward_hooks
    assert not loop.d._forward_hooks
    assert not loop.d._forward_pre_hooks
    assert F.mse_loss.__module__ == "torch.nn.functional"
    with pytest.raises(UserError, match="closed"):
        balance.d_step()


def test_copies_of_the_networks_are_not_watched():
    loop = Loop()
    balance = loop.balance()
    average = copy.deepcopy(loop.g)
    pickle.loads(pickle.dumps(loop.g))(torch.randn(2, 4))  # noqa: S301  our own
    average(torch.randn(2, 4))
    loop.run(balance, 1)
    assert balance.step == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "gane"}, "unknown objective 'gane'"),
        ({"policy": "nothing"}, "unknown policy 'nothing'"),
        ({"log_every": 0}, "log_every"),
    ],
)
def test_mistakes_are_one_line(options, message):
    with pytest.raises(UserError, match=message):
        Loop().balance(**options)


def test_a_probe_is_read_without_a_trace(scripted, tmp_path):
    probed, plain = Loop(), Loop()
    balance, policy = scripted(probed, Action(probe_discriminator=True))
    probed.run(balance, 3)
    plain.run(None, 3)
    assert same(probed.state(), plain.state())
    assert 0 <= balance.readings.d_probe_accuracy <= 1
    assert policy.seen[1].readings.d_probe_accuracy == balance.readings.d_probe_accuracy
