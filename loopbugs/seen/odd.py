"""Correct loops whose backward passes or optimizers are unusual."""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from loopbugs.common import adam, discriminator, generator, loop, mlp, noise

BCE = F.binary_cross_entropy_with_logits


def judged(d, images, label):
    """D's loss where all of these images have one label."""
    logits = d(images)
    return BCE(logits, torch.full_like(logits, label))


@loop()
def unrolled(run, bug):
    """An unrolled GAN: D looks ahead in G's part, and goes back."""
    g, d = generator(), discriminator()
    opt_g, opt_d = adam(g), adam(d)
    balance = run.watch(g, d, opt_g, opt_d)

    def d_update(real):
        opt_d.zero_grad()
        (judged(d, real, 1.0) + judged(d, g(noise()).detach(), 0.0)).backward()
        opt_d.step()

    for real in run.batches():
        balance.d_step()
        d_update(real)
        balance.g_step()
        kept = copy.deepcopy(d.state_dict())
        for _ in range(2):
            d_update(real)
        opt_g.zero_grad()
        judged(d, g(noise()), 1.0).backward()
        opt_g.step()
        d.load_state_dict(kept)


@loop()
def balancer(run, bug):
    """Gradients at G's output are weighed by their norms and passed on, as EnCodec's are."""
    g, d = generator(), discriminator()
    opt_g, opt_d = adam(g), adam(d)
    balance = run.watch(g, d, opt_g, opt_d)
    for real in run.batches():
        fake = g(noise())
        balance.d_step()
        opt_d.zero_grad()
        (F.relu(1 - d(real)).mean() + F.relu(1 + d(fake.detach())).mean()).backward()
        opt_d.step()
        balance.g_step()
        opt_g.zero_grad()
        losses = [F.l1_loss(fake, real), -d(fake).mean()]
        slopes = [torch.autograd.grad(loss, fake, retain_graph=True)[0] for loss in losses]
        fake.backward(sum(slope / (slope.norm() + 1e-8) for slope in slopes))
        opt_g.step()


@loop()
def passed_on(run, bug):
    """The same for one loss, by a leaf that stands for G's output."""
    g, d = generator(), discriminator()
    opt_g, opt_d = adam(g), adam(d)
    balance = run.watch(g, d, opt_g, opt_d)
    for real in run.batches():
        fake = g(noise())
        balance.d_step()
        opt_d.zero_grad()
        (F.relu(1 - d(real)).mean() + F.relu(1 + d(fake.detach())).mean()).backward()
        opt_d.step()
        balance.g_step()
        opt_g.zero_grad()
        leaf = fake.detach().requires_grad_()
        (-d(leaf).mean()).backward()
        fake.backward(leaf.grad)
        opt_g.step()


def with_an_encoder(run, *, is_between, g_steps):
    """A third network reads G's images, and its loss reaches G by an optimizer of its own."""
    g, d, reader = generator(), discriminator(), mlp(64, 16, 8)
    opt_g, opt_d, opt_reader = adam(g), adam(d), adam(g, reader)
    balance = run.watch(g, d, opt_g, opt_d)
    for real in run.batches():
        balance.d_step()
        opt_d.zero_grad()
        (judged(d, real, 1.0) + judged(d, g(noise()).detach(), 0.0)).backward()
        opt_d.step()
        balance.g_step()
        for _ in range(g_steps):
            opt_g.zero_grad()
            judged(d, g(noise()), 1.0).backward()
            opt_g.step()
            if is_between:
                balance.end_step()
            given = noise()
            reader.zero_grad()
            F.mse_loss(reader(g(given).flatten(1)), given).backward()
            opt_reader.step()


@loop()
def encoder_in_g_part(run, bug):
    """In G's part, which has two steps."""
    with_an_encoder(run, is_between=False, g_steps=2)


@loop()
def encoder_between_parts(run, bug):
    """Behind G's part, in none."""
    with_an_encoder(run, is_between=True, g_steps=1)


class Pairs(nn.Module):
    """A D that compares two points."""

    def __init__(self):
        super().__init__()
        self.body = mlp(2, 16, 1)

    def forward(self, real, fake):
        return self.body(real), self.body(fake)


