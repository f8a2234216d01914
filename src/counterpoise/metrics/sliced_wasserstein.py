"""The sliced Wasserstein distance of point sets, and of images' textures; it needs no weights."""

import torch
import torch.nn.functional as F
from torch import Tensor

# Karras et al. 2018: patches of 7x7 pixels, 512 projections, distances in thousandths.
PATCH_PX, PROJECTIONS, UNIT = 7, 512, 1000.0
# A set whose channel hardly varies is not blown up to unit deviation.
LEAST_DEVIATION = 1e-6
# One image against its original: the octave above a x4 network's input, the one below it, and what
# is left. So many patches and directions make the seed's share of the distance about 2 %.
IMAGE_LEVELS, IMAGE_PATCHES, IMAGE_PROJECTIONS = 3, 1024, 128


def sliced_wasserstein(
    fake: Tensor,
    real: Tensor,
    *,
    patches_per_image: int = 128,
    projections: int = PROJECTIONS,
    least_px: int = 16,
    seed: int = 0,
) -> dict[int, float]:
    """Distance of the patches of paired images (N, C, H, W), by level of a Laplacian pyramid.

    The keys are the levels' heights in pixels, from the image's down to `least_px` or more; lower
    is better, 0 for equal images. Unlike in the paper, patches of both are taken at the same places
    (that lowers the variance), and normalised to zero mean and unit deviation per channel as the
    real ones are, so that a loss of contrast counts. Deterministic for a seed.
    Source: Karras et al. 2018 (Progressive GAN), section 5.
    """
    if min(fake.shape[-2:]) < max(least_px, PATCH_PX):
        raise ValueError(f"images of {tuple(fake.shape[-2:])} have no level of {least_px} pixels")
    draw = torch.Generator().manual_seed(seed)
    distances = {}
    for fakes, reals in zip(
        laplacian_pyramid(fake.detach().float(), least_px),
        laplacian_pyramid(real.detach().float(), least_px),
        strict=True,
    ):
        places = _places(reals, patches_per_image, draw)
        real_patches, fake_patches = _patches(reals, places), _patches(fakes, places)
        axes = (0, 2, 3)
        mean = real_patches.mean(axes, keepdim=True)
        deviation = real_patches.std(axes, keepdim=True, correction=0).clamp(min=LEAST_DEVIATION)
        one, other = (((x - mean) / deviation).flatten(1) for x in (fake_patches, real_patches))
        distances[reals.shape[-2]] = UNIT * _sliced(one, other, projections, draw)
    return distances


def image_sliced_wasserstein(fake: Tensor, real: Tensor) -> float:
    """Distance of the textures of one image (1, C, H, W) and its original; lower is better.

    The mean over three levels of the pyramid (fewer where a side is under 28 pixels). Sides of at
    least 7 pixels.
    """
    distances = sliced_wasserstein(
        fake,
        real,
        patches_per_image=IMAGE_PATCHES,
        projections=IMAGE_PROJECTIONS,
        least_px=max(PATCH_PX, min(real.shape[-2:]) >> (IMAGE_LEVELS - 1)),
    )
    return sum(distances.values()) / len(distances)


def sliced_wasserstein_points(fake: Tensor, real: Tensor, projections: int = PROJECTIONS) -> float:
    """Mean Wasserstein-1 distance of point sets (N, D) over random directions; lower is better."""
    draw = torch.Generator().manual_seed(0)
    return _sliced(fake.detach().float(), real.detach().float(), projections, draw)


def laplacian_pyramid(images: Tensor, least_px: int) -> list[Tensor]:
    """Band-pass levels (N, C, H / 2^k, W / 2^k), finest first; the last is the small image itself.

    Source: Burt and Adelson 1983, with their 5x5 binomial filter and mirrored edges.
    """
    levels = []
    while min(images.shape[-2:]) // 2 >= least_px:
        smaller = _blurred(images)[..., ::2, ::2]
        levels.append(images - _enlarged(smaller, images.shape[-2:]))
        images = smaller
    return [*levels, images]


def _blurred(images: Tensor) -> Tensor:
    """Convolved with the binomial filter 1 4 6 4 1 in both directions."""
    row = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=images.dtype, device=images.device) / 16
    channels = images.shape[1]
    padded = F.pad(images, (2, 2, 2, 2), mode="reflect")
    for shape in ((1, 1, 1, 5), (1, 1, 5, 1)):
        kernel = row.reshape(shape).expand(channels, 1, *shape[2:])
        padded = F.conv2d(padded, kernel, groups=channels)
    return padded


def _enlarged(images: Tensor, size: torch.Size) -> Tensor:
    """Twice the size: zeros between the pixels, blurred, times four."""
    spread = images.new_zeros(*images.shape[:2], *size)
    spread[..., ::2, ::2] = images
    return 4 * _blurred(spread)


def _places(images: Tensor, per_image: int, draw: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Image, top row and left column of each patch; no more of an image than it has places."""
    count, _, height, width = images.shape
    per_image = min(per_image, (height - PATCH_PX + 1) * (width - PATCH_PX + 1))
    image = torch.arange(count).repeat_interleave(per_image)
    top = torch.randint(height - PATCH_PX + 1, (len(image),), generator=draw)
    left = torch.randint(width - PATCH_PX + 1, (len(image),), generator=draw)
    return image, top, left


def _patches(images: Tensor, places: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Patches (N, C, 7, 7) at the given places."""
    image, top, left = places
    return images.unfold(2, PATCH_PX, 1).unfold(3, PATCH_PX, 1)[image, :, top, left]


def _sliced(fake: Tensor, real: Tensor, projections: int, draw: torch.Generator) -> float:
    directions = torch.randn(fake.shape[1], projections, generator=draw)
    directions = directions / directions.norm(dim=0)
    # Sorting along rows in memory is ten times as fast as along columns.
    ordered = [(directions.T @ points.T).contiguous().sort(dim=1).values for points in (fake, real)]
    return float((ordered[0] - ordered[1]).abs().mean())
