"""Content losses on images and on features: E, P and T of the EnhanceNet paper."""

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Features = Mapping[str, Tensor]


def pixel_loss(fake: Tensor, real: Tensor, reduction: Literal["mean", "sum"]) -> Tensor:
    """E: squared error of images (N, C, H, W) in [0, 1].

    `mean` is over all values; `sum` is the squared norm of an image's error, mean over the batch.
    Source: EnhanceNet, section 4.2.1.
    """
    loss = F.mse_loss(fake, real)
    return loss * real[0].numel() if reduction == "sum" else loss


def perceptual_loss(fake: Tensor, real: Tensor) -> Tensor:
    """P: mean squared error of one layer's features (N, C, h, w).

    Source: EnhanceNet, section 4.2.2.
    """
    return F.mse_loss(fake, real)


def texture_loss(fake: Tensor, real: Tensor, patch_px: int) -> Tensor:
    """T: squared error of Gram matrices of co-located patches of one layer's features (N, C, h, w).

    Patches are `patch_px` square and do not overlap; a rim that does not fill a patch is left out,
    and a map smaller than a patch is one patch. The Gram matrices F F^T are not normalised; the
    mean is over matrix entries, patches and images.
    Source: EnhanceNet, section 4.2.3.
    """
    return F.mse_loss(gram_matrices(fake, patch_px), gram_matrices(real, patch_px))


def gram_matrices(features: Tensor, patch_px: int) -> Tensor:
    """F F^T of each patch: (N, C, h, w) -> (N * patches, C, C), un-normalised, in float32."""
    # Autocast would take the product in bf16, whatever the features are.
    with torch.autocast(features.device.type, enabled=False):
        patches = cut_patches(features.float(), patch_px).flatten(2)
        return patches @ patches.transpose(1, 2)


def cut_patches(images: Tensor, patch_px: int) -> Tensor:
    """Non-overlapping square patches in reading order: (N, C, H, W) -> (N * patches, C, p, p).

    A rim that does not fill a patch is left out; an image smaller than a patch on a side is taken
    whole on that side.
    """
    count, channels, height, width = images.shape
    patch_height, patch_width = min(patch_px, height), min(patch_px, width)
    rows, columns = height // patch_height, width // patch_width
    images = images[..., : rows * patch_height, : columns * patch_width]
    grid = images.reshape(count, channels, rows, patch_height, columns, patch_width)
    return grid.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels, patch_height, patch_width)
