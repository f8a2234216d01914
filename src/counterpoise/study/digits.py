"""scikit-learn's handwritten digits, 8x8, and the small classifier that judges samples of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoise.errors import UserError
from counterpoise.metrics.frechet import frechet_distance
from counterpoise.metrics.modes import class_coverage
from counterpoise.study.setting import Setting
from counterpoise.study.task import TRAINING_SET_SEED, Batch, drawn, perceptron

NOISE_DIMENSIONS = 16
G_WIDTH = 128
HELD_OUT = 500
MEASURED_SAMPLES = 1000
MEASURE_SEED = 987_654
FEATURES = 32


@cache
def digits() -> tuple[Tensor, Tensor]:
    """Images (1797, 64) in [0, 1] and their classes, shuffled once for all."""
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError:
        raise UserError(
            "the task digits needs scikit-learn; install it: pip install 'counterpoise[study]'"
        ) from None
    data = load_digits()
    images = torch.from_numpy(np.asarray(data.data) / 16).float()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(1))
    return images[order], torch.from_numpy(np.asarray(data.target)).long()[order]


@cache
def classifier() -> nn.Sequential:
    """Trained in a second on the training images; its last hidden layer gives the features."""
    images, classes = (part[:-HELD_OUT] for part in digits())
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Linear(64, 64),
            nn.ReLU(),
            nn.Linear(64, FEATURES),
            nn.ReLU(),
            nn.Linear(FEATURES, 10),
        )
        optimizer = torch.optim.Adam(network.parameters(), 3e-3)
        for _ in range(500):
            rows = torch.randint(len(images), (128,))
            # Noise keeps its features meaningful around the images, not only on them.
            noisy = images[rows] + 0.1 * torch.randn(128, 64)
            optimizer.zero_grad()
            F.cross_entropy(network(noisy), classes[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return network.eval().requires_grad_(False)


@dataclass
class Digits:
    """Images from noise."""

    description: str
    setting: Setting
    score_name: str = "frechet"
    higher_is_better: bool = False

    def networks(self, setting: Setting, seed: int) -> tuple[nn.Module, nn.Module]:
        # Without batch normalisation in G the bare loop covers four digits of ten.
        generator = perceptron([NOISE_DIMENSIONS, G_WIDTH, G_WIDTH, 64], 0.0, "batch")
        generator.append(nn.Sigmoid())
        width = setting.d_width
        return generator, perceptron([64, width, width, 1], 0.2, setting.d_norm)

    def batches(self, setting: Setting, seed: int) -> Iterator[Batch]:
        images = digits()[0][:-HELD_OUT]
        if setting.train_samples:
            draw = torch.Generator().manual_seed(TRAINING_SET_SEED)
            images = images[torch.randperm(len(images), generator=draw)[: setting.train_samples]]
        noise = torch.Generator().manual_seed(seed + 2)
        for _, real in drawn((images, images), setting.batch_size, seed + 1):
            yield torch.randn(len(real), NOISE_DIMENSIONS, generator=noise), real

    def content_loss(self, fake: Tensor, real: Tensor) -> Tensor | None:
        return None

    def measure(self, generator: nn.Module) -> dict[str, float]:
        draw = torch.Generator().manual_seed(MEASURE_SEED)
        fake = generator(torch.randn(MEASURED_SAMPLES, NOISE_DIMENSIONS, generator=draw))
        network, real = classifier(), digits()[0][-HELD_OUT:]
        found = class_coverage(network(fake).softmax(dim=1))
        features = network[:-1]
        return {
            "modes": float(found.modes),
            "coverage": found.coverage,
            "high_quality": found.high_quality,
            "frechet": frechet_distance(features(fake), features(real)),
        }
