"""Pairs of LR and HR: random crops for training, whole images and central crops for measuring."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from counterpoise.config import DegradationConfig
from counterpoise.data.catalog import Catalog
from counterpoise.data.resize import downscale_crop

Pair = tuple[Tensor, Tensor]


class Cut(NamedTuple):
    """Where a crop lies, in low-resolution pixels, and how it is turned after being mirrored."""

    top: int
    left: int
    mirrored: bool
    turns: int


@dataclass(frozen=True)
class CropPairs:
    """Training crops by position in an endless stream: `pairs[position]` is (LR, HR), uint8.

    Shapes are (3, crop_px / scale, crop_px / scale) and (3, crop_px, crop_px). Everything random
    about a pair (image, place, flip, degradation...) is a function of the seed and the position, so
    the stream is the same for any number of workers and devices, and from wherever one resumes.
    Each run of as many positions as there are images uses every image once.
    """

    catalog: Catalog
    scale: int
    degradation: DegradationConfig
    crop_px: int
    seed: int
    flips: bool
    rotations: bool

    @property
    def lr_crop_px(self) -> int:
        return self.crop_px // self.scale

    def __getitem__(self, position: int) -> Pair:
        image = self.catalog.load(self.image_at(position))
        cut = self.cut(position, image.hr.shape)
        top, left, size, scale = cut.top, cut.left, self.lr_crop_px, self.scale
        if image.lr is None:
            seed = self.seed, 2, position
            lr, hr = downscale_crop(image.hr, scale, self.degradation, top, left, size, seed)
        else:
            hr = image.hr[scale * top : scale * (top + size), scale * left : scale * (left + size)]
            lr = image.lr[top : top + size, left : left + size]
        if cut.mirrored:
            lr, hr = lr[:, ::-1], hr[:, ::-1]
        lr, hr = np.rot90(lr, cut.turns), np.rot90(hr, cut.turns)
        return _to_tensor(lr), _to_tensor(hr)

    def image_at(self, position: int) -> int:
        """The index of the image that a position's crop is cut from."""
        count = len(self.catalog)
        return int(_permutation(self.seed, position // count, count)[position % count])

    def cut(self, position: int, hr_shape: Sequence[int]) -> Cut:
        """All else that is random about a position, whose image has this HR shape."""
        size = self.lr_crop_px
        height, width = hr_shape[0] // self.scale, hr_shape[1] // self.scale
        random = np.random.default_rng([self.seed, 1, position])
        return Cut(
            top=int(random.integers(height - size + 1)),
            left=int(random.integers(width - size + 1)),
            mirrored=self.flips and bool(random.integers(2)),
            turns=int(random.integers(4)) if self.rotations else 0,
        )


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, 0, epoch]).permutation(count)


def _to_tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def central_crops(
    catalog: Catalog, degradation: DegradationConfig, crop_px: int, count: int
) -> Pair:
    """The central crops of the first `count` images: LR and HR batches, float32 in [0, 1].

    Crops are smaller than `crop_px` where one of the images is.
    """
    pairs = [catalog.pair(index, degradation) for index in range(min(count, len(catalog)))]
    size = min(crop_px // catalog.scale, *(side for lr, _ in pairs for side in lr.shape[:2]))
    parts = [central_part(lr, hr, size) for lr, hr in pairs]
    lr, hr = (
        torch.stack([_to_tensor(image) for image in images]).float() / 255
        for images in zip(*parts, strict=True)
    )
    return lr, hr


def central_part(lr: np.ndarray, hr: np.ndarray, most_px: int) -> tuple[np.ndarray, np.ndarray]:
    """The central part of a pair, of at most so many low-resolution pixels a side."""
    scale = hr.shape[0] // lr.shape[0]
    height, width = (min(side, most_px) for side in lr.shape[:2])
    top, left = (lr.shape[0] - height) // 2, (lr.shape[1] - width) // 2
    lr = lr[top : top + height, left : left + width]
    top, left, height, width = (scale * n for n in (top, left, height, width))
    return lr, hr[top : top + height, left : left + width]
