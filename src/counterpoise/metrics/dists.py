"""DISTS, where VGG-16's weights are at hand; nothing is downloaded."""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoise.metrics.published_weights import PublishedFeatures, of_torchmetrics

VGG16 = PublishedFeatures("DISTS", "VGG-16", "vgg16-397923af.pth", 528)
# ImageNet's channel means and deviations, for values in [0, 1].
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Channels of the convolutions of each stage; the index of a convolution in torchvision's `features`
# counts ReLUs and poolings too.
STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
LEAST_PX = 16
# Keeps the similarities of flat features finite (the authors' c1 and c2).
CALM = 1e-6


def vgg16_features() -> nn.ModuleDict:
    """VGG-16's convolutions by torchvision's index (Simonyan and Zisserman 2014)."""
    layers, index, channels = nn.ModuleDict(), 0, 3
    for stage in STAGES:
        for width in stage:
            layers[str(index)] = nn.Conv2d(channels, width, 3, padding=1)
            index, channels = index + 2, width
        index += 1
    return layers


class Dists(nn.Module):
    """Deep image structure and texture similarity: a distance, lower is more alike.

    `convolutions` are `vgg16_features`; `alpha` and `beta`, (1, 1475, 1, 1), weigh the similarities
    of texture (means) and structure (covariances). Images are taken as they are, not resized.
    Source: Ding et al. 2020 (2004.07728); numbers of the authors' code.
    """

    _mean: Tensor
    _deviation: Tensor
    _window: Tensor

    def __init__(self, convolutions: nn.ModuleDict, alpha: Tensor, beta: Tensor) -> None:
        super().__init__()
        self._convolutions = convolutions
        widths = [3, *(stage[-1] for stage in STAGES)]
        total = alpha.sum() + beta.sum()
        self._alpha = torch.split(alpha / total, widths, dim=1)
        self._beta = torch.split(beta / total, widths, dim=1)
        for name, values in (("_mean", MEAN), ("_deviation", DEVIATION)):
            self.register_buffer(name, torch.tensor(values).reshape(1, 3, 1, 1))
        row = torch.hann_window(5, periodic=False)[1:-1]
        window = torch.outer(row, row)
        self.register_buffer("_window", (window / window.sum())[None, None])
        self.eval().requires_grad_(False)

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """Two batches (N, 3, H, W) in [0, 1], sides of at least 16 pixels, to distances (N,)."""
        similarity = torch.zeros(len(fake), device=fake.device)
        features = zip(self._features(fake), self._features(real), strict=True)
        for (one, other), alpha, beta in zip(features, self._alpha, self._beta, strict=True):
            means = one.mean((2, 3), keepdim=True), other.mean((2, 3), keepdim=True)
            variances = one.var((2, 3), correction=0) + other.var((2, 3), correction=0)
            product = means[0] * means[1]
            covariance = (one * other).mean((2, 3)) - product[..., 0, 0]
            texture = (2 * product + CALM) / (means[0] ** 2 + means[1] ** 2 + CALM)
            structure = (2 * covariance + CALM) / (variances + CALM)
            weighed = alpha.to(fake) * texture + beta.to(fake) * structure[..., None, None]
            similarity = similarity + weighed.sum((1, 2, 3))
        return 1 - similarity

    def _features(self, images: Tensor) -> list[Tensor]:
        """The images, and the last activations of each stage."""
        values = (images - self._mean) / self._deviation
        taps, convolutions = [images], iter(self._convolutions.values())
        for number, stage in enumerate(STAGES):
            if number:
                values = self._pooled(values)
            for _ in stage:
                values = F.relu(next(convolutions)(values))
            taps.append(values)
        return taps

    def _pooled(self, values: Tensor) -> Tensor:
        """Half the size by a root of the blurred square, in place of VGG's maximum."""
        channels = values.shape[1]
        window = self._window.expand(channels, 1, 3, 3)
        blurred = F.conv2d(values.square(), window, stride=2, padding=1, groups=channels)
        return (blurred + 1e-12).sqrt()


def why_no_dists() -> str:
    """What is missing for `dists_at_hand`, and what to do; empty where nothing is."""
    return VGG16.why_missing()


@cache
def dists_at_hand() -> Dists | None:
    """DISTS where torch.hub's folder has VGG-16's weights, or None (`why_no_dists` says why).

    Raises `UserError` for a file that is not VGG-16's weights.
    """
    if why_no_dists():
        return None
    convolutions = vgg16_features()
    VGG16.load_into(convolutions)
    return Dists(convolutions, *similarity_weights())


def similarity_weights() -> tuple[Tensor, Tensor]:
    """The weights of texture and structure, (1, 1475, 1, 1) each, from torchmetrics."""
    weights = of_torchmetrics("dists_models/weights.pt")
    return weights["alpha"], weights["beta"]
