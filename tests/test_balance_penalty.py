"""R1 that a policy asks for, in somebody else's loop; what two processes do alike."""

import json
import logging

import pytest
import torch
from torch import nn

from counterpoise.anyloop import handle
from counterpoise.game import r1 as penalty
from counterpoise.losses.penalties import estimated_r1_penalty, r1_penalty
from counterpoise.records import Action
from loop_helpers import Loop, Scripted, rows_of, same, scripted, update
from loop_shapes import one_pass_on_both

__all__ = ["scripted"]
GAMMA = 0.7
ASKED = [Action(r1_weight=GAMMA, d_steps=2)] * 3


class Plain(Loop):
    """Without spectral norm, whose vectors an extra pass would move; SGD shows the gradient."""

    def __init__(self, *layers, sigmoid=False):
        torch.manual_seed(3)
        d = [nn.Conv2d(1, 4, 4, 2, 1), nn.Tanh(), *layers, nn.Flatten(), nn.Linear(64, 1)]
        super().__init__(sigmoid=sigmoid, d=nn.Sequential(*d, *[nn.Sigmoid()] * sigmoid))
        self.d_optimizer = torch.optim.SGD(self.d.parameters(), 1.0)


@pytest.fixture
def warnings(caplog):
    """What a person is warned of about R1."""
    with caplog.at_level(logging.WARNING, "counterpoise"):
        yield lambda: [r.message for r in caplog.records if "R1" in r.message]


@pytest.mark.parametrize("sigmoid", [False, True])
def test_it_is_r1_of_the_logits_in_ds_loss(scripted, sigmoid, tmp_path):
    loop = Plain(sigmoid=sigmoid)
    real, noise = loop.batch()
    fake = loop.g(noise).detach()
    term = GAMMA / 2 * r1_penalty(loop.d[:4], real)
    loss = loop.d_loss(loop.d(real), loop.d(fake)) + term
    gradients = torch.autograd.grad(loss, list(loop.d.parameters()))
    expected = [p.detach() - g for p, g in zip(loop.d.parameters(), gradients, strict=True)]
    balance, _ = scripted(loop, Action(r1_weight=GAMMA), run_dir=tmp_path / "run")
    balance.d_step()
    loop.d_part(real, fake)
    balance.g_step()
    loop.g_part(loop.g(noise))
    balance.close()
    torch.testing.assert_close([p.detach() for p in loop.d.parameters()], expected)
    (row,) = rows_of(tmp_path / "run")
    assert row["d_penalty"] == pytest.approx(term.item(), rel=1e-5)
    assert row["action"]["r1_weight"] == GAMMA


def test_buffers_and_random_numbers_are_those_of_a_loop_without_it(scripted):
    """Spectral norm's vectors move with D's passes: one more would move them further."""
    results = []
    for weight in (0.0, GAMMA):
        loop = Loop()
        loop.d.insert(1, nn.Dropout())
        balance, _ = scripted(loop, Action(r1_weight=weight, d_learning_rate_scale=0.0))
        loop.run(balance, 1)
        results.append([buffer.clone() for buffer in loop.d.buffers()])
        assert results[-1][0].numel()
        results[-1].append(torch.rand(3))
    assert same(*results)


class Once(torch.autograd.Function):
    """Images as they are, differentiable once."""

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


class Labelled(nn.Module):
    """A D that needs more than images."""

    def __init__(self, d):
        super().__init__()
        self.d = d

    def forward(self, images, labels):
        return self.d(images) + labels


def with_labels(loop, balance):
    real, noise = loop.batch()
    fake, labels = loop.g(noise), torch.zeros(8, 1)
    balance.d_step()
    loss = loop.d_loss(loop.d(real, labels), loop.d(fake.detach(), labels))
    update(loop.d_optimizer, loss)
    balance.g_step()
    update(loop.g_optimizer, loop.g_loss(loop.d(fake, labels)))


def both_with_labels(loop, balance):
    real, noise = loop.batch()
    fake, labels = loop.g(noise), torch.cat([torch.ones(8, 1), torch.zeros(8, 1)])
    balance.d_step()
    on_fake, on_real = loop.d(torch.cat([fake.detach(), real]), labels).chunk(2)
    update(loop.d_optimizer, loop.d_loss(on_real, on_fake))
    balance.g_step()
    update(loop.g_optimizer, loop.g_loss(loop.d(torch.cat([fake, real]), labels)[:8]))


@pytest.mark.parametrize("turn", [with_labels, both_with_labels, one_pass_on_both])
@pytest.mark.parametrize("layers", [[], [OnceLayer()]], ids=["exact", "estimated"])
def test_it_is_had_of_a_d_that_is_asked_with_more_than_real_images(
    scripted, warnings, tmp_path, layers, turn
):
    loop, reference = Plain(*layers), Plain(*layers)
    if turn is not one_pass_on_both:
        loop.d, reference.d = Labelled(loop.d), reference.d
    balance, policy = scripted(loop, *ASKED, run_dir=tmp_path / "run")
    loop.run(balance, 3, turn=turn)
    plain, _ = scripted(reference, *ASKED, run_dir=tmp_path / "plain")
    reference.run(plain, 3)
    assert all(signals.d_takes_r1 for signals in policy.seen)
    assert not [message for message in warnings() if "R1" in message]
    # Labels of 0, those of the real images, change nothing, nor does one pass on both kinds.
    ours, theirs = (rows_of(tmp_path / name)[0]["d_penalty"] for name in ("run", "plain"))
    assert ours == pytest.approx(theirs, rel=1e-3)


