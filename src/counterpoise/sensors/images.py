"""What G's images are like beside real ones: diversity, fine detail, texture, range."""

import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoise.sensors.sums import mean

# Sides of the patches whose variance is measured: 2 sees the finest octave alone.
DETAIL_PX = 2
PATCH_PX = 8


def image_readings(
    fake: Tensor,
    real: Tensor,
    *,
    paired: bool,
    value_range: tuple[float, float] | None = None,
) -> dict[str, Tensor]:
    """Statistics of a batch of fakes over those of the real images, 1 where they are alike.

    `fake` and `real` are (N, ...) and (M, ...) of the same kind. Where a fake is made from the real
    image beside it (`paired`, as in super-resolution, images (N, C, H, W) of at least 8 pixels),
    detail and texture compare; where it is made from noise, the distances within the batch do.
    `value_range` is that of real images; None takes that of this batch. By the names of
    `records.Readings`, on the images' device: nothing waits for them. A ratio is its two sides,
    (2,), so that each can be averaged over processes before `ratio` makes one of them.
    """
    fake, real = fake.detach().float(), real.detach().float()
    readings = {}
    if real.ndim == 4:
        # Only images are stored in a range: a point outside a batch's is no giveaway.
        low, high = (real.min(), real.max()) if value_range is None else value_range
        readings["fake_out_of_range"] = mean((fake < low) | (fake > high))
    is_textured = real.ndim == 4 and min(real.shape[2:]) >= PATCH_PX
    if paired and is_textured and real.shape == fake.shape:
        for name, patch_px in (("high_frequency", DETAIL_PX), ("patch_variance", PATCH_PX)):
            of_fake, of_real = (variance_within(images, patch_px) for images in (fake, real))
            readings[f"{name}_ratio"] = torch.stack([of_fake, of_real])
    elif min(len(fake), len(real)) > 1:
        readings["diversity_ratio"] = torch.stack([mean_distance(fake), mean_distance(real)])
    return readings


def variance_within(images: Tensor, patch_px: int) -> Tensor:
    """The mean variance within patches of this side, over images (N, C, H, W) and channels.

    Patches tile an image; a remainder at the right and at the bottom is left out. With 2 pixels it
    is the energy of the finest level of a Haar transform.
    """
    height, width = (size // patch_px * patch_px for size in images.shape[-2:])
    images = images[..., :height, :width]
    means = F.avg_pool2d(images, patch_px)
    return mean((images - F.interpolate(means, scale_factor=float(patch_px))).square())


def mean_distance(images: Tensor) -> Tensor:
    """The mean Euclidean distance between two different images of a batch (N, ...), N above 1."""
    return mean(torch.pdist(images.reshape(len(images), -1)))


def ratio(fake: float, real: float) -> float | None:
    """A statistic of fakes over that of real images; None where these have nothing to compare
    with: all alike, say."""
    return None if real == 0 else fake / real
