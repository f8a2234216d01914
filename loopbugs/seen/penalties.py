"""Wasserstein losses, gradient penalties, clipping, and averages of G."""

import copy

import torch
import torch.nn.functional as F
from torch import autograd, nn

from loopbugs.common import adam, bug, discriminator, generator, loop, noise


@loop(
    bug("penalty-epsilon", "penalty-one-epsilon", "penalty-epsilon", name="one-epsilon"),
    bug("penalty-epsilon", "penalty-epsilon", name="real-with-real"),
    bug("penalty-norm", "penalty-norm", name="norm-of-channels"),
    bug("penalty-unused", "penalty-unused"),
    bug("penalty-sign", "penalty-sign"),
)
def wgan_gp(run, bug):
    """Two steps of the critic for one of G."""
    gen, critic = generator(batch_norm=True), discriminator()
    opt_gen, opt_critic = adam(gen, learning_rate=1e-4), adam(critic, learning_rate=1e-4)
    balance = run.watch(gen, critic, opt_gen, opt_critic)

    def gradient_penalty(real, fake):
        alpha = torch.rand(1) if bug == "one-epsilon" else torch.rand(len(real), 1, 1, 1)
        mixed = (real * alpha + fake * (1 - alpha)).requires_grad_(True)
        scores = critic(mixed)
        gradient = autograd.grad(scores, mixed, torch.ones_like(scores), create_graph=True)[0]
        if bug == "norm-of-channels":
            return ((gradient.norm(2, dim=1) - 1) ** 2).mean()
        return ((gradient.flatten(1).norm(2, dim=1) - 1) ** 2).mean()

    for real in run.batches():
        for _ in range(2):
            balance.d_step()
            fake = gen(noise()).detach()
            penalty = gradient_penalty(real, real if bug == "real-with-real" else fake)
            loss_critic = critic(fake).mean() - critic(real).mean()
            if bug != "penalty-unused":
                weight = -10 if bug == "penalty-sign" else 10
                loss_critic = loss_critic + weight * penalty
            opt_critic.zero_grad()
            loss_critic.backward()
            opt_critic.step()
        balance.g_step()
        loss_gen = -critic(gen(noise())).mean()
        opt_gen.zero_grad()
        loss_gen.backward()
        opt_gen.step()


@loop(bug("clip-missing", "clip-missing"), bug("sigmoid-in-critic", "sigmoid-in-critic"))
def wgan(run, bug):
    """The critic's weights are clipped after each of its steps."""
    G, C = generator(), discriminator(end=nn.Sigmoid() if bug == "sigmoid-in-critic" else None)
    g_opt = torch.optim.RMSprop(G.parameters(), lr=5e-5)
    c_opt = torch.optim.RMSprop(C.parameters(), lr=5e-5)
    balance = run.watch(G, C, g_opt, c_opt)
    for real in run.batches():
        for _ in range(2):
            balance.d_step()
            c_opt.zero_grad()
            loss = -(torch.mean(C(real)) - torch.mean(C(G(noise()).detach())))
            loss.backward()
            c_opt.step()
            if bug != "clip-missing":
                for p in C.parameters():
                    p.data.clamp_(-0.01, 0.01)
        balance.g_step()
        g_opt.zero_grad()
        (-torch.mean(C(G(noise())))).backward()
        g_opt.step()


@loop(
    bug("ema-frozen", "ema-frozen"),
    bug("clip-late", "clip-after-step"),
    bug("ema-trained", "ema-trained"),
)
def stylegan(run, bug):
    """R1 in a step of its own every fourth time, an average of G, gradients clipped."""
    generator_, disc = generator(), discriminator()
    g_ema = copy.deepcopy(generator_)
    g_optim, d_optim = adam(generator_), adam(disc)
    balance = run.watch(generator_, disc, g_optim, d_optim)

    def requires_grad(model, flag):
        for p in model.parameters():
            p.requires_grad = flag

    def accumulate(decay=0.99):
        for slow, fast in zip(g_ema.parameters(), generator_.parameters(), strict=True):
            if bug == "ema-frozen":
                slow.data.clone().mul_(decay).add_(fast.data, alpha=1 - decay)
            elif bug == "ema-trained":
                fast.data.mul_(decay).add_(slow.data, alpha=1 - decay)
            else:
                slow.data.mul_(decay).add_(fast.data, alpha=1 - decay)

    for i, real in enumerate(run.batches()):
        balance.d_step()
        requires_grad(generator_, False)
        requires_grad(disc, True)
        fake_pred, real_pred = disc(generator_(noise())), disc(real)
        d_loss = F.softplus(-real_pred).mean() + F.softplus(fake_pred).mean()
        disc.zero_grad()
        d_loss.backward()
        d_optim.step()
        if i % 4 == 0:
            image = real.detach().requires_grad_(True)
            (grad,) = autograd.grad(disc(image).sum(), image, create_graph=True)
            disc.zero_grad()
            (5 * 4 * grad.pow(2).flatten(1).sum(1).mean()).backward()
            d_optim.step()
        balance.g_step()
        requires_grad(generator_, True)
        requires_grad(disc, False)
        g_loss = F.softplus(-disc(generator_(noise()))).mean()
        generator_.zero_grad()
        g_loss.backward()
        if bug == "clip-late":
            g_optim.step()
            torch.nn.utils.clip_grad_norm_(generator_.parameters(), 1.0)
        else:
            torch.nn.utils.clip_grad_norm_(generator_.parameters(), 1.0)
            g_optim.step()
        accumulate()
        if i % 5 == 0:
            with torch.no_grad():
                g_ema(noise(4))
