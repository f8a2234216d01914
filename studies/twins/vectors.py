"""The game with vectors: rows of a table."""

import torch
import torch.nn.functional as F
from measures import table_measures
from torch import Tensor, nn
from trial import Course, Measures, Trial, adam

import counterpoise as cp
from data import CATEGORIES, NUMBERS, tables

LATENTS, BATCH_SIZE, CRITIC_STEPS = 32, 128, 3


class Generator(nn.Module):
    """CTGAN's: layers beside their inputs, tanh for numbers, Gumbel's softmax for categories."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(LATENTS, width), nn.Linear(LATENTS + width, width)
        self.first_norm, self.second_norm = nn.BatchNorm1d(width), nn.BatchNorm1d(width)
        self.last = nn.Linear(LATENTS + 2 * width, NUMBERS + sum(CATEGORIES))

    def forward(self, z: Tensor) -> Tensor:
        x = torch.cat([F.relu(self.first_norm(self.first(z))), z], 1)
        x = torch.cat([F.relu(self.second_norm(self.second(x))), x], 1)
        numbers, *logits = self.last(x).split([NUMBERS, *CATEGORIES], 1)
        categories = [F.gumbel_softmax(each, tau=0.2) for each in logits]
        return torch.cat([numbers.tanh(), *categories], 1)


class Critic(nn.Module):
    """Judges packs of rows, as PacGAN does."""

    def __init__(self, columns: int, pack: int = 4) -> None:
        super().__init__()
        self.size = pack * columns
        first = nn.Linear(self.size, 128), nn.LeakyReLU(0.2)
        second = nn.Linear(128, 128), nn.LeakyReLU(0.2)
        self.layers = nn.Sequential(*first, *second, nn.Linear(128, 1))

    def forward(self, rows: Tensor) -> Tensor:
        return self.layers(rows.view(-1, self.size))

    def penalty(self, real: Tensor, fake: Tensor) -> Tensor:
        """WGAN-GP's, over packs (Gulrajani et al. 2017)."""
        real, fake = real.view(-1, self.size), fake.view(-1, self.size)
        alpha = torch.rand(len(real), 1)
        between = (alpha * real + (1 - alpha) * fake).requires_grad_(True)
        (slope,) = torch.autograd.grad(self(between).sum(), between, create_graph=True)
        return ((slope.norm(2, dim=1) - 1) ** 2).mean()


def wgan_gp_tables(trial: Trial, learning_rate: float = 2e-4) -> Measures:
    """WGAN-GP on rows of a table, with three critic steps of its own (Xu et al. 2019)."""
    rows = tables()[0]
    generator, discriminator = Generator(), Critic(rows.shape[1])
    betas = (0.5, 0.9)
    optimizer_g = adam(generator, learning_rate, betas)
    optimizer_d = adam(discriminator, learning_rate, betas)

    def measure() -> Measures:
        torch.manual_seed(0)  # Gumbel's softmax draws too
        made = generator(torch.randn(4000, LATENTS))
        numbers, *soft = made.split([NUMBERS, *CATEGORIES], 1)
        one_hot = [F.one_hot(each.argmax(1), each.shape[1]).float() for each in soft]
        return table_measures(torch.cat([numbers, *one_hot], 1))

    balance = cp.Balance(generator, discriminator, optimizer_g, optimizer_d, policy=trial.policy)
    course = Course(trial.turns or 500, balance, generator, measure)
    for _ in course.turns():
        for _ in range(CRITIC_STEPS):
            balance.d_step()
            real = rows[torch.randint(len(rows), (BATCH_SIZE,))]
            fake = generator(torch.randn(BATCH_SIZE, LATENTS)).detach()
            on_fake, on_real = discriminator(fake), discriminator(real)
            penalty = discriminator.penalty(real, fake) * 10
            optimizer_d.zero_grad()
            penalty.backward(retain_graph=True)
            (on_fake.mean() - on_real.mean()).backward()
            optimizer_d.step()
        balance.g_step()
        loss = -discriminator(generator(torch.randn(BATCH_SIZE, LATENTS))).mean()
        optimizer_g.zero_grad()
        loss.backward()
        optimizer_g.step()
    return course.measures()
