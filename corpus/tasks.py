"""Three small adversarial tasks with data that is at hand, and what their samples are judged by.

Every task gives: networks (D answers logits), batches, held-out real data, and `quality`, which
measures a generator on many samples without looking at D. Images are flat rows in [0, 1].
"""

from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Protocol

import numpy as np
import skimage.data
import torch
import torch.nn.functional as F
from torch import Tensor, nn

HELD_OUT = 512


class Task(Protocol):
    """Where the real data comes from, and what is trained on it."""

    image_side: int  # pixels; 0 where the data is no image
    paired: bool  # whether G's input belongs to a real image (super-resolution)

    def generator(self, width: int, linear_output: bool) -> nn.Module: ...
    def discriminator(self, width: int) -> nn.Module: ...
    def batch(self, size: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """What G starts from, and real data."""
        ...

    def held_out(self) -> tuple[Tensor, Tensor]:
        """The same from data that is never trained on."""
        ...

    def quality(self, generator: nn.Module) -> dict[str, float]:
        """Measurements of the generator's samples."""
        ...


def mlp(sizes: list[int], slope: float, *last: nn.Module) -> nn.Sequential:
    """A fully connected network with leaky ReLUs."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes[:-1]):
        layers += [nn.Linear(inputs, outputs), nn.LeakyReLU(slope)]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]), *last)


def mean_distance(rows: Tensor) -> float:
    """Mean pairwise Euclidean distance of rows."""
    return F.pdist(rows.flatten(1)).mean().item()


@dataclass
class Ring:
    """Eight Gaussians (standard deviation 0.1) on a circle of radius 2."""

    noise_dim: int = 8
    train_images: int = 0  # 0: fresh samples for every batch
    image_side: int = 0
    paired: bool = False
    _fixed: Tensor | None = field(default=None, init=False)

    @staticmethod
    def centres() -> Tensor:
        angle = torch.arange(8) * (torch.pi / 4)
        return 2 * torch.stack([angle.cos(), angle.sin()], dim=1)

    def sample(self, size: int, draw: torch.Generator) -> Tensor:
        mode = torch.randint(8, (size,), generator=draw)
        return self.centres()[mode] + 0.1 * torch.randn(size, 2, generator=draw)

    def generator(self, width: int, linear_output: bool) -> nn.Module:
        return mlp([self.noise_dim, width, width, 2], 0.0)

    def discriminator(self, width: int) -> nn.Module:
        return mlp([2, width, width, 1], 0.2)

    def batch(self, size: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        noise = torch.randn(size, self.noise_dim, generator=draw)
        if not self.train_images:
            return noise, self.sample(size, draw)
        if self._fixed is None:
            self._fixed = self.sample(self.train_images, draw)
        return noise, self._fixed[torch.randint(self.train_images, (size,), generator=draw)]

    def held_out(self) -> tuple[Tensor, Tensor]:
        draw = torch.Generator().manual_seed(987_654)
        return torch.randn(HELD_OUT, self.noise_dim, generator=draw), self.sample(HELD_OUT, draw)

    def quality(self, generator: nn.Module) -> dict[str, float]:
        noise, real = self.held_out()
        with torch.no_grad():
            fake = generator(noise)
        distance, mode = torch.cdist(fake, self.centres()).min(dim=1)
        near = distance < 0.5  # five standard deviations
        share = torch.bincount(mode[near], minlength=8) / len(fake)
        return {
            "modes": float((share > 0.01).sum()),
            "modes_all": 8.0,
            "good_samples": near.float().mean().item(),
            "diversity": mean_distance(fake) / mean_distance(real),
        }


@cache
def _digits() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    # On the 8-bit grid, as images from a file are.
    images = torch.from_numpy(np.rint(digits.data * (255 / 16)) / 255).float()
    labels = torch.from_numpy(digits.target).long()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(1))
    return images[order], labels[order]


@cache
def _digit_classifier() -> nn.Module:
    images, labels = _digits()
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    network = mlp([64, 64, 10], 0.0)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    with torch.enable_grad():
        for _ in range(400):
            rows = torch.randint(len(images), (128,))
            optimizer.zero_grad()
            F.cross_entropy(network(images[rows]), labels[rows]).backward()
            optimizer.step()
    torch.random.set_rng_state(state)
    return network


@dataclass
class Digits:
    """scikit-learn's handwritten digits, 8x8."""

    noise_dim: int = 16
    train_images: int = 0  # 0: all but the held-out ones
    image_side: int = 8
    paired: bool = False

    def generator(self, width: int, linear_output: bool) -> nn.Module:
        last = [] if linear_output else [nn.Sigmoid()]
        return mlp([self.noise_dim, width, width, 64], 0.0, *last)

    def discriminator(self, width: int) -> nn.Module:
        return mlp([64, width, width, 1], 0.2)

    def batch(self, size: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        images, _ = _digits()
        count = self.train_images or len(images) - HELD_OUT
        rows = torch.randint(count, (size,), generator=draw)
        return torch.randn(size, self.noise_dim, generator=draw), images[rows]

    def held_out(self) -> tuple[Tensor, Tensor]:
        draw = torch.Generator().manual_seed(987_654)
        noise = torch.randn(HELD_OUT, self.noise_dim, generator=draw)
        return noise, _digits()[0][-HELD_OUT:]

    def quality(self, generator: nn.Module) -> dict[str, float]:
        noise, real = self.held_out()
        with torch.no_grad():
            fake = generator(noise)
            belief = _digit_classifier()(fake).softmax(dim=1)
        certain, label = belief.max(dim=1)
        share = torch.bincount(label[certain > 0.5], minlength=10) / len(fake)
        return {
            "modes": float((share > 0.01).sum()),
            "modes_all": 10.0,
            "good_samples": (certain > 0.8).float().mean().item(),
            "diversity": mean_distance(fake) / mean_distance(real),
        }


@cache
def _photographs() -> tuple[Tensor, Tensor]:
    """Grey tiles of 16x16 pixels without overlap: for training, and held out."""
    tiles = []
    for name in ("astronaut", "coffee", "rocket", "chelsea"):
        picture = torch.from_numpy(getattr(skimage.data, name)().copy()).float().mean(dim=2)
        # Half the size, so that there is detail at the scale of a pixel; on the 8-bit grid.
        half = F.avg_pool2d(picture[None, None], 2).round().clamp(0, 255) / 255
        tiles.append(half.unfold(2, 16, 16).unfold(3, 16, 16).reshape(-1, 256))
    images = torch.cat(tiles)
    images = images[images.std(dim=1) > 0.05]
    images = images[torch.randperm(len(images), generator=torch.Generator().manual_seed(2))]
    return images[:-128], images[-128:]


class _Upscaler(nn.Module):
    """x4: nearest-neighbour upscaling plus a residual from a few convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.low = nn.Conv2d(1, width, 3, padding=1)
        self.middle = nn.Conv2d(width, width, 3, padding=1)
        self.high = nn.Conv2d(width, 16, 3, padding=1)

    def forward(self, small: Tensor) -> Tensor:
        picture = small.unflatten(1, (1, 4, 4))
        feature = F.relu(self.middle(F.relu(self.low(picture))))
        residual = F.pixel_shuffle(self.high(feature), 4)
        return (F.interpolate(picture, scale_factor=4.0) + residual).flatten(1)


@dataclass
class SuperResolution:
    """x4 super-resolution of 4x4 to 16x16 pixels on scikit-image's photographs."""

    train_images: int = 0
    image_side: int = 16
    paired: bool = True

    @staticmethod
    def shrink(images: Tensor) -> Tensor:
        return F.avg_pool2d(images.unflatten(1, (1, 16, 16)), 4).flatten(1)

    def generator(self, width: int, linear_output: bool) -> nn.Module:
        return _Upscaler(width)

    def discriminator(self, width: int) -> nn.Module:
        return nn.Sequential(
            nn.Unflatten(1, (1, 16, 16)),
            nn.Conv2d(1, width, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, width, 3, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(32 * width, 1),
        )

    def batch(self, size: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        images, _ = _photographs()
        rows = torch.randint(self.train_images or len(images), (size,), generator=draw)
        return self.shrink(images[rows]), images[rows]

    def held_out(self) -> tuple[Tensor, Tensor]:
        real = _photographs()[1]
        return self.shrink(real), real

    def quality(self, generator: nn.Module) -> dict[str, float]:
        small, real = self.held_out()
        with torch.no_grad():
            fake = generator(small)
        plain = F.interpolate(
            small.unflatten(1, (1, 4, 4)), scale_factor=4.0, mode="bicubic", align_corners=False
        ).flatten(1)

        def psnr(images: Tensor) -> float:
            return -10 * (images.clamp(0, 1) - real).square().mean().log10().item()

        return {
            "psnr_over_bicubic": psnr(fake) - psnr(plain),
            "detail": high_frequency(fake) / high_frequency(real),
            "diversity": mean_distance(fake) / mean_distance(real),
        }


def high_frequency(images: Tensor) -> float:
    """Mean squared difference of horizontal neighbours, of flat square images."""
    side = int(images.shape[1] ** 0.5)
    square = images.unflatten(1, (side, side))
    return (square[:, :, 1:] - square[:, :, :-1]).square().mean().item()


TASKS: dict[str, type[Ring] | type[Digits] | type[SuperResolution]] = {
    "ring": Ring,
    "digits": Digits,
    "sr": SuperResolution,
}
