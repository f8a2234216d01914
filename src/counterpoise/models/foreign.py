"""Networks of other programs as generators, and their published weights.

A network is a class of the user's own, by its dotted path, or what spandrel makes of a file. It is
given RGB in [0, 1] and gives the same, `scale` times as large; that is tried before it is used.
"""

import importlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from counterpoise.config import GeneratorConfig
from counterpoise.errors import UserError, refusing
from counterpoise.models.bicubic import bicubic_upsample
from counterpoise.models.generator import Generator
from counterpoise.models.weights import read_published

SPANDREL = "spandrel:"
PROBE_PX = 16
# Mean distance of an enlarged colour ramp from bicubic. Trained networks stay below 0.05; a plain
# grey, or red and blue exchanged, is 0.33 off.
MOST_OFF = 0.2
# Surroundings that a tile is computed with: all that Compact and SPAN see, most of ESRGAN.
CONTEXT_PX = 32


class ForeignGenerator(Generator):
    """The network that `config.source` names, its weights under `network.`; `UserError` where there
    is none, or where it does not make RGB images `config.scale` times as large.

    `state` stands for spandrel's file, which may be gone since.
    """

    def __init__(self, config: GeneratorConfig, state: Mapping[str, Tensor] | None = None) -> None:
        super().__init__(config)
        what, larger_px = f"generator.source {config.source}", config.scale * PROBE_PX
        try:
            self.network = _network(config, state)
            with torch.no_grad():
                size = tuple(self.eval()(torch.zeros(1, 3, PROBE_PX, PROBE_PX)).shape)
            self.train()
        except Exception as error:  # of any kind: it is not our code
            if isinstance(error, UserError) or getattr(error, "name", None) == "spandrel":
                raise
            raise UserError(f"{what}: {type(error).__name__}: {error}"[:400]) from error
        if size != (1, 3, larger_px, larger_px):
            raise UserError(
                f"{what}: makes {size} of {(1, 3, PROBE_PX, PROBE_PX)}, which is not "
                f"{config.scale} times as large; set generator.scale, or generator.arguments"
            )

    def forward(self, lr: Tensor) -> Tensor:
        return self.network(lr)

    def receptive_radius_px(self) -> int:
        return CONTEXT_PX


def load_published(generator: Generator, path: Path) -> None:
    """Load a bare state dict, as other programs publish them, into a generator of its layout, in
    evaluation mode; `UserError` where it is none, does not fit, or makes no pictures."""
    network = generator.network if isinstance(generator, ForeignGenerator) else generator
    with refusing(f"{path}: not the weights of this generator", RuntimeError):
        network.load_state_dict(read_published(path)[0])
    check_range(generator)


def check_range(generator: Generator) -> None:
    """Raise `UserError` where a generator, in evaluation mode and with trained weights, does not
    enlarge a ramp of colours from 0 to 1."""
    ramp = torch.linspace(0, 1, PROBE_PX).expand(PROBE_PX, PROBE_PX)
    picture = torch.stack([ramp, ramp.T, torch.zeros_like(ramp)])[None]
    picture = picture.to(next(generator.parameters()).device)
    larger = bicubic_upsample(picture, generator.config.scale, "half-pixel")
    with torch.no_grad():
        off = float((generator(picture) - larger).abs().mean())
    if not off <= MOST_OFF:
        raise UserError(
            f"generator.source {generator.config.source}: with its weights, a ramp of colours from "
            f"0 to 1 comes back {off:.2g} off; counterpoise gives RGB in [0, 1] and wants the same "
            "back: for other ranges or orders, name a class of yours that converts"
        )


def _network(config: GeneratorConfig, state: Mapping[str, Tensor] | None) -> nn.Module:
    """What spandrel makes of a file, or a class from what is installed or in the current folder.

    Nothing but a network is called: a stranger's file of weights has a path in it, too.
    """
    source = str(config.source)
    if source.startswith(SPANDREL):
        state = read_published(Path(source.removeprefix(SPANDREL)))[0] if state is None else state
        from spandrel import ModelLoader  # an extra, and slow

        bare = {name.removeprefix("network."): tensor for name, tensor in state.items()}
        return ModelLoader().load_from_state_dict(bare).model.requires_grad_(True)
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    module, _, name = source.rpartition(".")
    found = getattr(importlib.import_module(module), name)
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise UserError(f"generator.source {source}: not a class of torch.nn.Module")
    return found(**config.arguments)
