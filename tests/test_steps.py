"""Which network gets which gradient."""

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from counterpoise.actuators.inputs import InputChange
from counterpoise.actuators.lecam import lecam_penalty
from counterpoise.config import AdversarialLossConfig, LossConfig
from counterpoise.losses.adversarial import ADVERSARIAL_FORMS
from counterpoise.losses.generator_loss import GeneratorLoss
from counterpoise.records import Action
from counterpoise.training.steps import DiscriminatorStep, GeneratorStep, update_average

FABRIC = Fabric(accelerator="cpu", devices=1)


class TinyDiscriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Tanh(), nn.Conv2d(2, 1, 3))

    def forward(self, images):
        return self.layers(images).mean((2, 3))


def game(form="non-saturating", **adversarial):
    torch.manual_seed(0)
    g, d = nn.Conv2d(3, 3, 3, padding=1), TinyDiscriminator()
    config = LossConfig(adversarial=AdversarialLossConfig(form=form, weight=1.0, **adversarial))
    entry = ADVERSARIAL_FORMS[form]
    d_step = DiscriminatorStep(
        FABRIC, d, torch.optim.SGD(d.parameters(), lr=1.0), entry, config.adversarial
    )
    g_step = GeneratorStep(
        FABRIC,
        g,
        torch.optim.SGD(g.parameters(), lr=1.0),
        GeneratorLoss(config, entry, None),
        entry,
        d,
    )
    lr, real = torch.rand(4, 3, 8, 8), torch.rand(4, 3, 8, 8)
    return g_step, d_step, lr, real


def update(d_step, real, fake, on_real=True, on_fake=True, step=0, **changes):
    judgement = d_step.judge(real, fake)
    noise = torch.Generator().manual_seed(0)
    action = Action(d_trains_on_real=on_real, d_trains_on_fake=on_fake, **changes)
    return d_step.update(judgement, real, fake, action, step=step, noise=noise)


def weights(module):
    return [p.detach().clone() for p in module.parameters()]


def same(before, module):
    return all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))


@pytest.mark.parametrize("form", ADVERSARIAL_FORMS)
def test_each_step_touches_its_own_network(form):
    g_step, d_step, lr, real = game(form)
    g_before, d_before = weights(g_step.g), weights(d_step.d)
    fake = g_step.generate(lr)
    update(d_step, real, fake)
    assert same(g_before, g_step.g)
    assert all(p.grad is None for p in g_step.g.parameters())
    assert not same(d_before, d_step.d)

    d_before = weights(d_step.d)
    d_gradients = [p.grad.clone() for p in d_step.d.parameters()]
    g_step.update(fake, real, 1.0, train=True)
    assert same(d_before, d_step.d)
    assert not same(g_before, g_step.g)
    for before, parameter in zip(d_gradients, d_step.d.parameters(), strict=True):
        assert torch.equal(before, parameter.grad)
        assert parameter.requires_grad


def test_the_generators_gradient_is_that_of_its_loss():
    g_step, d_step, lr, real = game()
    fake = g_step.generate(lr)
    loss = nn.functional.mse_loss(fake, real) + nn.functional.softplus(-d_step.d(fake)).mean()
    expected = torch.autograd.grad(loss, list(g_step.g.parameters()))
    before = weights(g_step.g)
    terms = g_step.update(g_step.generate(lr), real, 1.0, train=True).terms
    for old, new, gradient in zip(before, g_step.g.parameters(), expected, strict=True):
        torch.testing.assert_close(old - new, gradient)
    assert sum(terms.values()).item() == pytest.approx(loss.item())


def test_the_adversarial_weight_scale_scales_that_term_only():
    g_step, _, lr, real = game()
    full = g_step.update(g_step.generate(lr), real, 1.0, train=False).terms
    half = g_step.update(g_step.generate(lr), real, 0.5, train=False).terms
    assert half["adversarial"].item() == pytest.approx(full["adversarial"].item() / 2)
    assert half["pixel"].item() == pytest.approx(full["pixel"].item())


def test_measuring_trains_nothing():
    g_step, _, lr, real = game()
    before = weights(g_step.g)
    measured = g_step.update(g_step.generate(lr), real, 1.0, train=False)
    assert same(before, g_step.g)
    assert set(measured.terms) == {"pixel", "adversarial"}
    assert measured.fake_logits.shape == (4, 1)


