"""R1 that a policy asks for, in somebody else's loop."""

import logging

import pytest
import torch
from torch import nn

import counterpoise as cp
from counterpoise.anyloop import handle
from counterpoise.losses.penalties import r1_penalty
from counterpoise.records import Action
from counterpoise.run_folder import read_json_lines
from loop_helpers import Loop, Scripted, same

GAMMA = 0.7


@pytest.fixture
def scripted(monkeypatch):
    """A Balance whose policy gives the actions."""

    def make(loop, *actions, **options):
        monkeypatch.setattr(handle, "build_policy", lambda *_: Scripted(*actions))
        return loop.balance("none", **options)

    return make


class Plain(Loop):
    """Without spectral norm, whose vectors an extra pass would move; SGD shows the gradient."""

    def __post_init__(self):
        super().__post_init__()
        torch.manual_seed(3)
        self.d = nn.Sequential(nn.Conv2d(1, 4, 4, 2, 1), nn.Tanh(), nn.Flatten(), nn.Linear(64, 1))
        if self.sigmoid:
            self.d.append(nn.Sigmoid())
        self.d_optimizer = torch.optim.SGD(self.d.parameters(), 1.0)


def with_r1_written_out(loop, real, fake):
    """What D's weights are after a step with R1 in its loss, by hand."""
    logits = loop.d[:4]
    on_real, on_fake = loop.d(real), loop.d(fake)
    loss = loop.criterion(on_real, torch.ones_like(on_real))
    loss = loss + loop.criterion(on_fake, torch.zeros_like(on_fake))
    loss = loss + GAMMA / 2 * r1_penalty(logits, real)
    gradients = torch.autograd.grad(loss, list(loop.d.parameters()))
    return [p.detach() - g for p, g in zip(loop.d.parameters(), gradients, strict=True)]


@pytest.mark.parametrize("sigmoid", [False, True])
def test_it_is_r1_of_the_logits_in_ds_loss(scripted, sigmoid, tmp_path):
    loop = Plain(sigmoid=sigmoid)
    real, noise = loop.batch()
    fake = loop.g(noise).detach()
    expected = with_r1_written_out(loop, real, fake)
    term = GAMMA / 2 * r1_penalty(loop.d[:4], real)
    balance = scripted(loop, Action(r1_weight=GAMMA), run_dir=tmp_path / "run")
    balance.d_step()
    loop.d_part(real, fake)
    balance.g_step()
    loop.g_part(loop.g(noise))
    balance.close()
    for got, wanted in zip(loop.d.parameters(), expected, strict=True):
        torch.testing.assert_close(got.detach(), wanted)
    (row,), _ = read_json_lines(tmp_path / "run" / "signals.jsonl")
    assert row["d_penalty"] == pytest.approx(term.item(), rel=1e-5)
    assert row["action"]["r1_weight"] == GAMMA


def test_buffers_and_random_numbers_are_those_of_a_loop_without_it(scripted):
    """Spectral norm's vectors move with D's passes: one more would move them further."""
    results = []
    for weight in (0.0, GAMMA):
        loop = Loop()
        loop.d.insert(1, nn.BatchNorm2d(4))
        loop.d.insert(2, nn.Dropout())
        balance = scripted(loop, Action(r1_weight=weight, d_learning_rate_scale=0.0))
        loop.run(balance, 1)
        results.append([buffer.clone() for buffer in loop.d.buffers()])
        assert results[-1][0].numel()
        results[-1].append(torch.rand(3))
    assert same(*results)


def test_a_d_without_a_second_derivative_is_trained_on_and_it_is_said_once(scripted, caplog):
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(context, images):
            return images.clone()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(context, gradient):
            return gradient

    class OnceLayer(nn.Module):
        def forward(self, images):
            return Once.apply(images)

    loop = Plain()
    loop.d.insert(2, OnceLayer())
    before = [p.detach().clone() for p in loop.d.parameters()]
    balance = scripted(loop, *[Action(r1_weight=GAMMA)] * 3)
    with caplog.at_level(logging.WARNING, "counterpoise"):
        loop.run(balance, 3)
    assert not same(before, [p.detach() for p in loop.d.parameters()])
    (message,) = [r.message for r in caplog.records if "R1" in r.message]
    assert message.startswith("the policy adds R1 to D's loss, and cannot in this loop: D cannot")
    assert message.endswith("; it does without")


def test_a_d_that_needs_more_than_images_is_told(scripted, caplog):
    class Conditional(nn.Module):
        def __init__(self, d):
            super().__init__()
            self.layers = d

        def forward(self, images, labels):
            return self.layers(images) + labels

    loop = Plain()
    loop.d = Conditional(loop.d)
    balance = scripted(loop, Action(r1_weight=GAMMA))
    real, noise = loop.batch()
    labels = torch.zeros(len(real), 1)
    fake = loop.g(noise)
    with caplog.at_level(logging.WARNING, "counterpoise"):
        balance.d_step()
        on_real, on_fake = loop.d(real, labels), loop.d(fake.detach(), labels)
        loss = loop.criterion(on_real, torch.ones_like(on_real))
        (loss + loop.criterion(on_fake, torch.zeros_like(on_fake))).backward()
        loop.d_optimizer.step()
        balance.g_step()
        balance.close()
    assert any("not called with real images alone" in record.message for record in caplog.records)


def test_a_gradient_that_amp_has_not_unscaled_yet_gets_a_scaled_term(scripted):
    """Optimizers that divide by the scale themselves are given scaled gradients."""

    class Recording(torch.optim.SGD):
        def step(self, closure=None):
            self.seen = [p.grad.clone() for p in self.param_groups[0]["params"]]

    terms = []
    for scale in (None, torch.tensor(8.0)):
        torch.manual_seed(1)
        loop = Plain()
        loop.d_optimizer = Recording(loop.d.parameters(), 1.0)
        balance = scripted(loop, Action(r1_weight=GAMMA))
        real, noise = loop.batch()
        loop.d_optimizer.grad_scale = scale
        with balance.d_step():
            on_real, on_fake = loop.d(real), loop.d(loop.g(noise).detach())
            loss = loop.criterion(on_real, torch.ones_like(on_real))
            (loss + loop.criterion(on_fake, torch.zeros_like(on_fake))).backward()
            own = [p.grad.clone() for p in loop.d.parameters()]
            loop.d_optimizer.step()
        terms.append([a - b for a, b in zip(loop.d_optimizer.seen, own, strict=True)])
    assert terms[0][0].norm() > 0
    for plain, scaled in zip(*terms, strict=True):
        torch.testing.assert_close(8 * plain, scaled, rtol=1e-4, atol=1e-5)


def test_auto_trains_with_r1_where_d_leads():
    """Through the real policy: G stands still, so D soon tells its images from noise."""
    loop = Plain()
    loop.d_optimizer = torch.optim.Adam(loop.d.parameters(), 1e-2)
    loop.g_optimizer = torch.optim.Adam(loop.g.parameters(), 1e-5)
    with loop.balance("auto") as balance:
        loop.run(balance, 60)
        assert balance.action.r1_weight == 0.1
        assert isinstance(balance, cp.Balance)
