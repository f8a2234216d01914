"""What reaches G in loops whose gradients come by several ways: read, and left as it is."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import counterpoise as cp
from counterpoise.records import Action
from loop_helpers import BATCH, Loop, same, scripted_balance, small_networks


class MultiScale(nn.Module):
    """A D that uses its images three times."""

    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList(small_networks(seed)[1] for seed in range(3))

    def forward(self, images):
        return torch.cat([part(images) for part in self.parts], 1)


def test_with_another_term_and_a_d_of_several_scales_training_is_bitwise_the_same():
    def train(watched):
        loop = Loop()
        loop.d = MultiScale()
        loop.d_optimizer = torch.optim.Adam(loop.d.parameters(), 1e-3)
        balance = loop.balance(sensors_every=1) if watched else None
        torch.manual_seed(1)
        for _ in range(10):
            real, noise = loop.batch()
            fake = loop.g(noise)
            if balance:
                balance.d_step()
            loop.d_part(real, fake)
            if balance:
                balance.g_step()
            loop.g_optimizer.zero_grad()
            ((loop.d(fake) - 1).square().mean() + 10 * F.l1_loss(fake, real)).backward()
            loop.g_optimizer.step()
        if balance:
            balance.end_step()
        return loop.state(), balance

    (bare, _), (watched, balance) = train(False), train(True)
    assert same(bare, watched)
    assert balance.readings.g_gradient_adversarial > 0
    assert balance.readings.g_gradient_content > 0


def one_turn(loop, g_part):
    """The readings after a turn whose G part is `g_part(fake, real)`."""
    balance = loop.balance(sensors_every=1)
    torch.manual_seed(1)
    real, noise = loop.batch()
    fake = loop.g(noise)
    balance.d_step()
    loop.d_part(real, fake)
    balance.g_step()
    g_part(fake, real)
    balance.end_step()
    return balance.readings


def test_ds_share_is_the_gradient_at_gs_output():
    expected = {}

    def g_part(fake, real):
        fake.retain_grad()
        terms = {"content": (fake - real).abs().mean(), "adversarial": -loop.d(fake).mean()}
        expected.update(
            (name, float(torch.autograd.grad(term, fake, retain_graph=True)[0].norm()))
            for name, term in terms.items()
        )
        sum(terms.values()).backward()

    loop = Loop()
    readings = one_turn(loop, g_part)
    # Those asked for by the loop itself, as for VQGAN's adaptive weight, are not added to them.
    assert readings.g_gradient_adversarial == pytest.approx(expected["adversarial"], rel=1e-5)
    assert readings.g_gradient_content == pytest.approx(expected["content"], rel=1e-5)


def test_batches_of_one_step_of_g_are_added_up():
    def g_part(fake, real):
        for _ in range(2):
            (F.softplus(-loop.d(fake)).mean() / 2).backward(retain_graph=True)

    loop = Loop()
    accumulated = one_turn(loop, g_part)
    assert accumulated.g_gradient_content == pytest.approx(0, abs=1e-6)
    loop = Loop()
    whole = one_turn(loop, lambda fake, real: F.softplus(-loop.d(fake)).mean().backward())
    # D's spectral normalisation takes a step in each pass.
    assert accumulated.g_gradient_adversarial == pytest.approx(
        whole.g_gradient_adversarial, rel=1e-4
    )


def test_batches_of_several_sizes_show_no_share():
    def g_part(fake, real):
        for count in (8, 5):
            F.softplus(-loop.d(loop.g(torch.randn(count, 4)))).mean().backward()

    loop = Loop()
    readings = one_turn(loop, g_part)
    assert readings.g_gradient_adversarial is None
    assert readings.g_gradient_norm is None  # G's optimizer did not step
    assert readings.d_gradient_norm > 0


def test_a_condition_beside_the_image_shows_no_share():
    """pix2pix: D's input is larger than what G makes."""
    torch.manual_seed(0)
    g = nn.Conv2d(3, 3, 3, padding=1)
    d = nn.Sequential(nn.Conv2d(6, 4, 4, 2, 1), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(64, 1))
    optimizers = [torch.optim.Adam(net.parameters(), 1e-3) for net in (g, d)]
    balance = cp.Balance(g, d, *optimizers, policy="none", sensors_every=1)
    for _ in range(2):
        condition, real = torch.rand(2, 4, 3, 8, 8)
        fake = g(condition)
        with balance.d_step():
            optimizers[1].zero_grad()
            on_real = d(torch.cat([condition, real], 1))
            on_fake = d(torch.cat([condition, fake.detach()], 1))
            ((on_real - 1).square().mean() + on_fake.square().mean()).backward()
            optimizers[1].step()
        with balance.g_step():
            optimizers[0].zero_grad()
            on_fake = d(torch.cat([condition, fake], 1))
            ((on_fake - 1).square().mean() + 100 * F.l1_loss(fake, real)).backward()
            optimizers[0].step()
    assert balance.step == 2
    assert balance.readings.g_gradient_adversarial is None
    assert balance.readings.g_gradient_norm > 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_networks_of_other_types_are_asked_in_theirs(dtype):
    loop = Loop()
    # Spectral normalisation needs float32 or more.
    loop.d[0] = nn.Conv2d(1, 4, 4, 2, 1)
    for network in (loop.g, loop.d):
        network.to(dtype)
    balance = loop.balance(sensors_every=1, held_out=torch.rand(4, 1, 8, 8))
    for _ in range(10):
        real, noise = (each.to(dtype) for each in loop.batch())
        fake = loop.g(noise)
        balance.d_step()
        loop.d_part(real, fake)
        balance.g_step()
        loop.g_part(fake)
    balance.end_step()
    assert balance.readings.d_accuracy_held_out is not None
    assert balance.readings.auc_quantised is not None


def test_d_is_asked_about_held_out_images_as_it_sees_those_of_its_training(monkeypatch):
    loop, seen = Loop(), []
    loop.d.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    noisy = Action(noise_std=3.0)
    held_out = torch.zeros(BATCH + 1, 1, 8, 8)
    balance, _ = scripted_balance(
        monkeypatch, loop, noisy, noisy, sensors_every=1, held_out=held_out
    )
    loop.run(balance, 2)
    (first, second) = [images for images in seen if len(images) == BATCH + 1]
    # What is done to D's inputs follows the action of the turn before.
    assert torch.equal(first, held_out)
    assert second.std().item() == pytest.approx(3, rel=0.2)
