"""Right loops that a check, a message or a diagnosis could take for wrong ones."""

import logging

import pytest
import torch
from torch import nn

from counterpoise.json_lines import read_json_lines
from counterpoise.records import Action
from loop_helpers import Loop, Pyramid, scripted_balance, small_networks


class Conditional(nn.Module):
    """A G of labels and noise."""

    def __init__(self, g):
        super().__init__()
        self.g, self.embedding = g, nn.Embedding(10, 4)

    def forward(self, labels, noise):
        return self.g(noise + self.embedding(labels))


def d_loss(loop, real, fake):
    """Of D's outputs, one or several each."""
    pairs = zip(*(each if isinstance(each, list) else [each] for each in (real, fake)), strict=True)
    return sum(
        loop.criterion(on_real, torch.ones_like(on_real))
        + loop.criterion(on_fake, torch.zeros_like(on_fake))
        for on_real, on_fake in pairs
    )


def several_outputs(loop, balance, turn):
    """Those that D gives in a list are given to Balance in one tensor."""
    real, noise = loop.batch()
    fake = loop.g(noise)
    with balance.d_step() as step:
        loop.d_optimizer.zero_grad()
        on_real, on_fake = loop.d(real), loop.d(fake.detach())
        step.logits(real=torch.cat(on_real, 1), fake=torch.cat(on_fake, 1))
        d_loss(loop, on_real, on_fake).backward()
        loop.d_optimizer.step()
    with balance.g_step() as step:
        loop.g_optimizer.zero_grad()
        on_fake = loop.d(fake)
        step.logits(fake=torch.cat(on_fake, 1))
        sum(loop.criterion(each, torch.ones_like(each)) for each in on_fake).backward()
        loop.g_optimizer.step()


def d_begins_later(loop, balance, turn):
    """VQGAN: until then, what D says has a weight of 0."""
    weight = float(turn >= 40)
    real, noise = loop.batch()
    fake = loop.g(noise)
    balance.d_step()
    loop.d_optimizer.zero_grad()
    (weight * d_loss(loop, loop.d(real), loop.d(fake.detach()))).backward()
    loop.d_optimizer.step()
    balance.g_step()
    loop.g_optimizer.zero_grad()
    adversarial = loop.criterion(loop.d(fake), torch.ones(8, 1))
    ((fake - real).square().mean() + weight * adversarial).backward()
    loop.g_optimizer.step()


def only_ds_inputs(loop, balance, turn):
    """The backward pass of D's loss does not go on into G, whose first argument stays."""
    real, noise = loop.batch()
    fake = loop.g(torch.arange(8), noise)
    balance.d_step()
    loop.d_optimizer.zero_grad()
    loss = d_loss(loop, loop.d(real), loop.d(fake))
    loss.backward(inputs=list(loop.d.parameters()), retain_graph=True)
    loop.d_optimizer.step()
    balance.g_step()
    loop.g_part(fake)


def with_networks(g=None, d=None):
    loop = Loop()
    loop.g, loop.d = g or loop.g, d or loop.d
    loop.g_optimizer = torch.optim.Adam(loop.g.parameters(), 1e-3)
    loop.d_optimizer = torch.optim.Adam(loop.d.parameters(), 1e-3)
    return loop


@pytest.mark.parametrize(
    ("turn", "networks"),
    [
        (several_outputs, lambda: {"d": Pyramid(small_networks()[1])}),
        (d_begins_later, dict),
        (only_ds_inputs, lambda: {"g": Conditional(small_networks()[0])}),
    ],
)
def test_the_check_reports_nothing(turn, networks):
    loop = with_networks(**networks())
    balance = loop.balance(check=True)
    for number in range(22):
        turn(loop, balance, number)
    balance.close()
    assert balance.step == 22
    assert [str(finding) for finding in balance.loop_findings] == []


def test_gradients_of_several_turns_are_no_frozen_d(tmp_path):
    """Both networks step in every fourth turn."""
    loop = Loop()
    balance = loop.balance(run_dir=tmp_path / "run")
    for turn in range(400):
        real, noise = loop.batch()
        fake = loop.g(noise)
        balance.d_step()
        (d_loss(loop, loop.d(real), loop.d(fake.detach())) / 4).backward()
        if turn % 4 == 3:
            loop.d_optimizer.step()
            loop.d_optimizer.zero_grad()
        balance.g_step()
        (loop.criterion(loop.d(fake), torch.ones(8, 1)) / 4).backward()
        if turn % 4 == 3:
            loop.g_optimizer.step()
            loop.g_optimizer.zero_grad()
            loop.d_optimizer.zero_grad()
    balance.close()
    assert "d-frozen" not in balance.diagnosis().ids()


@pytest.mark.parametrize(("objective", "said"), [("wgan", False), ("bce", True)])
def test_smoothing_is_missed_only_where_it_would_change_something(
    monkeypatch, caplog, objective, said
):
    loop = Loop()
    balance, _ = scripted_balance(
        monkeypatch, loop, Action(label_smoothing=0.1), objective=objective
    )
    with caplog.at_level(logging.INFO, "counterpoise"):
        loop.run(balance, 2)
    assert any("would smooth" in record.message for record in caplog.records) == said


def test_a_loss_may_be_given_with_its_sign(tmp_path):
    """`loss.backward(minus_one)`, as in the first WGAN-GP in PyTorch."""
    loop = Loop()
    balance = loop.balance(objective="wgan", run_dir=tmp_path / "run")
    one = torch.tensor(1.0)
    real, noise = loop.batch()
    fake = loop.g(noise)
    balance.d_step()
    loop.d_optimizer.zero_grad()
    loop.d(real).mean().backward(-one)
    loop.d(fake.detach()).mean().backward(one)
    loop.d_optimizer.step()
    balance.g_step()
    loop.g_optimizer.zero_grad()
    on_fake = loop.d(fake).mean()
    on_fake.backward(-one)
    loop.g_optimizer.step()
    balance.close()
    (row,) = read_json_lines(tmp_path / "run" / "signals.jsonl")[0]
    assert row["g_loss"] == pytest.approx(-float(on_fake.detach()))
