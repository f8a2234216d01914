"""Makes the embedded filter bank that stands in for VGG, and writes its file into the package.

    python benchmarks/embedded_bank.py

Processors round differently: made anew, its weights may differ in their last digits, and so would
all that was trained with it.
"""

import numpy as np
import torch

from counterpoise.models.features import EMBEDDED_BANK
from counterpoise.models.weights import write_safetensors

WIDTHS = (33, 48, 64, 64, 64)
SEED = 20_170_1612


def designed_filters() -> np.ndarray:
    """The embedded bank's first layer, (33, 3, 7, 7): eleven planes on each of three colour axes.

    Each filter has unit norm. All but the local means (the first of each eleven) have zero mean.
    """
    y, x = np.mgrid[-3:4, -3:4].astype(np.float64)
    planes = [np.exp(-(x**2 + y**2) / (2 * 1.6**2))]
    for sigma in (0.8, 1.6):
        gaussian = np.exp(-(x**2 + y**2) / (2 * sigma**2))
        for angle in np.pi / 4 * np.arange(4):
            along = x * np.cos(angle) + y * np.sin(angle)
            planes.append(along * gaussian)
        wide = np.exp(-(x**2 + y**2) / (2 * (1.6 * sigma) ** 2))
        planes.append(gaussian / gaussian.sum() - wide / wide.sum())
    # Luma, blue-yellow and red-green.
    colours = np.array([[0.299, 0.587, 0.114], [-0.5, -0.5, 1.0], [1.0, -1.0, 0.0]])
    filters = np.stack([c[:, None, None] * p for c in colours for p in planes])
    detail = np.arange(len(filters)) % len(planes) > 0
    filters[detail] -= filters[detail].mean(axis=(2, 3), keepdims=True)
    norm: np.ndarray = np.linalg.norm(filters.reshape(len(filters), -1), axis=1)
    normalised: np.ndarray = filters / norm[:, None, None, None]
    return normalised


def orthogonal_filters(random: np.random.Generator, outputs: int, inputs: int) -> np.ndarray:
    """Random filters (outputs, inputs, 3, 3): orthonormal, each of zero mean on every input pair.

    The second half of the inputs are the first half's negative parts. Both are rectified, so
    without the zero means a filter's sign would hardly ever change; a difference between the two,
    which is a local mean of the image, still passes.
    """
    matrix = random.standard_normal((2, inputs // 2, 9, outputs))
    matrix -= matrix.mean(axis=(0, 2), keepdims=True)
    orthogonal, triangular = np.linalg.qr(matrix.reshape(inputs * 9, outputs))
    orthogonal *= np.sign(np.diag(triangular))  # QR is unique only up to signs
    return orthogonal.T.reshape(outputs, inputs, 3, 3)


def bank() -> dict[str, torch.Tensor]:
    """The weights of the convolutions, by their number."""
    random = np.random.Generator(np.random.PCG64(SEED))
    layers = [designed_filters()]
    for width in WIDTHS[1:]:
        # Both signs of every response go on.
        layers.append(orthogonal_filters(random, width, 2 * len(layers[-1])))
    return {str(n): torch.from_numpy(filters).float() for n, filters in enumerate(layers)}


if __name__ == "__main__":
    write_safetensors(EMBEDDED_BANK, bank(), {"made_by": "benchmarks/embedded_bank.py"})
    print(f"{EMBEDDED_BANK}: {EMBEDDED_BANK.stat().st_size:,} bytes")
