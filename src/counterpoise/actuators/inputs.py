"""What can be done to D's inputs, real and fake alike: noise and augmentation, differentiable."""

from dataclasses import dataclass

import torch
from torch import Tensor

from counterpoise.errors import UserError
from counterpoise.seeding import generator_for_step

# Largest shift, as a share of the side; half ranges of brightness (of a range of 1), saturation and
# contrast; side of the square that cutout hides. After DiffAugment's, with ADA's shift.
MOST_SHIFT = 0.125
BRIGHTNESS = 0.25
SATURATION = 1.0
CONTRAST = 0.5
CUTOUT = 0.5

# Random numbers per image: one for whether, then those for how.
_DRAWS = 16

# Streams of random numbers within a step.
_TRANSFORMS, _REAL_NOISE, _FAKE_NOISE, _FAKE_TRANSFORMS, R1_NOISE = 1, 2, 3, 4, 5


@dataclass(frozen=True)
class InputChange:
    """What is done to D's inputs on one batch. Asked twice, it does the same thing twice.

    So D's pass and G's pass through D see the same images, and D(G(z)) before and after D's update
    compare. Where fake images are made from the real ones beside them (`paired`), both get the same
    transforms, else D would tell them by these; noise is always drawn anew for each image.
    `batch` counts the batches of the training.
    """

    noise_std: float = 0.0
    augment_probability: float = 0.0
    paired: bool = True
    seed: int = 0
    batch: int = 0
    rank: int = 0

    def real(self, images: Tensor) -> Tensor:
        """Real images (N, ...) as D shall see them: augmented, then with Gaussian noise added."""
        return self._change(images, _TRANSFORMS, _REAL_NOISE)

    def fake(self, images: Tensor) -> Tensor:
        """Fake images (N, ...) as D shall see them, differentiable."""
        return self._change(images, _TRANSFORMS if self.paired else _FAKE_TRANSFORMS, _FAKE_NOISE)

    def _change(self, images: Tensor, transforms: int, noise: int) -> Tensor:
        if self.augment_probability:
            images = augment(images, self.augment_probability, self.draws(images, transforms))
        if self.noise_std:
            drawing = self.draws(images, noise)
            drawn = torch.randn(images.shape, generator=drawing, device=images.device)
            images = images + self.noise_std * drawn.to(images.dtype)
        return images

    def draws(self, images: Tensor, stream: int) -> torch.Generator:
        """Random numbers for this batch, where the images are."""
        return generator_for_step(self.seed, self.batch, self.rank, images.device, stream)


def augment(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Images (N, C, H, W), each augmented with each of the transforms with this probability.

    Mirroring, quarter turns (half turns where the image is not square), shifts by whole pixels with
    reflection, brightness, saturation and contrast, and cutout (filled with the image's mean).
    Brightness is that of values of a range of 1. Random numbers are drawn alike whatever the
    probability. Raises `UserError` for what is not images.
    Source: Karras et al. 2020 (ADA, arXiv 2006.06676), appendix B, each transform with probability
    p; Zhao et al. 2020 (DiffAugment, arXiv 2006.10738), colour and cutout.
    """
    if images.ndim != 4:
        raise UserError(
            f"augmentation needs images (N, C, H, W), and D's inputs are {tuple(images.shape)}; "
            "use a policy without augmentation"
        )
    draws = torch.rand((_DRAWS, len(images)), generator=generator, device=images.device)
    chosen = draws[:7] < probability
    images = _move(images, chosen[:3], draws[7:11])
    images = _recolour(images, chosen[3:6], draws[11:14])
    return _cut_out(images, chosen[6], draws[14:16])


def _move(images: Tensor, chosen: Tensor, draws: Tensor) -> Tensor:
    """Mirror, turn and shift, as one gathering of pixels."""
    count, channels, height, width = images.shape
    rows = torch.arange(height, device=images.device).reshape(1, height, 1)
    columns = torch.arange(width, device=images.device).reshape(1, 1, width)
    mirror = (chosen[0] & (draws[0] < 0.5)).reshape(-1, 1, 1)
    columns = torch.where(mirror, width - 1 - columns, columns)
    rows, columns = rows.expand(count, height, width), columns.expand(count, height, width)

    turns = torch.where(chosen[1], (draws[1] * 4).long(), 0).reshape(-1, 1, 1)
    half = turns >= 2 if height == width else (turns % 2 == 1)
    rows = torch.where(half, height - 1 - rows, rows)
    columns = torch.where(half, width - 1 - columns, columns)
    if height == width:
        quarter = turns % 2 == 1
        rows, columns = (
            torch.where(quarter, columns, rows),
            torch.where(quarter, height - 1 - rows, columns),
        )

    shifted = []
    for index, draw, size in ((rows, draws[2], height), (columns, draws[3], width)):
        shift = ((2 * draw - 1) * (MOST_SHIFT * size)).round().long()
        moved = index + torch.where(chosen[2], shift, 0).reshape(-1, 1, 1)
        moved = moved.abs()
        shifted.append(torch.where(moved >= size, 2 * (size - 1) - moved, moved))
    places = (shifted[0] * width + shifted[1]).reshape(count, 1, -1)
    return images.flatten(2).gather(2, places.expand(-1, channels, -1)).reshape(images.shape)


def _recolour(images: Tensor, chosen: Tensor, draws: Tensor) -> Tensor:
    """Change brightness, saturation and contrast."""
    spread = torch.where(chosen, 2 * draws - 1, 0).to(images.dtype).reshape(3, -1, 1, 1, 1)
    images = images + BRIGHTNESS * spread[0]
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * (1 + SATURATION * spread[1])
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + (images - mean) * (1 + CONTRAST * spread[2])


def _cut_out(images: Tensor, chosen: Tensor, draws: Tensor) -> Tensor:
    """Hide a square of half the side, anywhere on the image, also partly outside."""
    inside = chosen.reshape(-1, 1, 1, 1)
    for dimension, draw in ((2, draws[0]), (3, draws[1])):
        size = images.shape[dimension]
        shape = [1, 1, 1, 1]
        shape[dimension] = size
        place = (torch.arange(size, device=images.device) + 0.5).reshape(shape)
        centre = (draw * size).reshape(-1, 1, 1, 1)
        inside = inside & ((place - centre).abs() < CUTOUT * size / 2)
    return torch.where(inside, images.mean((1, 2, 3), keepdim=True), images)
