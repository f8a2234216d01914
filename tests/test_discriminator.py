"""Discriminators: sizes, normalisation, the crops they take, and logits without a bound."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from counterpoise.config import DiscriminatorConfig
from counterpoise.errors import UserError
from counterpoise.models.discriminator import build_discriminator
from training_helpers import tiny

PLAIN = [("enhancenet", "none"), ("patchgan", "none"), ("unet", "spectral")]


def config_of(name: str, norm: str = "none", width: int = 4) -> DiscriminatorConfig:
    return DiscriminatorConfig(name=name, norm=norm, width=width)


@pytest.mark.parametrize(
    ("config", "crop_px", "parameters"),
    [
        (DiscriminatorConfig(), 128, 13_102_881),
        # The authors' program prints 2.769 M for its conditional discriminator: these, and 3,072
        # first weights more for the second image that it looks at.
        (config_of("patchgan", "batch", width=64), 256, 2_768_705 - 3_072),
        # Counted by hand from the layers of Real-ESRGAN's published discriminator.
        (config_of("unet", "spectral", width=64), 32, 4_376_897),
    ],
)
def test_published_sizes(config, crop_px, parameters):
    discriminator = build_discriminator(config, crop_px)
    assert sum(p.numel() for p in discriminator.parameters()) == parameters
    slopes = {m.negative_slope for m in discriminator.modules() if isinstance(m, nn.LeakyReLU)}
    assert slopes <= {0.2}
    if config.name == "enhancenet":
        strides = [m.stride[0] for m in discriminator.modules() if isinstance(m, nn.Conv2d)]
        assert strides == [1, 2] * 5


def test_patchgan_sees_70_pixels():
    discriminator = build_discriminator(config_of("patchgan"), 128)
    images = torch.rand(1, 3, 128, 128, requires_grad=True)
    discriminator(images)[0, 0, 7, 7].backward()
    reached = images.grad.abs().sum((0, 1)).nonzero()
    assert (reached.amax(0) - reached.amin(0) + 1).tolist() == [70, 70]


@pytest.mark.parametrize(("name", "norm"), PLAIN)
@pytest.mark.parametrize("crop_px", [32, 96])
def test_logits_have_their_shape_and_are_not_squashed(name, norm, crop_px):
    discriminator = build_discriminator(config_of(name, norm), crop_px)
    images = torch.rand(2, 3, crop_px, crop_px)
    last = [m for m in discriminator.modules() if isinstance(m, nn.Conv2d | nn.Linear)][-1]
    with torch.no_grad():
        before = discriminator(images)
        last.bias += 100
        torch.testing.assert_close(discriminator(images), before + 100, atol=1e-3, rtol=0)
    map_px = {"enhancenet": None, "patchgan": crop_px // 8 - 2, "unet": crop_px}[name]
    assert before.shape == ((2, 1) if map_px is None else (2, 1, map_px, map_px))


@pytest.mark.parametrize(("name", "norm"), PLAIN)
def test_the_mean_colour_is_the_zero_of_the_input(name, norm):
    config = config_of(name, norm)
    discriminator = build_discriminator(config, 32)
    mean = torch.tensor(config.input_mean).reshape(1, 3, 1, 1)
    seen = []
    first = next(m for m in discriminator.modules() if isinstance(m, nn.Conv2d))
    first.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    discriminator(mean.expand(1, 3, 32, 32))
    assert float(seen[0].abs().max()) == 0


@pytest.mark.parametrize("name", ["enhancenet", "patchgan"])
@pytest.mark.parametrize(
    ("norm", "kind"), [("batch", nn.BatchNorm2d), ("instance", nn.InstanceNorm2d)]
)
def test_norms_spare_the_first_and_last_layer(name, norm, kind):
    discriminator = build_discriminator(config_of(name, norm), 64)
    convolutions = [m for m in discriminator.modules() if isinstance(m, nn.Conv2d)]
    layers = [m for m in discriminator.modules() if isinstance(m, nn.Conv2d | kind)]
    assert isinstance(layers[0], nn.Conv2d)
    assert isinstance(layers[1], nn.Conv2d), "nothing normalises the first convolution"
    hidden = len(convolutions) - (1 if name == "enhancenet" else 2)
    assert sum(isinstance(m, kind) for m in layers) == hidden
    assert discriminator(torch.rand(2, 3, 64, 64)).isfinite().all()


@pytest.mark.parametrize("name", ["enhancenet", "patchgan"])
def test_spectral_norm_is_on_every_layer(name):
    discriminator = build_discriminator(config_of(name, "spectral"), 32)
    layers = [m for m in discriminator.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert all(is_parametrized(m, "weight") for m in layers)


def test_unet_by_hand():
    discriminator = build_discriminator(config_of("unet", "spectral"), 16).eval()
    weights = {n: m.weight for n, m in discriminator.named_modules() if isinstance(m, nn.Conv2d)}
    biases = dict(discriminator.named_parameters())

    def conv(name: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        return F.conv2d(x, weights[name], biases.get(f"{name}.bias"), stride, padding=1)

    def leaky(x: torch.Tensor) -> torch.Tensor:
        return torch.where(x > 0, x, 0.2 * x)

    def twice(x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, size=[2 * n for n in x.shape[2:]], mode="bilinear")

    images = torch.rand(2, 3, 16, 24)
    with torch.inference_mode():
        full = leaky(conv("head", images - discriminator.get_buffer("input.mean")))
        half = leaky(conv("down.0", full, 2))
        quarter = leaky(conv("down.1", half, 2))
        eighth = leaky(conv("down.2", quarter, 2))
        x = leaky(conv("up.0", twice(eighth))) + quarter
        x = leaky(conv("up.1", twice(x))) + half
        x = leaky(conv("up.2", twice(x))) + full
        x = leaky(conv("refine.1", leaky(conv("refine.0", x))))
        torch.testing.assert_close(discriminator(images), conv("tail", x), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "norm", "crop_px", "expected"),
    [
        ("enhancenet", "none", 100, "32"),
        ("enhancenet", "none", 0, "32"),
        ("enhancenet", "instance", 32, "64"),
        ("patchgan", "none", 36, "8"),
        ("patchgan", "none", 24, "32"),
        ("unet", "spectral", 20, "8"),
    ],
)
def test_impossible_crops_are_refused(name, norm, crop_px, expected):
    with pytest.raises(UserError, match=f"{name} discriminator.* needs crops .*{expected}"):
        build_discriminator(config_of(name, norm), crop_px)


def test_impossible_norms_and_names_are_refused():
    with pytest.raises(UserError, match="unet discriminator is made with spectral norm"):
        build_discriminator(config_of("unet", "batch"), 32)
    with pytest.raises(UserError, match="discriminator: unknown .*'dcgan'.*patchgan"):
        tiny("discriminator={name: dcgan}")
