"""Bicubic upscaling against its definition."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.models.bicubic import bicubic_upsample

KINDS = ["half-pixel", "tf1-legacy"]


def keys_kernel(x: float, a: float) -> float:
    x = abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def reference(image: np.ndarray, scale: int, kind: str) -> np.ndarray:
    """One output pixel at a time, straight from the definitions; (H, W) float64."""
    legacy = kind == "tf1-legacy"
    a = -0.75 if legacy else -0.5
    matrices = []
    for length in image.shape:
        matrix = np.zeros((scale * length, length))
        for out in range(scale * length):
            centre = out / scale if legacy else (out + 0.5) / scale - 0.5
            first = int(np.floor(centre)) - 1
            for position in range(first, first + 4):
                weight = keys_kernel(centre - position, a)
                matrix[out, min(max(position, 0), length - 1)] += weight
        matrices.append(matrix)
    return matrices[0] @ image @ matrices[1].T


@settings(deadline=None, max_examples=40)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    scale=st.sampled_from([2, 3, 4, 8]),
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 100),
)
def test_equals_the_definition_at_every_pixel(height, width, scale, kind, seed):
    image = np.random.default_rng(seed).random((2, 3, height, width))
    output = bicubic_upsample(torch.from_numpy(image), scale, kind)
    assert output.dtype == torch.float32
    expected = np.array([[reference(plane, scale, kind) for plane in planes] for planes in image])
    np.testing.assert_allclose(output.numpy(), expected, atol=2e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_stays_float32_under_autocast(kind):
    image = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(3))
    with torch.autocast("cpu", torch.bfloat16):
        output = bicubic_upsample(image, 2, kind)
    assert output.dtype == torch.float32
    assert torch.equal(output, bicubic_upsample(image, 2, kind))
