"""The batches of a training, one after the other, from any one on."""

from collections.abc import Iterator

import torch

from counterpoise.data.dataset import Pair
from counterpoise.data.device_crops import device_batches
from counterpoise.data.sampler import batches
from counterpoise.training.acceleration import chosen
from counterpoise.training.setup import Parts


class Batches:
    """LR and HR crops of this process, float32 in [0, 1], on its device."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        # How many were drawn. A resumed training sets it before it draws any.
        self.drawn = 0
        self._batches: Iterator[Pair] | None = None
        use_channels_last = chosen(parts.config.train.channels_last, parts.fabric.device)
        # Crops from the device come channels last.
        self._layout = torch.channels_last if use_channels_last else torch.contiguous_format

    def next(self) -> Pair:
        """The next batch: LR (N, 3, h, w), HR (N, 3, H, W)."""
        if self._batches is None:
            self._batches = self._from(self.drawn)
        self.drawn += 1
        device = self._parts.fabric.device
        lr, hr = (
            x.to(device, non_blocking=True).float().div_(255).contiguous(memory_format=self._layout)
            for x in next(self._batches)
        )
        return lr, hr

    def _from(self, first: int) -> Iterator[Pair]:
        parts, fabric = self._parts, self._parts.fabric
        share = parts.config.train.batch_size, fabric.global_rank, fabric.world_size, first
        if parts.images.device_crops is not None:
            return device_batches(parts.images.device_crops, *share)
        return batches(
            parts.images.dataset,
            *share,
            parts.config.data.worker_processes,
            # A thread that pins memory would break into the recording of a CUDA graph.
            pin_memory=fabric.device.type == "cuda" and not parts.networks.passes.replayed,
        )