@pytest.mark.parametrize(
    ("layers", "why"),
    [([nn.BatchNorm2d(4)], "batch normalisation"), ([OnceLayer()], "differentiate")],
)
def test_where_the_exact_one_cannot_be_had_it_is_estimated_and_it_is_said_once(
    scripted, caplog, layers, why
):
    loop = Plain(*layers)
    balance, policy = scripted(loop, *ASKED)
    with caplog.at_level(logging.INFO, "counterpoise"):
        loop.run(balance, 3)
    assert balance.action.r1_weight == GAMMA
    (message,) = [r.message for r in caplog.records if "R1" in r.message]
    assert "estimated" in message
    assert why in message
    assert all(signals.d_takes_r1 for signals in policy.seen)


def test_the_estimate_is_r1_but_for_chance():
    torch.manual_seed(0)
    d = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 1))
    images = torch.rand(20_000, 3, 2, 2) * 2 - 1
    exact, estimate = r1_penalty(d, images), estimated_r1_penalty(d, images)
    # Its deviation is sqrt(2 / 20,000), a hundredth; the difference's own error is of the order of
    # the square of the noise.
    assert estimate.item() == pytest.approx(exact.item(), rel=0.05)
    weights = [parameter for parameter in d.parameters() if parameter.ndim > 1]
    gradients = [torch.autograd.grad(term, weights) for term in (exact, estimate)]
    flat = [torch.cat([gradient.flatten() for gradient in each]) for each in gradients]
    assert torch.cosine_similarity(*flat, dim=0) > 0.99


def test_a_gradient_that_is_not_finite_is_left_out_and_said(scripted, warnings, monkeypatch):
    monkeypatch.setattr(penalty, "r1_penalty", lambda d, images: d(images).mean() * float("inf"))
    loop = Plain()
    loop.run(scripted(loop, *ASKED)[0], 3)
    assert all(parameter.isfinite().all() for parameter in loop.d.parameters())
    assert len(warnings()) == 1


@pytest.mark.parametrize("weight", [0.0, GAMMA])
def test_a_layer_with_two_names_stays_the_optimizers(scripted, weight):
    """The sensors ask D aside, and so does R1: neither may leave it with other tensors."""

    class Named(nn.Module):
        def __init__(self, layers):
            super().__init__()
            self.head, self.layers = layers[0], layers

        def forward(self, images):
            return self.layers(images)

    loop = Plain()
    loop.d = Named(loop.d)
    parameters = list(loop.d.parameters())
    actions = [Action(r1_weight=weight) for _ in range(12)]
    loop.run(scripted(loop, *actions, sensors_every=1)[0], 12)
    assert all(a is b for a, b in zip(parameters, loop.d.parameters(), strict=True))


class Wrapper:
    """As Accelerate's and Fabric's, which unscale in their step."""

    def __init__(self, optimizer, scale):
        self.optimizer, self.scale = optimizer, scale
        self.param_groups, self.zero_grad = optimizer.param_groups, optimizer.zero_grad

    def step(self):
        for parameter in self.param_groups[0]["params"]:
            parameter.grad /= self.scale
        self.optimizer.step()


Wrapper.__module__ = "accelerate.optimizer"


@pytest.mark.parametrize("how", ["scaler", "scaler, fused", "wrapper"])
def test_under_amp_it_is_what_it_is_without(scripted, how):
    """A fused optimizer divides by the scale itself, so its gradients are scaled yet."""
    weights = []
    for scale in (1.0, 1024.0):
        loop = Plain()
        fused = how == "scaler, fused"
        loop.d_optimizer = torch.optim.Adam(loop.d.parameters(), 1e-2, fused=fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        if how == "wrapper":
            loop.d_optimizer = Wrapper(loop.d_optimizer, scale)
        balance, _ = scripted(loop, *ASKED, grad_scaler=None if how == "wrapper" else scaler)
        real, noise = loop.batch()
        with balance.d_step():
            loss = loop.d_loss(loop.d(real), loop.d(loop.g(noise).detach()))
            if how == "wrapper":
                (scale * loss).backward()
                loop.d_optimizer.step()
            else:
                scaler.scale(loss).backward()
                scaler.step(loop.d_optimizer)
        weights.append([p.detach().clone() for p in loop.d.parameters()])
    torch.testing.assert_close(*weights)


def in_two_processes(rank, folder):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=2
    )
    states = []
    for policy in ("accuracy-band", "none"):
        loop = Plain()
        loop.d, loop.g = (
            nn.parallel.DistributedDataParallel(network, broadcast_buffers=False)
            for network in (loop.d, loop.g)
        )
        if policy == "none":
            handle.build_policy = lambda *_: Scripted(*ASKED)
        with loop.balance(policy, run_dir=folder / policy, sensors_every=2) as balance:
            loop.run(balance, 12, seed=rank)
        weights = [p.detach().tolist() for p in loop.d.parameters()]
        states.append((balance.state_dict(), weights))
    (folder / f"{rank}.json").write_text(json.dumps(states))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_decide_alike_and_one_writes(tmp_path):
    torch.multiprocessing.spawn(in_two_processes, (tmp_path,), nprocs=2)
    one, other = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert one == other
    assert one[0][0]["readings"]["g_gradient_norm"] > 0
    assert [len(rows_of(tmp_path / name)) for name in ("accuracy-band", "none")] == [12, 12]
    assert rows_of(tmp_path / "none")[2]["d_penalty"] > 0
