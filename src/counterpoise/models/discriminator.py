"""Discriminators: images in, logits out. No network here ends in a sigmoid.

To add one: a module here, made from a `DiscriminatorConfig` and the side of its square crops, and
its row in `DISCRIMINATORS`.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from counterpoise.config import DiscriminatorConfig
from counterpoise.errors import UserError
from counterpoise.registry import Registry


class _ImageInput(nn.Module):
    """Subtracts the mean colour from images in [0, 1]."""

    mean: Tensor

    def __init__(self, mean: tuple[float, float, float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return images - self.mean


def _spectral(config: DiscriminatorConfig, layer: nn.Module) -> nn.Module:
    return spectral_norm(layer) if config.norm == "spectral" else layer


def _convolution(
    config: DiscriminatorConfig, inputs: int, outputs: int, kernel: int, stride: int, first: bool
) -> list[nn.Module]:
    """Convolution, normalisation and activation; batch and instance norm spare the first."""
    normalised = config.norm in ("batch", "instance") and not first
    # A bias before a normalisation would be subtracted again at once.
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding=1, bias=not normalised)
    layers = [_spectral(config, layer)]
    if normalised:
        is_batch = config.norm == "batch"
        layers.append(
            nn.BatchNorm2d(outputs) if is_batch else nn.InstanceNorm2d(outputs, affine=True)
        )
    return [*layers, nn.LeakyReLU(config.leaky_slope)]


def enhancenet_discriminator(config: DiscriminatorConfig, crop_px: int) -> nn.Module:
    """The paper's discriminator: ten 3x3 convolutions, every other one halving, two linear layers.

    Logits (N, 1) of RGB images (N, 3, H, W) in [0, 1], which must have the side it was built for, a
    multiple of 32.
    Source: EnhanceNet, section 4.2.4 and table 1 of its supplement (LeakyReLU slope 0.2).
    """
    layers: list[nn.Module] = [_ImageInput(config.input_mean)]
    channels = 3
    for block in range(5):
        outputs = config.width * 2**block
        layers += _convolution(config, channels, outputs, 3, 1, first=block == 0)
        layers += _convolution(config, outputs, outputs, 3, 2, first=False)
        channels = outputs
    hidden = 32 * config.width
    classifier = nn.Sequential(
        nn.Flatten(),
        _spectral(config, nn.Linear(channels * (crop_px // 32) ** 2, hidden)),
        nn.LeakyReLU(config.leaky_slope),
        _spectral(config, nn.Linear(hidden, 1)),
    )
    return nn.Sequential(OrderedDict(features=nn.Sequential(*layers), classifier=classifier))


def patch_discriminator(config: DiscriminatorConfig, crop_px: int) -> nn.Module:
    """pix2pix's PatchGAN: a map of logits, each for a patch of 70x70 pixels.

    Logits (N, 1, H/8 - 2, W/8 - 2) of RGB images (N, 3, H, W) in [0, 1].
    Source: Isola et al. 2017, section 6.1.2 (C64-C128-C256-C512 at width 64).
    """
    width = config.width
    layers = nn.Sequential(
        _ImageInput(config.input_mean),
        *_convolution(config, 3, width, 4, 2, first=True),
        *_convolution(config, width, 2 * width, 4, 2, first=False),
        *_convolution(config, 2 * width, 4 * width, 4, 2, first=False),
        *_convolution(config, 4 * width, 8 * width, 4, 1, first=False),
        _spectral(config, nn.Conv2d(8 * width, 1, 4, 1, padding=1)),
    )
    return nn.Sequential(OrderedDict(layers=layers))


class UNetDiscriminator(nn.Module):
    """A spectrally normalised U-Net: one logit per pixel.

    Source: Schoenfeld et al. 2020; the layers are those of Wang et al. 2021 (Real-ESRGAN).
    """

    def __init__(self, config: DiscriminatorConfig, crop_px: int) -> None:
        super().__init__()
        width, self._slope = config.width, config.leaky_slope
        self.input = _ImageInput(config.input_mean)
        self.head = nn.Conv2d(3, width, 3, padding=1)

        def convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Module:
            layer = nn.Conv2d(inputs, outputs, kernel, stride, padding=1, bias=False)
            return spectral_norm(layer)

        widths = [width, 2 * width, 4 * width, 8 * width]
        self.down = nn.ModuleList(convolution(*pair, 4, 2) for pair in pairwise(widths))
        self.up = nn.ModuleList(convolution(*pair) for pair in pairwise(widths[::-1]))
        self.refine = nn.ModuleList(convolution(width, width) for _ in range(2))
        self.tail = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, 1, H, W) of RGB images (N, 3, H, W) in [0, 1]; sides are multiples of 8."""
        x = self._activate(self.head(self.input(images)))
        skips = []
        for convolution in self.down:
            skips.append(x)
            x = self._activate(convolution(x))
        for convolution in self.up:
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = self._activate(convolution(x)) + skips.pop()
        for convolution in self.refine:
            x = self._activate(convolution(x))
        return self.tail(x)

    def _activate(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, self._slope)


@dataclass(frozen=True)
class DiscriminatorKind:
    """How one is built, and what it can take."""

    build: Callable[[DiscriminatorConfig, int], nn.Module]
    crop_multiple_px: int
    least_crop_px: int
    # With instance norm, a last map of one position would have nothing to normalise over.
    least_instance_norm_crop_px: int = 0
    norms: tuple[str, ...] = ("none", "batch", "instance", "spectral")


DISCRIMINATORS: Registry[DiscriminatorKind] = Registry(
    "discriminator",
    ("enhancenet", DiscriminatorKind(enhancenet_discriminator, 32, 32, 64)),
    ("patchgan", DiscriminatorKind(patch_discriminator, 8, 32)),
    ("unet", DiscriminatorKind(UNetDiscriminator, 8, 8, norms=("spectral",))),
)


def check_discriminator(config: DiscriminatorConfig, crop_px: int) -> None:
    """Raise `UserError` where there is none of that name, norm and side of its square crops."""
    kind = DISCRIMINATORS[config.name]
    if config.norm not in kind.norms:
        norms = f"{' or '.join(kind.norms)} norm only (given: {config.norm})"
        raise UserError(f"the {config.name} discriminator is made with {norms}")
    least_px, norm = kind.least_crop_px, ""
    if config.norm == "instance" and kind.least_instance_norm_crop_px:
        least_px, norm = kind.least_instance_norm_crop_px, " with instance norm"
    if crop_px < least_px or crop_px % kind.crop_multiple_px:
        raise UserError(
            f"the {config.name} discriminator{norm} needs crops (data.crop_px) of {least_px} "
            f"pixels or more, in multiples of {kind.crop_multiple_px} (given: {crop_px})"
        )


def build_discriminator(config: DiscriminatorConfig, crop_px: int) -> nn.Module:
    """The discriminator that the configuration names, for square crops of that side."""
    check_discriminator(config, crop_px)
    return DISCRIMINATORS[config.name].build(config, crop_px)
