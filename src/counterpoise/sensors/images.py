"""What G's images are like beside real ones: diversity, fine detail, texture, range."""

import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoise.records import Readings
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
) -> Readings:
    """Statistics of a batch of fakes over those of the real images, 1 where they are alike.

    `fake` and `real` are (N, ...) and (M, ...) of the same kind. Where a fake is made from the real
    image beside it (`paired`, as in super-resolution, images (N, C, H, W) of at least 8 pixels),
    detail and texture compare; where it is made from noise, the distances within the batch do.
    A ratio is None where the real images have nothing to compare with (all alike, a single one).
    `value_range` is that of real images; None takes that of this batch.
    """
    fake, real = fake.detach().float(), real.detach().float()
    low, high = (real.min(), real.max()) if value_range is None else value_range
    outside = mean((fake < low) | (fake > high))
    if paired:
        return Readings(
            high_frequency_ratio=_ratio(*(variance_within(x, DETAIL_PX) for x in (fake, real))),
            patch_variance_ratio=_ratio(*(variance_within(x, PATCH_PX) for x in (fake, real))),
            fake_out_of_range=float(outside),
        )
    diversity = None
    if min(len(fake), len(real)) > 1:
        diversity = _ratio(mean_distance(fake), mean_distance(real))
    return Readings(diversity_ratio=diversity, fake_out_of_range=float(outside))


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


def _ratio(fake: Tensor, real: Tensor) -> float | None:
    return None if float(real) == 0 else float(fake / real)
