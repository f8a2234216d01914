"""Training crops cut on the device that trains, from images that it holds."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from counterpoise.data.dataset import CropPairs, Pair


class DeviceCrops:
    """The crops of a `CropPairs`, cut on a device: the same values, a whole batch at once.

    All images and their low-resolution twins lie on the device as two tables of uint8 pixels
    (P, 3); a batch is one look-up in each. What is random is drawn on the host, position by
    position, as `CropPairs` does.
    """

    def __init__(self, pairs: CropPairs, device: torch.device) -> None:
        self._pairs, self._device = pairs, device
        # Shrinking large images takes long, and lets go of the interpreter's lock.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            indices = range(len(pairs.catalog))
            whole = list(pool.map(lambda i: pairs.catalog.pair(i, pairs.degradation), indices))
        self._shapes = [hr.shape for _, hr in whole]
        self._lr, self._lr_starts = _table([lr for lr, _ in whole], device)
        self._hr, self._hr_starts = _table([hr for _, hr in whole], device)
        self._lr_grids = _grids(pairs.lr_crop_px, device)
        self._hr_grids = _grids(pairs.lr_crop_px * pairs.scale, device)

    def batch(self, positions: Sequence[int]) -> Pair:
        """(LR, HR) of these positions: (N, 3, h, w) and (N, 3, H, W), uint8, channels last."""
        scale = self._pairs.scale
        places = []
        for position in positions:
            image = self._pairs.image_at(position)
            cut = self._pairs.cut(position, self._shapes[image])
            hr_width = self._shapes[image][1]
            lr_width = hr_width // scale
            lr_start = self._lr_starts[image] + cut.top * lr_width + cut.left
            hr_start = self._hr_starts[image] + scale * (cut.top * hr_width + cut.left)
            places.append((lr_start, lr_width, hr_start, hr_width, cut.turns + 4 * cut.mirrored))
        table = torch.tensor(places)
        if self._device.type == "cuda":
            table = table.pin_memory()
        table = table.to(self._device, non_blocking=True)
        lr_starts, lr_widths, hr_starts, hr_widths, poses = table.unbind(1)
        return (
            _look_up(self._lr, lr_starts, lr_widths, self._lr_grids[poses]),
            _look_up(self._hr, hr_starts, hr_widths, self._hr_grids[poses]),
        )


def _table(images: Sequence[np.ndarray], device: torch.device) -> tuple[Tensor, list[int]]:
    """The pixels of images (H, W, 3), one image after the other, and where each begins."""
    sizes = [image.shape[0] * image.shape[1] for image in images]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    table = torch.empty(int(starts[-1]), 3, dtype=torch.uint8, device=device)
    for image, start, size in zip(images, starts, sizes, strict=False):
        table[start : start + size] = torch.from_numpy(image.reshape(size, 3).copy())
    return table, starts[:-1].tolist()


def _grids(size: int, device: torch.device) -> Tensor:
    """Row and column in a crop that each place of its eight poses shows: (8, 2, size, size)."""
    rows, columns = np.indices((size, size))
    poses = [
        [np.rot90(grid[:, ::step], turns) for grid in (rows, columns)]
        for step in (1, -1)
        for turns in range(4)
    ]
    return torch.from_numpy(np.array(poses)).to(device)


def _look_up(pixels: Tensor, start: Tensor, width: Tensor, grid: Tensor) -> Tensor:
    """Crops (N, 3, s, s) whose first pixels and image widths are given, in the grid's pose."""
    column = (-1, 1, 1)
    index = start.view(column) + grid[:, 0] * width.view(column) + grid[:, 1]
    return pixels[index].permute(0, 3, 1, 2)
