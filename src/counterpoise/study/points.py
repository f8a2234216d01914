"""Mixtures of Gaussians in the plane: the ring of 8 and the grid of 25."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from counterpoise.metrics.modes import mode_coverage
from counterpoise.metrics.sliced_wasserstein import sliced_wasserstein_points
from counterpoise.study.setting import Setting
from counterpoise.study.task import TRAINING_SET_SEED, Batch, drawn, perceptron

NOISE_DIMENSIONS = 8
G_WIDTH = 128
# The usual number (Lin et al. 2018, PacGAN).
MEASURED_SAMPLES = 2500
# Seeds of what every training is measured with; no training draws from them.
MEASURE_SEED = 987_654


def ring_centres() -> Tensor:
    """Eight points on a circle of radius 2 (Metz et al. 2017), (8, 2)."""
    angle = torch.arange(8) * (torch.pi / 4)
    return 2 * torch.stack([angle.cos(), angle.sin()], dim=1)


def grid_centres() -> Tensor:
    """5 x 5 points in [-2, 2] (half of the usual spacing and deviation), (25, 2)."""
    side = torch.arange(-2.0, 3.0)
    return torch.cartesian_prod(side, side)


@dataclass
class Points:
    """Equally weighted Gaussians around centres."""

    description: str
    centres: Tensor
    std: float
    setting: Setting
    score_name: str = "high_quality_coverage"
    higher_is_better: bool = True

    def networks(self, setting: Setting, seed: int) -> tuple[nn.Module, nn.Module]:
        generator = perceptron([NOISE_DIMENSIONS, G_WIDTH, G_WIDTH, 2], 0.0)
        width = setting.d_width
        return generator, perceptron([2, width, width, 1], 0.2, setting.d_norm)

    def batches(self, setting: Setting, seed: int) -> Iterator[Batch]:
        draw = torch.Generator().manual_seed(seed)
        picked = None
        if setting.train_samples:
            pool = self._real(
                setting.train_samples, torch.Generator().manual_seed(TRAINING_SET_SEED)
            )
            picked = drawn((pool, pool), setting.batch_size, seed + 1)
        while True:
            noise = torch.randn(setting.batch_size, NOISE_DIMENSIONS, generator=draw)
            yield noise, next(picked)[1] if picked else self._real(setting.batch_size, draw)

    def content_loss(self, fake: Tensor, real: Tensor) -> Tensor | None:
        return None

    def measure(self, generator: nn.Module) -> dict[str, float]:
        draw = torch.Generator().manual_seed(MEASURE_SEED)
        fake = generator(torch.randn(MEASURED_SAMPLES, NOISE_DIMENSIONS, generator=draw))
        found = mode_coverage(fake, self.centres, self.std)
        return {
            "modes": float(found.modes),
            "coverage": found.coverage,
            "high_quality": found.high_quality,
            "high_quality_coverage": found.high_quality * found.coverage,
            "sliced_wasserstein": sliced_wasserstein_points(
                fake, self._real(MEASURED_SAMPLES, draw)
            ),
        }

    def _real(self, count: int, draw: torch.Generator) -> Tensor:
        mode = torch.randint(len(self.centres), (count,), generator=draw)
        return self.centres[mode] + self.std * torch.randn(count, 2, generator=draw)
