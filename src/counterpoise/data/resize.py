"""Making images smaller: MATLAB's imresize, Pillow's Lanczos, or as real files are."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image

from counterpoise.config import DegradationConfig
from counterpoise.cubic import cubic
from counterpoise.data.degrade import degrade, sharpened

# How many low-resolution pixels around a crop influence it: the kernels' half widths, rounded up.
# (Those of `real-esrgan` may be wider, as if an image ended there.)
DEGRADATION_REACH_PX = 4


def imresize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize (H, W) or (H, W, C) to `size` (height, width) as MATLAB's imresize does, rows first.

    Bicubic with a = -0.5, pixel centres at halves, clamped edges (some releases mirror them, not
    those that made the field's LR images), and a kernel that is widened when shrinking
    (antialiasing). Floats give float32, not clamped. A uint8 image stays uint8: like
    MATLAB, it is rounded and clamped after the rows and again after the columns. With that, the LR
    images that the field hands round as "MATLAB bicubic" are met to the bit.
    """
    rows = _weights(image.shape[0], size[0])
    columns = _weights(image.shape[1], size[1])

    def settled(values: np.ndarray) -> np.ndarray:
        """Halves are rounded up, as in MATLAB."""
        if image.dtype == np.uint8:
            values = np.floor(np.clip(values, 0, 255) + 0.5)
        return values.astype(image.dtype if image.dtype == np.uint8 else np.float32)

    flat = image.reshape(image.shape[0], -1).astype(np.float64)
    shrunk = settled(rows @ flat).reshape(size[0], image.shape[1], -1).astype(np.float64)
    return settled(columns @ shrunk).reshape(*size, *image.shape[2:])


def downscale(
    image: np.ndarray, scale: int, degradation: DegradationConfig, seed: Sequence[int] = ()
) -> np.ndarray:
    """The low-resolution image (h, w, 3) of an image (H, W, 3), both uint8; sides must divide.
    `seed` is of what is random."""
    height, width = image.shape[0] // scale, image.shape[1] // scale
    if (height * scale, width * scale) != image.shape[:2]:
        raise ValueError(f"sides of {image.shape[:2]} are not multiples of {scale}")
    if degradation.name == "real-esrgan":
        return degrade(image, scale, degradation, np.random.default_rng(seed))[0]
    if degradation.name == "lanczos":
        # Narrower first, then lower, as Pillow has always done; since version 13 it makes tall
        # images lower first, and rounds otherwise, so that crops would not be crops of the whole.
        narrow = Image.fromarray(image).resize((width, image.shape[0]), Image.Resampling.LANCZOS)
        return np.asarray(narrow.resize((width, height), Image.Resampling.LANCZOS))
    return imresize(image, (height, width))


def downscale_crop(
    image: np.ndarray,
    scale: int,
    degradation: DegradationConfig,
    top: int,
    left: int,
    crop_px: int,
    seed: Sequence[int] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """The square crops of `downscale(image)` and of the image (sharpened if that is asked for) at
    (top, left), without shrinking the whole image.

    Position and side are in low-resolution pixels. A margin around the crop makes it the same as
    the crop of the whole, so no image needs its low-resolution twin in memory.
    """
    reach = DEGRADATION_REACH_PX
    first_row, first_column = max(0, top - reach), max(0, left - reach)
    last_row, last_column = top + crop_px + reach, left + crop_px + reach
    part = image[scale * first_row : scale * last_row, scale * first_column : scale * last_column]
    if degradation.sharpened_hr:
        part = sharpened(part)
    small = downscale(part, scale, degradation, seed)
    row, column = top - first_row, left - first_column
    hr = part[scale * row : scale * (row + crop_px), scale * column : scale * (column + crop_px)]
    return small[row : row + crop_px, column : column + crop_px], hr


@lru_cache(maxsize=64)
def _weights(length: int, new_length: int) -> np.ndarray:
    """The matrix (new_length, length) that resizes along one axis."""
    ratio = new_length / length
    stretch = min(1.0, ratio)
    taps = int(np.ceil(4 / stretch)) + 2
    centres = (np.arange(new_length) + 0.5) / ratio - 0.5
    first = np.floor(centres - 2 / stretch).astype(int)
    index = first[:, None] + np.arange(taps)
    weight = cubic((centres[:, None] - index) * stretch)
    weight /= weight.sum(axis=1, keepdims=True)
    matrix = np.zeros((new_length, length))
    clamped = np.clip(index, 0, length - 1)
    np.add.at(matrix, (np.arange(new_length)[:, None], clamped), weight)
    return matrix
