"""Means of speed, and where they are used: none of them changes what is computed."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from counterpoise.config import RunConfig, Switch, TrainConfig
from counterpoise.data.catalog import Catalog
from counterpoise.errors import UserError
from counterpoise.losses.generator_loss import FeatureFunction
from counterpoise.models.features import NormalisedFeatures
from counterpoise.training.cuda_graphs import ReplayedPasses

Forward = Callable[[Tensor], Tensor]

# Of a GPU's free memory, for images: networks and their activations need the rest.
MOST_OF_FREE_MEMORY = 0.25


def chosen(switch: Switch, device: torch.device) -> bool:
    """Whether a means of speed is used: as the configuration says, or where it helps."""
    return switch == "always" or (switch == "auto" and device.type == "cuda")


def memory_format(train: TrainConfig, device: torch.device) -> torch.memory_format:
    """How weights and images lie in memory."""
    return torch.channels_last if chosen(train.channels_last, device) else torch.contiguous_format


def fits_on_device(images: Catalog, config: RunConfig, free_bytes: int) -> bool:
    """Whether all images and their low-resolution twins may be kept on a GPU with so much free."""
    hr_bytes = sum(image.hr.nbytes for image in images.images if image is not None)
    needed = hr_bytes * (1 + 1 / config.generator.scale**2)
    room = min(config.data.device_cache_mib * 2**20, free_bytes * MOST_OF_FREE_MEMORY)
    return images.in_memory and needed <= room


@dataclass(frozen=True)
class Passes:
    """The passes of the networks as a training runs them."""

    run_g: Forward
    run_d: Forward | None
    run_features: FeatureFunction | None

    @property
    def replayed(self) -> list[ReplayedPasses]:
        """Those that are replayed from CUDA graphs."""
        passes = (self.run_g, self.run_d, self.run_features)
        return [p for p in passes if isinstance(p, ReplayedPasses)]


def accelerated(
    g: nn.Module,
    d: nn.Module | None,
    features: NormalisedFeatures | None,
    train: TrainConfig,
    device: torch.device,
) -> Passes:
    """The networks' passes as the configuration wants them: replayed on a GPU, or as they are."""
    if device.type != "cuda" and train.cuda_graphs == "always":
        raise UserError("train.cuda_graphs=always: there is no GPU here; set it to auto")
    if device.type != "cuda" or train.cuda_graphs == "never":
        return Passes(g, d, features)
    # Recording leaves nodes of weights' gradients on its stream; that they wait for it is meant.
    quiet = getattr(torch.autograd.graph, "set_warn_on_accumulate_grad_stream_mismatch", None)
    if quiet is not None:
        quiet(False)
    # Passes of D on real and on fake images, and of the features, wait together for their backward
    # passes.
    return Passes(
        ReplayedPasses(g, "G", most_pending=1),
        None if d is None else ReplayedPasses(d, "D", most_pending=2),
        None if features is None else ReplayedPasses(features, "the features", most_pending=2),
    )
