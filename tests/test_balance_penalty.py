"""R1 that a policy asks for, in somebody else's loop."""

import logging

import pytest
import torch
from torch import nn

from counterpoise.anyloop import handle
from counterpoise.game import r1 as penalty
from counterpoise.json_lines import read_json_lines
from counterpoise.losses.penalties import r1_penalty
from counterpoise.records import Action
from loop_helpers import Loop, Scripted, same, scripted_balance

GAMMA = 0.7


@pytest.fixture
def scripted(monkeypatch):
    """A Balance whose policy gives the actions."""

    return lambda *arguments, **options: scripted_balance(monkeypatch, *arguments, **options)[0]


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
        loop.d.insert(1, nn.Dropout())
        balance = scripted(loop, Action(r1_weight=weight, d_learning_rate_scale=0.0))
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


class Starved(nn.Module):
    """Memory runs out in the second pass on real images, which is R1's."""

    calls = 0

    def forward(self, images):
        self.calls += 1
        if self.calls == 3:
            raise torch.OutOfMemoryError("none left")
        return images


def without(loop, balance, steps=3):
    """The one message about R1; D is trained all the same, and the action says so."""
    before = [p.detach().clone() for p in loop.d.parameters()]
    loop.run(balance, steps)
    assert not same(before, [p.detach() for p in loop.d.parameters()])
    assert (balance.action.r1_weight, balance.action.d_steps) == (0.0, 1)


ASKED = [Action(r1_weight=GAMMA, d_steps=2)] * 3


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (OnceLayer(), "it could not be computed (trying to differentiate"),
        (nn.BatchNorm2d(4), "D has batch normalisation, so the gradients of single images"),
    ],
)
def test_a_d_that_cannot_have_it_is_trained_without_and_it_is_said_once(
    scripted, caplog, layer, why
):
    loop = Plain()
    loop.d.insert(2, layer)
    loop.d_optimizer = torch.optim.SGD(loop.d.parameters(), 1.0)
    with caplog.at_level(logging.WARNING, "counterpoise"):
        without(loop, scripted(loop, *ASKED))
    (message,) = [r.message for r in caplog.records if "R1" in r.message]
    assert message.startswith(f"the policy adds R1 to D's loss, and cannot: {why}")
    assert message.endswith("; it does without")


@pytest.mark.parametrize("norm", [True, False])
def test_a_policy_knows_whether_it_can_be_had(monkeypatch, norm):
    loop = Plain()
    loop.d.insert(2, nn.BatchNorm2d(4) if norm else OnceLayer())
    balance, policy = scripted_balance(monkeypatch, loop, *ASKED)
    loop.run(balance, 3)
    # Batch normalisation is seen at once, a lack of second derivatives when it is tried.
    assert [signals.d_takes_r1 for signals in policy.seen] == [not norm, False, False]


def test_a_lack_of_memory_is_no_property_of_d(scripted):
    loop = Plain()
    loop.d.insert(2, Starved())
    with pytest.raises(torch.OutOfMemoryError):
        loop.run(scripted(loop, *ASKED), 1)


def test_a_d_that_needs_more_than_images_is_told(scripted, caplog):
    class Conditional(nn.Module):
        def __init__(self, d):
            super().__init__()
            self.layers = d

        def forward(self, images, labels):
            return self.layers(images) + labels

    class ConditionalLoop(Plain):
        def d_part(self, real, fake):
            labels = torch.zeros(len(real), 1)
            self.d_optimizer.zero_grad()
            on_real, on_fake = self.d(real, labels), self.d(fake.detach(), labels)
            loss = self.criterion(on_real, torch.ones_like(on_real))
            (loss + self.criterion(on_fake, torch.zeros_like(on_fake))).backward()
            self.d_optimizer.step()

        def g_part(self, fake):
            self.d(fake, torch.zeros(len(fake), 1)).mean().backward()

    loop = ConditionalLoop()
    loop.d = Conditional(loop.d)
    with caplog.at_level(logging.WARNING, "counterpoise"):
        without(loop, scripted(loop, *ASKED))
    assert any("not called with real images alone" in record.message for record in caplog.records)


def test_one_pass_on_both_kinds_shows_no_real_images(scripted, caplog):
    loop = Plain()
    balance = scripted(loop, *ASKED)
    real, noise = loop.batch()
    with caplog.at_level(logging.WARNING, "counterpoise"), balance.d_step() as step:
        on_real, on_fake = loop.d(torch.cat([real, loop.g(noise).detach()])).chunk(2)
        step.logits(real=on_real, fake=on_fake)
        loss = loop.criterion(on_real, torch.ones_like(on_real))
        (loss + loop.criterion(on_fake, torch.zeros_like(on_fake))).backward()
        loop.d_optimizer.step()
    assert any("not called with real images alone" in record.message for record in caplog.records)


