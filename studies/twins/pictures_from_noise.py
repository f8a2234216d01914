"""Games in which a generator makes pictures from noise: D is all that it learns from."""

import networks
import torch
import torch.nn.functional as F
from measures import digit_measures, doubled, photograph_judge, small_photograph_judge
from torch import Tensor
from trial import Course, Measures, Trial, adam, bce

import counterpoise as cp
from data import crops, digits

LATENTS, DIGIT_LATENTS = 64, 32


def _held_out_latents(count: int, latents: int) -> Tensor:
    return torch.randn(count, latents, generator=torch.Generator().manual_seed(0))


def dcgan(trial: Trial, d_learning_rate: float = 2e-4, d_head_start_steps: int = 0) -> Measures:
    """Photographs of 32 pixels, as PyTorch's tutorial has it."""
    g, d = networks.dcgan_generator(LATENTS), networks.dcgan_discriminator()
    g_optimizer, d_optimizer = adam(g, 2e-4), adam(d, d_learning_rate)

    def measure() -> Measures:
        return {"frechet": photograph_judge(trial.data)(g(_held_out_latents(250, LATENTS)))}

    for _ in range(d_head_start_steps):
        d_optimizer.zero_grad()
        real = crops(trial.data, 32)
        (bce(d(real), 1.0) + bce(d(g(torch.randn(32, LATENTS)).detach()), 0.0)).backward()
        d_optimizer.step()

    balance = cp.Balance(g, d, g_optimizer, d_optimizer, policy=trial.policy)
    course = Course(trial.turns or 250, balance, g, measure)
    for _ in course.turns():
        for _ in range(balance.action.d_steps):
            balance.d_step()
            d_optimizer.zero_grad()
            bce(d(crops(trial.data, 32)), 1.0).backward()
            fake = g(torch.randn(32, LATENTS))
            bce(d(fake.detach()), 0.0).backward()
            d_optimizer.step()
        balance.g_step()
        g_optimizer.zero_grad()
        bce(d(fake), 1.0).backward()
        g_optimizer.step()
    return course.measures()


def conditional_digits(trial: Trial, batch_size: int = 32, d_gate: float | None = None) -> Measures:
    """A conditional GAN on digits. D is trained only where its loss is over `d_gate`."""
    g, d = networks.DigitGenerator(DIGIT_LATENTS), networks.DigitDiscriminator()
    g_optimizer, d_optimizer = adam(g, 4e-4), adam(d, 1.6e-3)
    images, classes, _, _ = digits()

    def measure() -> Measures:
        y = torch.arange(10).repeat_interleave(100)
        return digit_measures(g(_held_out_latents(1000, DIGIT_LATENTS), y), y)

    balance = cp.Balance(g, d, g_optimizer, d_optimizer, policy=trial.policy)
    course = Course(trial.turns or 800, balance, g, measure)
    for _ in course.turns():
        for _ in range(balance.action.d_steps):
            chosen = torch.randint(len(images), (batch_size,))
            real, y = images[chosen], classes[chosen]
            with balance.d_step():
                d_optimizer.zero_grad()
                fake = g(torch.randn(batch_size, DIGIT_LATENTS), y).detach()
                loss = bce(d(real, y), 1.0) + bce(d(fake, y), 0.0)
                loss.backward()
                if d_gate is None or loss.item() > d_gate:
                    d_optimizer.step()
        with balance.g_step():
            g_optimizer.zero_grad()
            y = torch.randint(10, (batch_size,))
            bce(d(g(torch.randn(batch_size, DIGIT_LATENTS), y), y), 1.0).backward()
            g_optimizer.step()
    return course.measures()


def hinge(trial: Trial, batch_size: int = 32) -> Measures:
    """Photographs of 16 pixels, hinge loss, spectral normalisation (Miyato et al. 2018)."""
    g, d = networks.sngan_generator(LATENTS), networks.sngan_discriminator()
    g_optimizer, d_optimizer = adam(g, 2e-4, (0.0, 0.9)), adam(d, 2e-4, (0.0, 0.9))

    def measure() -> Measures:
        made = doubled(g(_held_out_latents(250, LATENTS)))
        return {"frechet": small_photograph_judge(trial.data)(made)}

    balance = cp.Balance(g, d, g_optimizer, d_optimizer, policy=trial.policy)
    course = Course(trial.turns or 250, balance, g, measure)
    for _ in course.turns():
        balance.d_step()
        d_optimizer.zero_grad()
        on_real = d(F.avg_pool2d(crops(trial.data, batch_size), 2))
        on_fake = d(g(torch.randn(batch_size, LATENTS)).detach())
        (F.relu(1 - on_real).mean() + F.relu(1 + on_fake).mean()).backward()
        d_optimizer.step()
        balance.g_step()
        g_optimizer.zero_grad()
        (-d(g(torch.randn(batch_size, LATENTS))).mean()).backward()
        g_optimizer.step()
    return course.measures()
