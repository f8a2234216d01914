"""Small networks, data and losses that the loops here share: images of 8 by 8, sounds of 64."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NOISE = 4


def generator() -> nn.Module:
    """From noise to images (N, 3, 8, 8) in -1 to 1."""
    return nn.Sequential(nn.Linear(NOISE, 192), nn.Tanh(), nn.Unflatten(1, (3, 8, 8)))


def upscaler() -> nn.Module:
    """From images (N, 3, 4, 4) to twice their size."""
    return nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2))


def translator(kernel: int = 3) -> nn.Module:
    """From images (N, 3, H, W) to such images."""
    return nn.Sequential(
        nn.Conv2d(3, 8, kernel, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1)
    )


def discriminator(channels: int = 3) -> nn.Module:
    """Logits (N, 1) of images (N, `channels`, 8, 8)."""
    layers = nn.Conv2d(channels, 8, 3, stride=2, padding=1), nn.LeakyReLU(0.2)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(128, 1))


class Waves(nn.Module):
    """A vocoder's D, of one period: answers on real and fake sounds, and features of both."""

    def __init__(self, period: int) -> None:
        super().__init__()
        self.period = period
        self.first, self.last = nn.Conv1d(period, 8, 3, padding=1), nn.Conv1d(8, 1, 3, padding=1)

    def judge(self, sound: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Scores and features of sounds (N, 1, 64)."""
        features = F.leaky_relu(self.first(sound.reshape(len(sound), self.period, -1)), 0.1)
        return self.last(features).flatten(1), [features]

    def forward(self, real: Tensor, fake: Tensor) -> tuple[list[Tensor], ...]:
        """What HiFi-GAN's discriminators return: scores of real and of fake, features of both."""
        (on_real, of_real), (on_fake, of_fake) = self.judge(real), self.judge(fake)
        return [on_real], [on_fake], of_real, of_fake


def bce(logits: Tensor, label: float) -> Tensor:
    """Binary cross entropy of logits with one label for all."""
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def images(seed: torch.Generator) -> Tensor:
    """A batch (8, 3, 8, 8) in -1 to 1."""
    return torch.rand(8, 3, 8, 8, generator=seed) * 2 - 1


def batches(turns: int) -> Iterator[Tensor]:
    """As many batches of images."""
    seed = torch.Generator().manual_seed(0)
    for _ in range(turns):
        yield images(seed)


def adam(*networks: nn.Module) -> torch.optim.Adam:
    """One optimizer for all the networks' parameters."""
    parameters = [each for network in networks for each in network.parameters()]
    return torch.optim.Adam(parameters, 2e-4, betas=(0.5, 0.999))
