"""NIQE, where its authors' fitted model is at hand; nothing is downloaded."""

from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.special import gamma
from torch import Tensor

from counterpoise.cubic import cubic
from counterpoise.errors import UserError, refusing
from counterpoise.metrics.perceptual import hub_path

# The authors' model as BasicSR ships it; in torch.hub's folder the same file does.
MODEL_FILE = "niqe_pris_params.npz"
BLOCK_PX = 96
# Two blocks across and two down: the statistics of fewer say little.
LEAST_PX = 2 * BLOCK_PX
# MATLAB's fspecial("gaussian", 7, 7/6), which ends three pixels from its middle.
WINDOW_STD_PX = 7 / 6
# Shapes of a generalised Gaussian that are tried.
SHAPES = np.arange(0.2, 10.001, 0.001)
# A pixel's neighbours (rows, columns) whose products are looked at.
NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))
# MATLAB's imresize by a half: the cubic kernel, stretched to twice its width.
HALF_DISTANCES = (np.arange(8) - 3.5) / 2
FEATURES = 36


class NiqeModel(NamedTuple):
    """A Gaussian of the features of blocks of pristine photographs: (36,) and (36, 36)."""

    mean: np.ndarray
    covariance: np.ndarray

    def __call__(self, luma: Tensor) -> float:
        """How far one image (1, 1, H, W) is from them; lower is more natural, 3 to 5 is usual.

        BT.601 luma in [0, 1], sides of at least 192 pixels; what is left of the last whole block of
        96 is not looked at. NaN for an image without texture. Nothing is compared with an original.
        Source: Mittal et al. 2013 (Making a "completely blind" image quality analyzer), and the
        authors' MATLAB code.
        """
        features = block_features((luma[0, 0].double().cpu().numpy() * 255).round())
        whole = features[~np.isnan(features).any(1)]
        if len(whole) < 2:
            return float("nan")
        apart = self.mean - np.nanmean(features, axis=0)
        spread = (self.covariance + np.cov(whole, rowvar=False)) / 2
        return float(np.sqrt(apart @ np.linalg.pinv(spread) @ apart))


def block_features(image: np.ndarray) -> np.ndarray:
    """The features of an image's blocks, (blocks, 36); grey levels (H, W) in [0, 255].

    Half of them are of the image, half of it at half the size. NaN where a block has no texture.
    """
    down, across = (side // BLOCK_PX for side in image.shape)
    image = image[: down * BLOCK_PX, : across * BLOCK_PX]
    found = []
    for size in (BLOCK_PX, BLOCK_PX // 2):
        if size < BLOCK_PX:
            image = halved(image)
        blocks = _normalised(image).reshape(down, size, across, size).swapaxes(1, 2)
        found.append(_features(blocks.reshape(-1, size, size)))
    return np.concatenate(found, axis=1)


def halved(image: np.ndarray) -> np.ndarray:
    """Half the size, even sides, as MATLAB's imresize does it: cubic, antialiased, mirrored."""
    weights = cubic(HALF_DISTANCES)
    weights /= weights.sum()
    for _ in range(2):
        rows, count = np.pad(image, ((3, 3), (0, 0)), mode="symmetric"), len(image)
        image = sum(w * rows[place : place + count : 2] for place, w in enumerate(weights)).T
    return image


def generalised_gaussian(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shape, and scales below and above 0, of rows of values (N, M), each (N,).

    An asymmetric generalised Gaussian of mean 0, by its moments (Lasmar et al. 2009). NaN where
    no value of a row is below 0, or none above.
    """
    ratios = gamma(2 / SHAPES) ** 2 / (gamma(1 / SHAPES) * gamma(3 / SHAPES))
    squares = values**2
    with np.errstate(invalid="ignore", divide="ignore"):
        left, right = (
            np.sqrt((squares * side).sum(1) / side.sum(1)) for side in (values < 0, values > 0)
        )
        lean = left / right
        moments = np.abs(values).mean(1) ** 2 / squares.mean(1)
        wanted = moments * (lean**3 + 1) * (lean + 1) / (lean**2 + 1) ** 2
    shape = SHAPES[np.abs(ratios - wanted[:, None]).argmin(1)]
    shape = np.where(np.isnan(wanted), np.nan, shape)
    factor = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    return shape, left * factor, right * factor


def _normalised(image: np.ndarray) -> np.ndarray:
    """Each pixel by the mean and the deviation of its surroundings."""
    from skimage.filters import gaussian  # takes a second to import

    blurred = partial(gaussian, sigma=WINDOW_STD_PX, truncate=3 / WINDOW_STD_PX)
    mean = blurred(image)
    deviation = np.sqrt(np.abs(blurred(image**2) - mean**2))
    return (image - mean) / (deviation + 1)


def _features(blocks: np.ndarray) -> np.ndarray:
    """(blocks, side, side) to (blocks, 18)."""
    count = len(blocks)
    shape, left, right = generalised_gaussian(blocks.reshape(count, -1))
    found = [shape, (left + right) / 2]
    for shift in NEIGHBOURS:
        products = blocks * np.roll(blocks, shift, axis=(1, 2))
        shape, left, right = generalised_gaussian(products.reshape(count, -1))
        found += [shape, (right - left) * gamma(2 / shape) / gamma(1 / shape), left, right]
    return np.stack(found, axis=1)


def why_no_niqe() -> str:
    """What is missing for `niqe_model`, and what to do; empty where nothing is."""
    if _model_path().is_file():
        return ""
    return (
        "NIQE needs its authors' fitted model, which BasicSR brings: pip install --no-deps "
        f"basicsr, or put its basicsr/metrics/{MODEL_FILE} at {hub_path(MODEL_FILE)}"
    )


@cache
def niqe_model() -> NiqeModel:
    """The authors' model, where it is at hand; `UserError` where it is not, or another file is."""
    if why := why_no_niqe():
        raise UserError(why)
    path = _model_path()
    with refusing(f"{path} does not hold NIQE's model", instead="remove it"):
        with np.load(path, allow_pickle=False) as file:
            mean = file["mu_pris_param"].reshape(FEATURES).astype(float)
            covariance = file["cov_pris_param"].reshape(FEATURES, FEATURES).astype(float)
        return NiqeModel(mean, covariance)


def _model_path() -> Path:
    """Where the model is, or is to be: in torch.hub's folder, or in an installed BasicSR."""
    path = hub_path(MODEL_FILE)
    # Only looked for, never imported: BasicSR itself does not load beside today's torchvision.
    found = None if path.is_file() else find_spec("basicsr")
    if found is None or found.origin is None:
        return path
    return Path(found.origin).parent / "metrics" / MODEL_FILE
