"""The tasks: Gaussians in the plane and handwritten digits from noise, and super-resolution."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from counterpoise.config import GeneratorConfig
from counterpoise.errors import refusing
from counterpoise.metrics.frechet import frechet_distance
from counterpoise.metrics.modes import class_coverage, mode_coverage
from counterpoise.metrics.sliced_wasserstein import sliced_wasserstein_points
from counterpoise.models.generator import build_generator
from counterpoise.registry import Registry, read_table
from counterpoise.study.super_resolution import PortGenerator, SuperResolution
from counterpoise.study.task import TRAINING_SET_SEED, Batch, Setting, Task, drawn, training_set

MEASURE_SEED = 987_654  # of what every training is measured with; no training draws from it
G_WIDTH = 128
POINT_NOISE, DIGIT_NOISE = 8, 16  # dimensions of G's source
POINT_STD = 0.1
# For the points the usual number (Lin et al. 2018, PacGAN).
MEASURED_POINTS, MEASURED_DIGITS = 2500, 1000
HELD_OUT_DIGITS = 500
CLASSIFIER_FEATURES = 32


def perceptron(sizes: list[int], slope: float, norm: str = "none") -> nn.Sequential:
    """A fully connected network with leaky ReLUs and the named norm in its hidden layers."""
    layers: list[nn.Module] = []
    for place, (inputs, outputs) in enumerate(pairwise(sizes), start=2):
        linear = nn.Linear(inputs, outputs)
        layers.append(spectral_norm(linear) if norm == "spectral" else linear)
        if place == len(sizes):
            break
        if norm == "layer":
            layers.append(nn.LayerNorm(outputs))
        elif norm == "batch":
            layers.append(nn.BatchNorm1d(outputs))
        layers.append(nn.LeakyReLU(slope))
    return nn.Sequential(*layers)


@dataclass
class Points(Task):
    """Equally weighted Gaussians around centres (modes, 2)."""

    centres: Tensor
    score_name = "high_quality_coverage"
    higher_is_better = True

    def networks(self, setting: Setting, seed: int) -> tuple[nn.Module, nn.Module]:
        generator = perceptron([POINT_NOISE, G_WIDTH, G_WIDTH, 2], 0.0)
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
            noise = torch.randn(setting.batch_size, POINT_NOISE, generator=draw)
            yield noise, next(picked)[1] if picked else self._real(setting.batch_size, draw)

    def measure(self, generator: nn.Module) -> dict[str, float]:
        draw = torch.Generator().manual_seed(MEASURE_SEED)
        fake = generator(torch.randn(MEASURED_POINTS, POINT_NOISE, generator=draw))
        found = mode_coverage(fake, self.centres, POINT_STD)
        real = self._real(MEASURED_POINTS, draw)
        return found | {
            "high_quality_coverage": found["high_quality"] * found["coverage"],
            "sliced_wasserstein": sliced_wasserstein_points(fake, real),
        }

    def _real(self, count: int, draw: torch.Generator) -> Tensor:
        mode = torch.randint(len(self.centres), (count,), generator=draw)
        return self.centres[mode] + POINT_STD * torch.randn(count, 2, generator=draw)


@cache
def digits() -> tuple[Tensor, Tensor]:
    """scikit-learn's 8x8 images (1797, 64) in [0, 1] and their classes, shuffled once for all."""
    install = "install it: pip install './counterpoise[study]'"
    with refusing("the task digits needs scikit-learn", ModuleNotFoundError, instead=install):
        from sklearn.datasets import load_digits
    data = load_digits()
    images = torch.from_numpy(np.asarray(data.data) / 16).float()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(1))
    return images[order], torch.from_numpy(np.asarray(data.target)).long()[order]


@cache
def classifier() -> nn.Sequential:
    """What judges samples: trained in a second on the training images; its last hidden layer gives
    the features."""
    images, classes = (part[:-HELD_OUT_DIGITS] for part in digits())
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        network = perceptron([64, 64, CLASSIFIER_FEATURES, 10], 0.0)
        optimizer = torch.optim.Adam(network.parameters(), 3e-3)
        for _ in range(500):
            rows = torch.randint(len(images), (128,))
            # Noise keeps its features meaningful around the images, not only on them.
            noisy = images[rows] + 0.1 * torch.randn(128, 64)
            optimizer.zero_grad()
            F.cross_entropy(network(noisy), classes[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return network.eval().requires_grad_(False)


class Digits(Task):
    """Handwritten digits."""

    score_name = "frechet"

    def networks(self, setting: Setting, seed: int) -> tuple[nn.Module, nn.Module]:
        # Without batch normalisation in G the bare loop covers four digits of ten.
        generator = perceptron([DIGIT_NOISE, G_WIDTH, G_WIDTH, 64], 0.0, "batch")
        generator.append(nn.Sigmoid())
        width = setting.d_width
        return generator, perceptron([64, width, width, 1], 0.2, setting.d_norm)

    def batches(self, setting: Setting, seed: int) -> Iterator[Batch]:
        images = digits()[0][:-HELD_OUT_DIGITS]
        images = images[training_set(images, setting.train_samples)]
        noise = torch.Generator().manual_seed(seed + 2)
        for _, real in drawn((images, images), setting.batch_size, seed + 1):
            yield torch.randn(len(real), DIGIT_NOISE, generator=noise), real

    def measure(self, generator: nn.Module) -> dict[str, float]:
        draw = torch.Generator().manual_seed(MEASURE_SEED)
        fake = generator(torch.randn(MEASURED_DIGITS, DIGIT_NOISE, generator=draw))
        network, real = classifier(), digits()[0][-HELD_OUT_DIGITS:]
        found = class_coverage(network(fake).softmax(dim=1))
        features = network[:-1]
        return found | {"frechet": frechet_distance(features(fake), features(real))}


_ANGLE, _SIDE = torch.arange(8) * (torch.pi / 4), torch.arange(-2.0, 3.0)
_TABLE = read_table("counterpoise.study", "tasks.toml")


def _begins(name: str) -> tuple[str, Setting]:
    """What a task is, in words, and the setting that its trainings begin from."""
    return _TABLE[name]["description"], Setting(**_TABLE[name]["setting"])


TASKS: Registry[Task] = Registry(
    "task",
    # Of radius 2 (Metz et al. 2017).
    ("ring", Points(*_begins("ring"), 2 * torch.stack([_ANGLE.cos(), _ANGLE.sin()], dim=1))),
    # Half of the usual spacing and deviation.
    ("grid", Points(*_begins("grid"), torch.cartesian_prod(_SIDE, _SIDE))),
    ("digits", Digits(*_begins("digits"))),
    (
        "sr",
        SuperResolution(
            *_begins("sr"),
            generator=partial(build_generator, GeneratorConfig(width=16, blocks=2)),
            discriminator="patchgan",
            pretrain_steps=200,
        ),
    ),
    (
        "seed",
        SuperResolution(
            *_begins("seed"),
            generator=partial(PortGenerator, 8),
            discriminator="enhancenet",
            pretrain_steps=400,  # the question's logs are of the third epoch
        ),
    ),
)