@loop()
def pair_of_points(run, bug):
    """A relativistic D that takes real and fake points, as many numbers as G's noise has."""
    g, d = mlp(2, 16, 2), Pairs()
    opt_g, opt_d = adam(g), adam(d)
    balance = run.watch(g, d, opt_g, opt_d)
    for real in run.batches(lambda seed: torch.randn(16, 2, generator=seed)):
        fake = g(torch.randn(16, 2))
        balance.d_step()
        opt_d.zero_grad()
        on_real, on_fake = d(real, fake.detach())
        F.softplus(on_fake - on_real).mean().backward()
        opt_d.step()
        balance.g_step()
        opt_g.zero_grad()
        on_real, on_fake = d(real, fake)
        F.softplus(on_real - on_fake).mean().backward()
        opt_g.step()


class Reversal(torch.autograd.Function):
    """Passes values on, and gradients with the other sign."""

    @staticmethod
    def forward(context, values):
        return values.view_as(values)

    @staticmethod
    def backward(context, gradient):
        return -gradient


@loop()
def reversed_gradient(run, bug):
    """One optimizer for all, the gradient turned between the features and D (DANN)."""
    features, head, d = mlp(64, 16), mlp(16, 4), mlp(16, 1)
    optimizer = torch.optim.SGD([*features.parameters(), *head.parameters(), *d.parameters()], 1e-2)
    balance = run.watch(features, d, optimizer, optimizer)
    for source in run.batches():
        target, classes = source.flip(-1), torch.randint(4, (8,))
        balance.d_step()
        balance.g_step()
        optimizer.zero_grad()
        of_source, of_target = features(source.flatten(1)), features(target.flatten(1))
        domain = judged(d, Reversal.apply(of_source), 0.0)
        domain = domain + judged(d, Reversal.apply(of_target), 1.0)
        (F.cross_entropy(head(of_source), classes) + domain).backward()
        optimizer.step()


@loop()
def penalty_of_one_image(run, bug):
    """A critic with a penalty, a batch of one image, two steps (SinGAN)."""
    g, critic = generator(), discriminator()
    opt_g, opt_d = adam(g), adam(critic)
    balance = run.watch(g, critic, opt_g, opt_d)
    for batch in run.batches():
        real = batch[:1]
        for _ in range(2):
            balance.d_step()
            opt_d.zero_grad()
            fake, epsilon = g(noise(1)).detach(), torch.rand(1, 1)
            mixed = (epsilon * real + (1 - epsilon) * fake).requires_grad_()
            (slope,) = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
            loss = critic(fake).mean() - critic(real).mean()
            (loss + 0.1 * (slope.flatten(1).norm(2, 1) - 1).square().mean()).backward()
            opt_d.step()
        balance.g_step()
        opt_g.zero_grad()
        (-critic(g(noise(1))).mean()).backward()
        opt_g.step()


@loop()
def energy(run, bug):
    """A D that is an autoencoder, whose error is its loss (EBGAN): there is no score to read."""
    g = generator()
    d = nn.Sequential(nn.Flatten(), mlp(64, 16, 64), nn.Unflatten(1, (1, 8, 8)))
    opt_g, opt_d = adam(g), adam(d)
    balance = run.watch(g, d, opt_g, opt_d)
    for real in run.batches():
        fake = g(noise())
        balance.d_step()
        opt_d.zero_grad()
        made = fake.detach()
        (F.mse_loss(d(real), real) + F.relu(1 - F.mse_loss(d(made), made))).backward()
        opt_d.step()
        balance.g_step()
        opt_g.zero_grad()
        F.mse_loss(d(fake), fake).backward()
        opt_g.step()


@loop()
def map_as_large_as_the_image(run, bug):
    """A U-Net D of grey images: its map of logits has their shape."""
    g, d = generator(), nn.Sequential(nn.Conv2d(1, 8, 3, 1, 1), nn.ReLU(), nn.Conv2d(8, 1, 3, 1, 1))
    opt_g, opt_d = adam(g), adam(d)
    balance = run.watch(g, d, opt_g, opt_d)
    for real in run.batches():
        fake = g(noise())
        balance.d_step()
        opt_d.zero_grad()
        (judged(d, real, 1.0) + judged(d, fake.detach(), 0.0)).backward()
        opt_d.step()
        balance.g_step()
        opt_g.zero_grad()
        judged(d, fake, 1.0).backward()
        opt_g.step()