@pytest.mark.parametrize(("on_real", "on_fake"), [(True, False), (False, True)])
def test_half_a_loss_gives_half_the_gradient(on_real, on_fake):
    g_step, d_step, lr, real = game()
    fake = g_step.generate(lr)
    judgement = d_step.judge(real, fake)
    half = judgement.loss_real if on_real else judgement.loss_fake
    expected = torch.autograd.grad(half, list(d_step.d.parameters()))
    before = weights(d_step.d)
    update(d_step, real, fake, on_real, on_fake)
    for old, new, gradient in zip(before, d_step.d.parameters(), expected, strict=True):
        torch.testing.assert_close(old - new, gradient)


def test_penalties_are_added_and_lazy():
    g_step, d_step, lr, real = game(r1=2.0, r2=1.0, gradient_penalty=3.0, penalties_every=4)
    fake = g_step.generate(lr)
    assert update(d_step, real, fake, step=1).item() == 0
    lazy = update(game(r1=2.0, penalties_every=4)[1], real, fake, step=4).item()
    eager = update(game(r1=2.0)[1], real, fake, step=3).item()
    assert eager > 0
    assert lazy == pytest.approx(4 * eager)
    assert update(d_step, real, fake, step=4).item() > 0


def test_batch_norm_statistics_do_not_break_two_passes():
    d = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.LazyLinear(1))
    real, fake = torch.rand(4, 3, 8, 8), torch.rand(4, 3, 8, 8)
    d(real)
    form = ADVERSARIAL_FORMS["non-saturating"]
    d_step = DiscriminatorStep(
        FABRIC, d, torch.optim.Adam(d.parameters()), form, AdversarialLossConfig(weight=1)
    )
    before = weights(d)
    update(d_step, real, fake)
    assert not same(before, d)


def test_average_moves_towards_the_weights_and_starts_short():
    average, module = nn.Linear(2, 2), nn.Linear(2, 2)
    start, target = weights(average), weights(module)
    update_average(average, module, decay=0.999, step=0)
    for a, b, now in zip(start, target, average.parameters(), strict=True):
        torch.testing.assert_close(now.detach(), 0.1 * a + 0.9 * b)
    late = weights(average)
    update_average(average, module, decay=0.5, step=10**6)
    for a, b, now in zip(late, target, average.parameters(), strict=True):
        torch.testing.assert_close(now.detach(), 0.5 * a + 0.5 * b)


def test_r1_that_a_policy_asks_for_is_added_to_what_is_configured():
    g_step, configured, lr, real = game(r1=0.9)
    fake = g_step.generate(lr).detach()
    whole = update(configured, real, fake)
    _, half, *_ = game(r1=0.4)
    assert update(half, real, fake, r1_weight=0.5).item() == pytest.approx(whole.item())
    for a, b in zip(configured.d.parameters(), half.d.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_lecam_is_added_to_ds_loss():
    g_step, d_step, lr, real = game()
    fake = g_step.generate(lr)
    judgement = d_step.judge(real, fake)
    penalty = lecam_penalty(judgement.real_logits, judgement.fake_logits, 0.7, -0.7)
    loss = judgement.loss_real + judgement.loss_fake + 3 * penalty
    expected = torch.autograd.grad(loss, list(d_step.d.parameters()))
    before = weights(d_step.d)
    anchors = {"lecam_real_anchor": 0.7, "lecam_fake_anchor": -0.7}
    added = update(d_step, real, fake, lecam_weight=3.0, **anchors)
    assert added.item() == pytest.approx(3 * penalty.item())
    for old, new, gradient in zip(before, d_step.d.parameters(), expected, strict=True):
        torch.testing.assert_close(old - new, gradient)


@pytest.mark.parametrize("form", ["non-saturating", "relativistic-average"])
def test_g_learns_from_what_d_is_shown(form):
    g_step, _, lr, real = game(form)
    inputs = InputChange(noise_std=0.2, augment_probability=0.7)
    fake = g_step.generate(lr)
    fake_logits = g_step.d(inputs.fake(fake))
    real_logits = g_step.d(inputs.real(real))
    adversarial = ADVERSARIAL_FORMS[form].g_loss(real_logits, fake_logits)
    expected = torch.autograd.grad(adversarial, fake)[0]
    update = g_step.update(g_step.generate(lr), real, 1.0, train=True, inputs=inputs)
    torch.testing.assert_close(update.fake_logits, fake_logits)
    torch.testing.assert_close(update.adversarial_gradient, expected)
    difference = fake.detach() - real
    torch.testing.assert_close(update.content_gradient, 2 * difference / difference.numel())
