"""Feature extractors: VGG's arithmetic, the embedded bank, and mean-one normalisation."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from counterpoise.config_file import load_config, preset_names
from counterpoise.errors import UserError
from counterpoise.models.features import (
    VGG19_LAYERS,
    VGG19_WIDTHS,
    FeatureExtractor,
    embedded_extractor,
    vgg19,
)

# torchvision's documented indices of VGG-19's convolutions.
CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)


def vgg_weights(count: int, scale: float = 1.0) -> dict[str, torch.Tensor]:
    """Random weights of the first `count` convolutions, of a size that keeps activations alike."""
    random = torch.Generator().manual_seed(0)
    weights, channels = {}, 3
    widths = np.repeat(VGG19_WIDTHS, (2, 2, 4, 4, 4)).tolist()
    for index, width in list(zip(CONVOLUTIONS, widths, strict=True))[:count]:
        gain = scale * (2 / (9 * channels)) ** 0.5
        filters = torch.randn(width, channels, 3, 3, generator=random)
        weights[f"features.{index}.weight"] = gain * filters
        weights[f"features.{index}.bias"] = 0.1 * torch.randn(width, generator=random)
        channels = width
    return weights


@pytest.fixture(scope="module")
def shallow() -> FeatureExtractor:
    return vgg19(vgg_weights(3), "caffe", "a shallow VGG")


@pytest.fixture(scope="module")
def embedded() -> FeatureExtractor:
    return embedded_extractor()


def images_of(count: int = 2, px: int = 32, seed: int = 0) -> torch.Tensor:
    """Smooth random images in [0, 1]."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, px // 4, px // 4, generator=random)
    return F.interpolate(coarse, scale_factor=4.0, mode="bilinear")


def test_vgg_ends_where_its_weights_end(shallow):
    assert shallow.available_layers == (
        "conv1_1", "relu1_1", "conv1_2", "relu1_2", "pool1", "conv2_1", "relu2_1",
    )  # fmt: skip
    with pytest.raises(UserError, match=r"no layer relu3_1.*relu2_1"):
        shallow.check_layers(["relu1_1", "relu3_1"])


