"""Pairs of LR and HR: random crops for training, whole images and central crops for measuring."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from counterpoise.data.catalog import Catalog
from counterpoise.data.resize import Degradation, downscale, downscale_crop
from counterpoise.errors import UserError

Pair = tuple[Tensor, Tensor]


class CropPairs(Dataset[Pair]):
    """Training crops by position in an endless stream: `pairs[position]` is (LR, HR), uint8.

    Shapes are (3, crop_px / scale, crop_px / scale) and (3, crop_px, crop_px). Everything random
    about a pair (image, place, flip, rotation) is a function of the seed and the position, so the
    stream is the same for any number of workers and devices, and from wherever one resumes.
    Each run of as many positions as there are images uses every image once.
    """

    def __init__(
        self,
        catalog: Catalog,
        scale: int,
        degradation: Degradation,
        crop_px: int,
        seed: int,
        flips: bool,
        rotations: bool,
    ) -> None:
        self._catalog, self._scale, self._degradation = catalog, scale, degradation
        self._lr_crop_px, self._seed = crop_px // scale, seed
        self._flips, self._rotations = flips, rotations

    def __getitem__(self, position: int) -> Pair:
        count, size, scale = len(self._catalog), self._lr_crop_px, self._scale
        order = _permutation(self._seed, position // count, count)
        index = int(order[position % count])
        image = self._catalog.load(index)
        random = np.random.default_rng([self._seed, 1, position])
        height, width = image.hr.shape[0] // scale, image.hr.shape[1] // scale
        if min(height, width) < size:
            raise UserError(
                f"{self._catalog.entries[index].hr_path}: smaller than a crop, which it was not "
                "when the training began: put the image back, then resume"
            )
        top = int(random.integers(height - size + 1))
        left = int(random.integers(width - size + 1))
        hr = image.hr[scale * top : scale * (top + size), scale * left : scale * (left + size)]
        if image.lr is not None:
            lr = image.lr[top : top + size, left : left + size]
        else:
            lr = downscale_crop(image.hr, scale, self._degradation, top, left, size)
        if self._flips and random.integers(2):
            lr, hr = lr[:, ::-1], hr[:, ::-1]
        if self._rotations:
            turns = int(random.integers(4))
            lr, hr = np.rot90(lr, turns), np.rot90(hr, turns)
        return _to_tensor(lr), _to_tensor(hr)


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, 0, epoch]).permutation(count)


def _to_tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def full_pairs(
    catalog: Catalog, scale: int, degradation: Degradation
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Whole images as (name, LR (h, w, 3), HR (H, W, 3)), uint8."""
    for index, entry in enumerate(catalog.entries):
        image = catalog.load(index)
        lr = image.lr if image.lr is not None else downscale(image.hr, scale, degradation)
        yield entry.name, lr, image.hr


def central_crops(
    catalog: Catalog, scale: int, degradation: Degradation, crop_px: int, count: int
) -> Pair:
    """The central crops of the first `count` images: LR and HR batches, float32 in [0, 1].

    Crops are smaller than `crop_px` where one of the images is.
    """
    images = [catalog.load(index) for index in range(min(count, len(catalog)))]
    size = min(crop_px, *(min(image.hr.shape[:2]) for image in images)) // scale
    lr_crops, hr_crops = [], []
    for image in images:
        top = (image.hr.shape[0] // scale - size) // 2
        left = (image.hr.shape[1] // scale - size) // 2
        if image.lr is not None:
            lr = image.lr[top : top + size, left : left + size]
        else:
            lr = downscale_crop(image.hr, scale, degradation, top, left, size)
        hr = image.hr[scale * top : scale * (top + size), scale * left : scale * (left + size)]
        lr_crops.append(_to_tensor(lr))
        hr_crops.append(_to_tensor(hr))
    return torch.stack(lr_crops).float() / 255, torch.stack(hr_crops).float() / 255
