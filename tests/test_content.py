import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.losses.generator_loss import (
    cut_patches,
    gram_matrices,
    perceptual_loss,
    texture_loss,
)


def rand(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def naive_patches(images, patch_px):
    """Every whole patch by slicing, in reading order."""
    height, width = images.shape[-2:]
    rows, columns = min(patch_px, height), min(patch_px, width)
    return [
        image[:, top : top + rows, left : left + columns]
        for image in images
        for top in range(0, height - rows + 1, rows)
        for left in range(0, width - columns + 1, columns)
    ]


def naive_gram(patch):
    channels = patch.shape[0]
    gram = np.zeros((channels, channels))
    for i in range(channels):
        for j in range(channels):
            gram[i, j] = float((patch[i].double() * patch[j].double()).sum())
    return gram


@settings(deadline=None, max_examples=40)
@given(
    count=st.integers(1, 3),
    channels=st.integers(1, 4),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    patch_px=st.integers(1, 24),
)
def test_patches_against_slicing(count, channels, height, width, patch_px):
    images = rand(count, channels, height, width)
    patches = cut_patches(images, patch_px)
    expected = naive_patches(images, patch_px)
    assert len(patches) == len(expected)
    assert all(torch.equal(a, b) for a, b in zip(patches, expected, strict=True))


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (1, 5, 9, 6), (1, 2, 3, 3)])
def test_texture_loss_against_loops(shape):
    fake, real = rand(*shape), rand(*shape, seed=1)
    grams = [
        np.stack([naive_gram(patch) for patch in naive_patches(features, 4)])
        for features in (fake, real)
    ]
    np.testing.assert_allclose(gram_matrices(fake, 4).numpy(), grams[0], rtol=1e-5)
    expected = np.mean((grams[0] - grams[1]) ** 2)
    assert texture_loss(fake, real, 4).item() == pytest.approx(expected, rel=1e-4)


def test_texture_loss_is_in_float32_under_autocast():
    fake, real = rand(1, 16, 16, 16), rand(1, 16, 16, 16, seed=1)
    outside = texture_loss(fake, real, 16)
    with torch.autocast("cpu", torch.bfloat16):
        inside = texture_loss(fake, real, 16)
        assert perceptual_loss(fake.bfloat16(), real.bfloat16()).dtype == torch.float32
    assert inside.dtype == torch.float32
    assert torch.equal(inside, outside)