def test_gradients_made_in_a_closure_are_not_added_to(scripted, caplog):
    loop = Plain()
    balance = scripted(loop, *ASKED, objective="bce")
    real, noise = loop.batch()
    with caplog.at_level(logging.WARNING, "counterpoise"), balance.d_step():
        on_real, on_fake = loop.d(real), loop.d(loop.g(noise).detach())
        loss = loop.criterion(on_real, torch.ones_like(on_real))
        loss = loss + loop.criterion(on_fake, torch.zeros_like(on_fake))

        def closure():
            loop.d_optimizer.zero_grad()
            loss.backward()
            return loss

        loop.d_optimizer.step(closure)
    assert any("inside of optimizer.step(closure)" in record.message for record in caplog.records)


def test_a_saturated_sigmoid_leaves_it_finite(scripted):
    loop = Plain(sigmoid=True)
    with torch.no_grad():
        loop.d[3].bias.fill_(100.0)
    loop.run(scripted(loop, *ASKED), 3)
    assert all(parameter.isfinite().all() for parameter in loop.d.parameters())


def test_a_gradient_that_is_not_finite_is_left_out_and_said(scripted, caplog, monkeypatch):
    monkeypatch.setattr(penalty, "r1_penalty", lambda d, images: d(images).mean() * float("inf"))
    loop = Plain()
    with caplog.at_level(logging.WARNING, "counterpoise"):
        loop.run(scripted(loop, *ASKED), 3)
    assert all(parameter.isfinite().all() for parameter in loop.d.parameters())
    assert sum("R1's gradient was not finite" in r.message for r in caplog.records) == 1


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
    loop.d_optimizer = torch.optim.SGD(loop.d.parameters(), 1e-3)
    parameters = list(loop.d.parameters())
    actions = [Action(r1_weight=weight, probe_discriminator=step == 3) for step in range(12)]
    loop.run(scripted(loop, *actions, sensors_every=1), 12)
    assert all(a is b for a, b in zip(parameters, loop.d.parameters(), strict=True))


@pytest.mark.parametrize("fused", [False, True])
def test_under_amp_it_is_what_it_is_without(scripted, fused):
    """A fused optimizer divides by the scale itself, so its gradients are scaled yet."""
    weights = []
    for scale in (None, 1024.0):
        torch.manual_seed(1)
        loop = Plain()
        loop.d_optimizer = torch.optim.Adam(loop.d.parameters(), 1e-2, fused=fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale or 1.0, enabled=scale is not None)
        balance = scripted(loop, *ASKED, grad_scaler=scaler)
        real, noise = loop.batch()
        with balance.d_step():
            on_real, on_fake = loop.d(real), loop.d(loop.g(noise).detach())
            loss = loop.criterion(on_real, torch.ones_like(on_real))
            loss = loss + loop.criterion(on_fake, torch.zeros_like(on_fake))
            scaler.scale(loss).backward()
            scaler.step(loop.d_optimizer)
        weights.append([p.detach().clone() for p in loop.d.parameters()])
    for plain, scaled in zip(*weights, strict=True):
        torch.testing.assert_close(plain, scaled)


def test_a_wrapper_that_unscales_in_its_step_is_looked_into(scripted):
    class Wrapper:
        """As Accelerate's and Fabric's."""

        def __init__(self, optimizer, scale):
            self.optimizer, self.scale = optimizer, scale
            self.param_groups, self.zero_grad = optimizer.param_groups, optimizer.zero_grad

        def step(self):
            for parameter in self.param_groups[0]["params"]:
                parameter.grad /= self.scale
            self.optimizer.step()

    Wrapper.__module__ = "accelerate.optimizer"
    weights = []
    for scale in (1.0, 1024.0):
        torch.manual_seed(1)
        loop = Plain()
        loop.d_optimizer = Wrapper(loop.d_optimizer, scale)
        balance = scripted(loop, *ASKED)
        real, noise = loop.batch()
        with balance.d_step():
            on_real, on_fake = loop.d(real), loop.d(loop.g(noise).detach())
            loss = loop.criterion(on_real, torch.ones_like(on_real))
            loss = loss + loop.criterion(on_fake, torch.zeros_like(on_fake))
            (scale * loss).backward()
            loop.d_optimizer.step()
        weights.append([p.detach().clone() for p in loop.d.parameters()])
    for plain, scaled in zip(*weights, strict=True):
        torch.testing.assert_close(plain, scaled)


def in_two_processes(rank, folder):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=2
    )
    loop = Plain()
    loop.d = nn.parallel.DistributedDataParallel(loop.d)
    handle.build_policy = lambda *_: Scripted(*ASKED)
    with loop.balance("none") as balance:
        loop.run(balance, 3, seed=rank)
    torch.save([p.detach() for p in loop.d.parameters()], folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_add_the_same(tmp_path):
    torch.multiprocessing.spawn(in_two_processes, (tmp_path,), nprocs=2)
    one, other = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert same(one, other)


def test_auto_trains_with_r1_where_d_leads():
    """Through the real policy: G stands still, so D soon tells its images from noise."""
    loop = Plain()
    loop.d_optimizer = torch.optim.Adam(loop.d.parameters(), 1e-2)
    loop.g_optimizer = torch.optim.Adam(loop.g.parameters(), 1e-5)
    with loop.balance("auto", policy_options={"r1": 0.1}) as balance:
        loop.run(balance, 60)
        assert balance.action.r1_weight == 0.1
