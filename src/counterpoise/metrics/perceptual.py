"""LPIPS and DISTS, where the weights of their networks are at hand; nothing is downloaded.

What they learnt comes with torchmetrics. Its own networks need torchvision, which we do without.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoise.errors import UserError

LPIPS_LEAST_PX = 31
DISTS_LEAST_PX = 16
# Keeps the similarities of flat features finite (c1 and c2 of DISTS' authors).
CALM = 1e-6


class _RootPool(nn.Module):
    """Half the size by a root of the blurred square, in place of VGG's maximum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        row = torch.hann_window(5, periodic=False)[1:-1]
        window = torch.outer(row, row)
        window = (window / window.sum()).expand(channels, 1, 3, 3).contiguous()
        self.register_buffer("window", window, persistent=False)

    window: Tensor

    def forward(self, values: Tensor) -> Tensor:
        squares = values.square()
        blurred = F.conv2d(squares, self.window, stride=2, padding=1, groups=values.shape[1])
        return (blurred + 1e-12).sqrt()


def alexnet() -> nn.Sequential:
    """AlexNet's convolutional part (Krizhevsky 2014) with torchvision's names, up to its last
    ReLU."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(),
    )


def vgg16() -> nn.Sequential:
    """VGG-16's (Simonyan and Zisserman 2014) up to its last ReLU, with DISTS' poolings."""
    layers: list[nn.Module] = []
    channels = 3
    for width, convolutions in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        if layers:
            layers.append(_RootPool(channels))
        for _ in range(convolutions):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
    return nn.Sequential(*layers)


class _DeepDistance(nn.Module):
    """Compares the activations of a network after some of its layers."""

    # ImageNet's channel means and deviations, as the network's inputs had them.
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    taps: tuple[int, ...]

    def __init__(self, network: nn.Sequential) -> None:
        super().__init__()
        self._network = network
        self.eval().requires_grad_(False)

    def _features(self, images: Tensor) -> list[Tensor]:
        mean, deviation = (
            images.new_tensor(values).reshape(1, 3, 1, 1) for values in (self.mean, self.deviation)
        )
        values, found = (images - mean) / deviation, []
        for index, layer in enumerate(self._network):
            values = layer(values)
            if index in self.taps:
                found.append(values)
        return found


class Lpips(_DeepDistance):
    """Perceptual distance of images, version 0.1 with AlexNet; lower is more alike.

    `network` is `alexnet` with its weights, `heads` are the five linear layers, each (1, C, 1, 1).
    Source: Zhang et al. 2018 (1801.03924); numbers of the authors' code.
    """

    mean, deviation = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # for values in [-1, 1]
    taps = (1, 4, 7, 9, 11)

    def __init__(self, network: nn.Sequential, heads: Sequence[Tensor]) -> None:
        super().__init__(network)
        self._heads = heads

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """Two batches (N, 3, H, W) in [0, 1], sides of at least 31 pixels, to distances (N,)."""
        total = torch.zeros(len(fake), device=fake.device)
        features = self._features(2 * torch.cat([fake, real]) - 1)
        for values, head in zip(features, self._heads, strict=True):
            norm = values.square().sum(1, keepdim=True).add(1e-8).sqrt()
            one, other = (values / norm).chunk(2)
            weighed = (one - other).square() * head.to(values.device)
            total = total + weighed.sum(1).mean((1, 2))
        return total


class Dists(_DeepDistance):
    """Deep image structure and texture similarity: a distance, lower is more alike.

    `network` is `vgg16` with its weights; `alpha` and `beta`, (1, 1475, 1, 1), weigh the
    similarities of texture (means) and structure (covariances). Images are taken as they are, not
    resized. Source: Ding et al. 2020 (2004.07728); numbers of the authors' code.
    """

    mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    taps = (3, 8, 15, 22, 29)

    def __init__(self, network: nn.Sequential, alpha: Tensor, beta: Tensor) -> None:
        super().__init__(network)
        total = alpha.sum() + beta.sum()
        self._alpha, self._beta = (alpha / total).flatten(), (beta / total).flatten()

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """Two batches (N, 3, H, W) in [0, 1], sides of at least 16 pixels, to distances (N,)."""
        textures, structures = [], []
        features = zip(self._features(fake), self._features(real), strict=True)
        for one, other in [(fake, real), *features]:
            means = one.mean((2, 3)), other.mean((2, 3))
            variances = one.var((2, 3), correction=0) + other.var((2, 3), correction=0)
            product = means[0] * means[1]
            covariance = (one * other).mean((2, 3)) - product
            textures.append((2 * product + CALM) / (means[0] ** 2 + means[1] ** 2 + CALM))
            structures.append((2 * covariance + CALM) / (variances + CALM))
        alpha, beta = self._alpha.to(fake), self._beta.to(fake)
        return 1 - torch.cat(textures, 1) @ alpha - torch.cat(structures, 1) @ beta


def hub_path(file: str) -> Path:
    """Where torch.hub keeps a file that it has downloaded."""
    return Path(torch.hub.get_dir()) / "checkpoints" / file


@dataclass(frozen=True)
class PublishedNetwork:
    """The convolutional part of a network of torchvision, which a metric needs."""

    metric: str
    network: str
    file: str
    mib: int
    build: Callable[[], nn.Sequential]

    def why_missing(self) -> str:
        """What to fetch and where to put it; empty where it is there."""
        path = hub_path(self.file)
        if path.is_file():
            return ""
        return (
            f"{self.metric} needs torchvision's {self.network} weights: put "
            f"https://download.pytorch.org/models/{self.file} ({self.mib} MiB) at {path}"
        )

    def loaded(self) -> nn.Sequential:
        """The network with its weights; `UserError` where they are missing, or others."""
        if why := self.why_missing():
            raise UserError(why)
        network, path = self.build(), hub_path(self.file)
        try:
            weights = torch.load(path, map_location="cpu", weights_only=True)
            network.load_state_dict({f: weights[f"features.{f}"] for f in network.state_dict()})
        except Exception as error:
            raise UserError(
                f"{path} does not hold {self.network}'s weights; remove it ({type(error).__name__})"
            ) from error
        return network


ALEXNET = PublishedNetwork("LPIPS", "AlexNet", "alexnet-owt-7be5be79.pth", 233, alexnet)
VGG16 = PublishedNetwork("DISTS", "VGG-16", "vgg16-397923af.pth", 528, vgg16)


@cache
def lpips() -> Lpips:
    """LPIPS with the weights of torch.hub's folder; `UserError` where they are missing."""
    weights = _of_torchmetrics("lpips_models/alex.pth")
    heads = [weights[f"lin{index}.model.1.weight"] for index in range(5)]
    return Lpips(ALEXNET.loaded(), heads)


@cache
def dists() -> Dists:
    """DISTS with the weights of torch.hub's folder; `UserError` where they are missing."""
    weights = _of_torchmetrics("dists_models/weights.pt")
    return Dists(VGG16.loaded(), weights["alpha"], weights["beta"])


def _of_torchmetrics(file: str) -> Any:
    """What a file of weights inside torchmetrics' package holds."""
    found = find_spec("torchmetrics")  # importing it would take seconds
    assert found is not None
    assert found.origin is not None, "a dependency"
    path = Path(found.origin).parent / "functional" / "image" / file
    return torch.load(path, map_location="cpu", weights_only=True)
