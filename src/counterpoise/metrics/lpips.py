"""LPIPS, where AlexNet's weights are at hand; nothing is downloaded."""

from functools import cache

import torch
from torch import Tensor, nn

from counterpoise.metrics.published_weights import PublishedFeatures, of_torchmetrics

ALEXNET = PublishedFeatures("LPIPS", "AlexNet", "alexnet-owt-7be5be79.pth", 233)
# ImageNet's channel means and deviations, for values in [-1, 1] (the authors' ScalingLayer).
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
# Layers of AlexNet's convolutional part after which features are compared.
TAPS = (1, 4, 7, 9, 11)


def alexnet_features() -> nn.Sequential:
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


class Lpips(nn.Module):
    """Perceptual distance of images, version 0.1 with AlexNet; lower is more alike.

    `features` has AlexNet's weights, `heads` those of the five linear layers, each (1, C, 1, 1).
    Source: Zhang et al. 2018 (1801.03924); numbers of the authors' code.
    """

    _shift: Tensor
    _scale: Tensor

    def __init__(self, features: nn.Sequential, heads: list[Tensor]) -> None:
        super().__init__()
        self._features, self._heads = features, heads
        for name, values in (("_shift", SHIFT), ("_scale", SCALE)):
            self.register_buffer(name, torch.tensor(values).reshape(1, 3, 1, 1))
        self.eval().requires_grad_(False)

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """Two batches (N, 3, H, W) in [0, 1], sides of at least 31 pixels, to distances (N,)."""
        total = torch.zeros(len(fake), device=fake.device)
        pairs = torch.cat([fake, real])
        values = (2 * pairs - 1 - self._shift) / self._scale
        heads = iter(self._heads)
        for index, layer in enumerate(self._features):
            values = layer(values)
            if index in TAPS:
                norm = values.square().sum(1, keepdim=True).add(1e-8).sqrt()
                one, other = (values / norm).chunk(2)
                weighed = (one - other).square() * next(heads).to(values.device)
                total = total + weighed.sum(1).mean((1, 2))
        return total


def why_no_lpips() -> str:
    """What is missing for `lpips_at_hand`, and what to do; empty where nothing is."""
    return ALEXNET.why_missing()


@cache
def lpips_at_hand() -> Lpips | None:
    """LPIPS where torch.hub's folder has AlexNet's weights, or None (`why_no_lpips` says why).

    Raises `UserError` for a file that is not AlexNet's weights.
    """
    if why_no_lpips():
        return None
    features = alexnet_features()
    ALEXNET.load_into(features)
    return Lpips(features, heads())


def heads() -> list[Tensor]:
    """The five linear layers, (1, C, 1, 1) each, from torchmetrics."""
    weights = of_torchmetrics("lpips_models/alex.pth")
    return [weights[f"lin{index}.model.1.weight"] for index in range(len(TAPS))]
