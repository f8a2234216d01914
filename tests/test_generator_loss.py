"""G's loss: its terms with their weights, and the texture term against loops."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from counterpoise.config import LossConfig
from counterpoise.losses.adversarial import ADVERSARIAL_FORMS
from counterpoise.losses.generator_loss import (
    GeneratorLoss,
    cut_patches,
    gram_matrices,
    perceptual_loss,
    texture_loss,
)

FORM = ADVERSARIAL_FORMS["non-saturating"]


class Extractor(nn.Module):
    """Two frozen layers that remember what they were asked."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(
            torch.randn(4, 3, 3, 3, generator=generator), requires_grad=False
        )
        self.calls = []

    def forward(self, images, layers):
        first = torch.conv2d(images, self.weight, padding=1).relu()
        found = {"relu1_1": first, "pool1": nn.functional.max_pool2d(first, 2)}
        self.calls.append((tuple(images.shape), tuple(layers), found["relu1_1"].requires_grad))
        return {layer: found[layer] for layer in layers}


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    fake, real = (torch.rand(2, 3, 16, 16, generator=generator) for _ in range(2))
    return fake.requires_grad_(True), real


def loss_of(tree, features=None, form=FORM):
    return GeneratorLoss(LossConfig.model_validate(tree), form, features)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_pixel_alone_needs_nothing_else(batch, reduction):
    fake, real = batch
    tree = {"pixel": {"weight": 3, "reduction": reduction}}
    terms = loss_of(tree).terms(fake, real, None, None)
    assert list(terms) == ["pixel"]
    squares = (fake - real).square()
    # The sum is an image's squared norm.
    expected = squares.mean() if reduction == "mean" else squares.sum((1, 2, 3)).mean()
    torch.testing.assert_close(terms["pixel"], 3 * expected)
    with pytest.raises(ValueError, match="perceptual and texture terms need features"):
        loss_of({"perceptual": {"layers": {"pool1": 1.0}}})


def test_all_terms_with_their_weights(batch):
    fake, real = batch
    extractor = Extractor()
    logits = torch.tensor([[0.5], [-1.0]])
    loss = loss_of(
        {
            "pixel": {"weight": 0.5},
            "perceptual": {"layers": {"pool1": 0.2}},
            "texture": {"layers": {"relu1_1": 1e-3, "pool1": 1e-2}, "patch_px": 4},
            "adversarial": {"weight": 2},
        },
        extractor,
    )
    terms = loss.terms(fake, real, None, logits)
    of_fake = extractor(fake, ["relu1_1", "pool1"])
    of_real = extractor(real, ["relu1_1", "pool1"])

    def texture(layer):
        grams = [gram_matrices(features[layer], 4) for features in (of_fake, of_real)]
        return (grams[0] - grams[1]).square().mean()

    expected = {
        "pixel": 0.5 * (fake - real).square().mean(),
        "perceptual/pool1": 0.2 * (of_fake["pool1"] - of_real["pool1"]).square().mean(),
        "texture/relu1_1": 1e-3 * texture("relu1_1"),
        "texture/pool1": 1e-2 * texture("pool1"),
        "adversarial": 2 * nn.functional.softplus(-logits).mean(),
    }
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        assert terms[name].shape == ()
        torch.testing.assert_close(terms[name], value, rtol=1e-5, atol=0)


def test_features_are_computed_once_and_only_the_fake_s_carry_a_gradient(batch):
    fake, real = batch
    extractor = Extractor()
    tree = {
        "pixel": {"weight": 0},
        "perceptual": {"layers": {"pool1": 1.0}},
        "texture": {"layers": {"pool1": 1.0, "relu1_1": 1.0}, "patch_px": 4},
    }
    terms = loss_of(tree, extractor).terms(fake, real.requires_grad_(True), None, None)
    layers = ("pool1", "relu1_1")
    assert extractor.calls == [((2, 3, 16, 16), layers, False), ((2, 3, 16, 16), layers, True)]
    torch.stack(list(terms.values())).sum().backward()
    assert fake.grad.abs().sum() > 0
    assert real.grad is None
    assert extractor.weight.grad is None


def test_image_patches_go_through_the_extractor_one_by_one(batch):
    fake, real = batch
    extractor = Extractor()
    tree = {
        "pixel": {"weight": 0},
        "perceptual": {"layers": {"pool1": 1.0}},
        "texture": {"layers": {"pool1": 1e-2}, "patch_px": 8, "patches_of": "image"},
    }
    terms = loss_of(tree, extractor).terms(fake, real, None, None)
    shapes = [shape for shape, _, _ in extractor.calls]
    assert shapes == [(2, 3, 16, 16)] * 2 + [(8, 3, 8, 8)] * 2
    of_patches = [extractor(cut_patches(x, 8), ["pool1"])["pool1"] for x in (fake, real)]
    grams = [gram_matrices(features, 8) for features in of_patches]
    expected = 1e-2 * (grams[0] - grams[1]).square().mean()
    torch.testing.assert_close(terms["texture/pool1"], expected)
    # P still sees whole images.
    whole = [extractor(x, ["pool1"])["pool1"] for x in (fake, real)]
    torch.testing.assert_close(terms["perceptual/pool1"], (whole[0] - whole[1]).square().mean())


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
