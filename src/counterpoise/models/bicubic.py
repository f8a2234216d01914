"""Bicubic upscaling by a whole factor, in the two ways that generators are trained on."""

import math
from typing import Literal

import torch
from torch import Tensor

from counterpoise.cubic import cubic

# Every output pixel is made of source pixels at most this far from the one it lies in.
REACH_PX = 2


def bicubic_upsample(lr: Tensor, scale: int, kind: Literal["half-pixel", "tf1-legacy"]) -> Tensor:
    """Upscale images (N, C, H, W) to (N, C, scale H, scale W), always in float32; not clamped.

    `half-pixel` is MATLAB's imresize: pixel centres at halves, a = -0.5.
    `tf1-legacy` is TensorFlow 1's resize_images: source = destination / scale, which shifts the
    image by (scale - 1) / 2 output pixels, a = -0.75. Edges are clamped in both.
    """
    images = lr.float()
    for dimension in (2, 3):
        length = images.shape[dimension]
        index = torch.arange(-REACH_PX, length + REACH_PX, device=images.device)
        padded = images.index_select(dimension, index.clamp(0, length - 1))
        # Sums of shifted images, not a convolution: cuDNN would be free to round it to TF32.
        phases = []
        for taps in phase_taps(scale, kind):
            phase = torch.zeros_like(images)
            for offset, weight in enumerate(taps):
                if weight:
                    phase = phase.add(padded.narrow(dimension, offset, length), alpha=weight)
            phases.append(phase)
        images = torch.stack(phases, dimension + 1).flatten(dimension, dimension + 1)
    return images


def phase_taps(scale: int, kind: str) -> list[list[float]]:
    """For each output pixel within a source pixel, the weights of its source neighbours, from
    `REACH_PX` before it to as many behind."""
    legacy = kind == "tf1-legacy"
    a = -0.75 if legacy else -0.5
    taps = []
    for phase in range(scale):
        source = phase / scale if legacy else (phase + 0.5) / scale - 0.5
        offsets = range(-REACH_PX, REACH_PX + 1)
        taps.append([float(cubic(source - offset, a)) for offset in offsets])
        assert math.isclose(sum(taps[-1]), 1)
    return taps