@pytest.mark.parametrize("scaling", ["caffe", "torchvision"])
def test_vgg_by_hand(scaling):
    weights = vgg_weights(3, scale=0.01 if scaling == "caffe" else 1)
    vgg = vgg19(weights, scaling, "a shallow VGG")
    images = images_of()
    if scaling == "caffe":
        x = 255 * images - torch.tensor([123.68, 116.779, 103.939]).reshape(1, 3, 1, 1)
    else:
        mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        x = torch.stack([(images[:, c] - mean[c]) / deviation[c] for c in range(3)], 1)
    features = vgg(images, ["conv1_1", "relu1_1", "pool1", "conv2_1"])

    def conv(index: int, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(
            x, weights[f"features.{index}.weight"], weights[f"features.{index}.bias"], padding=1
        )

    expected = {"conv1_1": conv(0, x)}
    expected["relu1_1"] = expected["conv1_1"].clamp(min=0)
    expected["pool1"] = F.max_pool2d(conv(2, expected["relu1_1"]).clamp(min=0), 2)
    expected["conv2_1"] = conv(5, expected["pool1"])
    for layer, values in expected.items():
        torch.testing.assert_close(features[layer], values, atol=1e-4, rtol=1e-4)


def test_a_full_vgg_has_every_layer():
    # Of one value each: what is checked is the plan of the layers, not arithmetic.
    weights = {k: torch.full_like(v, 1e-3) for k, v in vgg_weights(16).items()}
    vgg = vgg19(weights, "torchvision", "full")
    convolutions = [i for i, name in enumerate(VGG19_LAYERS) if name.startswith("conv")]
    assert tuple(convolutions) == CONVOLUTIONS
    assert list(vgg.available_layers) == VGG19_LAYERS
    features = vgg(images_of(1, 32), ["relu5_4", "pool5"])
    assert features["relu5_4"].shape == (1, 512, 2, 2)
    assert features["pool5"].shape == (1, 512, 1, 1)
    assert vgg.state_dict().keys() >= weights.keys()


def test_a_wrong_shape_is_refused():
    weights = vgg_weights(2)
    weights["features.2.weight"] = torch.zeros(64, 64, 5, 5)
    with pytest.raises(UserError, match="not VGG-19's"):
        vgg19(weights, "caffe", "file")
    with pytest.raises(UserError, match="no VGG-19"):
        vgg19({"conv.weight": torch.zeros(1)}, "caffe", "file")


@pytest.mark.parametrize("name", ["shallow", "embedded"])
def test_frozen_but_transparent(name, request):
    extractor: FeatureExtractor = request.getfixturevalue(name)
    extractor.train()
    images = images_of().requires_grad_()
    extractor(images, ["relu2_1"])["relu2_1"].sum().backward()
    assert images.grad is not None
    assert bool(images.grad.abs().sum() > 0)
    assert all(not p.requires_grad and p.grad is None for p in extractor.parameters())


def test_building_draws_no_global_random_numbers():
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    np.random.seed(5)
    embedded_extractor()
    vgg19(vgg_weights(2), "caffe", "file")
    assert torch.equal(torch.rand(4), expected)
    assert np.random.random() == np.random.RandomState(5).random_sample()


def test_embedded_bank_has_what_every_preset_asks_for_and_vggs_strides(embedded):
    losses = [load_config(preset).loss for preset in preset_names()]
    for layers in (part.layers for loss in losses for part in (loss.perceptual, loss.texture)):
        embedded.check_layers(sorted(layers))
    assert "not VGG" in embedded.description
    features = embedded(images_of(1, 64), embedded.available_layers)
    assert list(features) == list(embedded.available_layers)
    for layer, values in features.items():
        block = int(layer[4])
        stride = 2**block if layer.startswith("pool") else 2 ** (block - 1)
        assert values.shape[-2:] == (64 // stride, 64 // stride)
        assert values.isfinite().all()
        assert layer.startswith("conv") or bool((values >= 0).all())


def test_embedded_bank_is_the_same_everywhere(embedded):
    """Values of a fixed image, to the rounding of float32 sums: another platform must agree."""
    again = embedded_extractor()
    for name, values in embedded.state_dict().items():
        assert torch.equal(values, again.state_dict()[name])
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    image = torch.stack([x / 31, y / 31, (x + y) / 62])[None]
    features = embedded(image, ["relu1_1", "pool5"])
    means = [float(values.mean()) for values in features.values()]
    assert means == pytest.approx(PINNED_MEANS, rel=1e-4)


PINNED_MEANS = [0.0761165, 0.0133337]


def test_too_small_images_are_a_users_mistake(embedded, shallow):
    with pytest.raises(UserError, match="pool5 needs images of 32 pixels"):
        embedded(images_of(1, 16), ["pool5"])
    with pytest.raises(UserError, match="pool1 needs images of 2 pixels"):
        shallow(torch.rand(1, 3, 1, 8), ["pool1"])


LAYERS = ("conv1_1", "relu1_1", "pool2")


def test_dataset_normalisation_gives_every_channel_mean_one():
    normalised = embedded_extractor()
    batches = [images_of(3, 32, seed=1), images_of(1, 32, seed=2)]
    normalised.calibrate(batches, LAYERS)
    images = torch.cat(batches)
    features = normalised(images, LAYERS)
    for layer in ("relu1_1", "pool2"):
        means = features[layer].mean((0, 2, 3))
        torch.testing.assert_close(means, torch.ones_like(means), atol=1e-4, rtol=0)
    # Before the ReLU: divided as its rectified activation is.
    torch.testing.assert_close(features["conv1_1"].relu(), features["relu1_1"])
    assert bool((features["conv1_1"] < 0).any())
    # A constant: the same for every image.
    alone = normalised(images[:1], LAYERS)
    torch.testing.assert_close(alone["pool2"], features["pool2"][:1], atol=1e-4, rtol=1e-4)


def test_a_channel_that_was_never_active_is_not_blown_up():
    class Dead(torch.nn.Module):
        """One live channel; the second answers to white only."""

        def forward(self, images):
            bright = images.mean(1, keepdim=True)
            return torch.cat([bright, (bright > 0.999).float()], 1)

    scaling = (1.0, (0.0,) * 3, (1.0,) * 3)
    normalised = FeatureExtractor("dead", ["relu1_1"], torch.nn.Sequential(Dead()), scaling)
    normalised.calibrate([0.5 * torch.ones(2, 3, 4, 4)], ["relu1_1"])
    features = normalised(torch.ones(1, 3, 4, 4), ["relu1_1"])["relu1_1"]
    assert features.mean((0, 2, 3)).tolist() == pytest.approx([2, 1])
