"""Generators: low-resolution images in, images `scale` times as large out.

To add one: a `Generator` here, and its row in `GENERATORS`.
"""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoise.config import GeneratorConfig
from counterpoise.models.bicubic import bicubic_upsample
from counterpoise.registry import Registry


class ResidualBlock(nn.Module):
    """conv, ReLU, conv, plus the input; nothing after the sum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, width, H, W) to the same."""
        return x + self.second(F.relu(self.first(x)))


class Generator(nn.Module):
    """What training, weight files, upscaling and evaluation ask of a network.

    `config` says what its weights are valid with, and is saved beside them.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, lr: Tensor) -> Tensor:
        """Upscale RGB images (N, 3, H, W) in [0, 1] to (N, 3, scale H, scale W); not clamped."""
        raise NotImplementedError

    def receptive_radius_px(self) -> int:
        """How far, in low-resolution pixels, the input reaches that an output pixel depends on."""
        raise NotImplementedError


class EnhanceNet(Generator):
    """Upscales by adding a learned residual to a bicubic image.

    Ten residual blocks at the low resolution, then nearest-neighbour doubling with a convolution
    after each until the scale is reached. Weights begin Xavier-uniform, biases zero (the defaults
    of the framework that the official network was made with).
    Source: EnhanceNet, section 4.1 and table 1; the layers are those of the official code.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__(config)
        width = config.width
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in range(config.blocks))
        doublings = config.scale.bit_length() - 1
        self.upsampling = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=1) for _ in range(doublings)
        )
        self.refine = nn.Conv2d(width, width, 3, padding=1)
        self.tail = nn.Conv2d(width, 3, 3, padding=1)
        mean = torch.tensor(config.input_mean).reshape(1, 3, 1, 1)
        self.register_buffer("input_mean", mean, persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    input_mean: Tensor

    def forward(self, lr: Tensor) -> Tensor:
        x = F.relu(self.head(lr - self.input_mean))
        for block in self.blocks:
            x = block(x)
        for convolution in self.upsampling:
            x = F.relu(convolution(F.interpolate(x, scale_factor=2.0, mode="nearest")))
        base = bicubic_upsample(lr, self.config.scale, self.config.bicubic)
        return (self.tail(F.relu(self.refine(x))) + base).to(lr.dtype)

    def receptive_radius_px(self) -> int:
        low = 1 + 2 * self.config.blocks
        # A 3x3 convolution after n doublings reaches 1 / 2^n further; the last two share the scale.
        doublings = len(self.upsampling)
        high = sum(2.0**-n for n in range(1, doublings + 1)) + 2.0 ** (1 - doublings)
        return low + int(high) + 2


GENERATORS: Registry[Callable[[GeneratorConfig], Generator]] = Registry(
    "generator", ("enhancenet", EnhanceNet)
)


def build_generator(
    config: GeneratorConfig, state: Mapping[str, Tensor] | None = None
) -> Generator:
    """The generator that the configuration names; `state`, its weights, are not loaded, but what
    spandrel knows it by where its own file is gone."""
    if config.source is None:
        return GENERATORS[config.name](config)
    from counterpoise.models.foreign import ForeignGenerator

    return ForeignGenerator(config, state)
