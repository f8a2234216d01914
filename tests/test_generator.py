"""The generator is the published network: layers, sizes and arithmetic."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from counterpoise.config import ENHANCENET_INPUT_MEAN, GeneratorConfig
from counterpoise.models.bicubic import bicubic_upsample
from counterpoise.models.generator import build_generator

SMALL = GeneratorConfig(width=8, blocks=2)


def test_the_paper_size():
    generator = build_generator(GeneratorConfig())
    assert sum(p.numel() for p in generator.parameters()) == 852_867
    assert sum(isinstance(m, nn.Conv2d) for m in generator.modules()) == 25


def functional_enhancenet(state: dict[str, torch.Tensor], lr: torch.Tensor) -> torch.Tensor:
    """The x4 network written out by hand, as in the official graph."""

    def conv(name: str, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=1)

    def twice(x: torch.Tensor) -> torch.Tensor:
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    mean = torch.tensor(ENHANCENET_INPUT_MEAN).reshape(1, 3, 1, 1)
    x = conv("head", lr - mean).relu()
    for block in range(2):
        x = x + conv(f"blocks.{block}.second", conv(f"blocks.{block}.first", x).relu())
    for stage in range(2):
        x = conv(f"upsampling.{stage}", twice(x)).relu()
    residual = conv("tail", conv("refine", x).relu())
    return residual + bicubic_upsample(lr - mean, 4, "half-pixel") + mean


def test_forward_is_the_official_graph():
    generator = build_generator(SMALL)
    for parameter in generator.parameters():
        nn.init.normal_(parameter, std=0.2)
    lr = torch.rand(2, 3, 6, 5)
    with torch.inference_mode():
        expected = functional_enhancenet(generator.state_dict(), lr)
        torch.testing.assert_close(generator(lr), expected, atol=1e-5, rtol=1e-5)


def test_initialisation_is_xavier_uniform_with_zero_biases():
    torch.manual_seed(0)
    generator = build_generator(GeneratorConfig(blocks=1))
    weight = generator.blocks[0].first.weight.detach()
    bound = math.sqrt(6 / (64 * 9 + 64 * 9))
    assert float(weight.abs().max()) <= bound
    assert float(weight.std()) == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert all(not m.bias.any() for m in generator.modules() if isinstance(m, nn.Conv2d))


def test_the_bicubic_kind_is_used_and_nothing_is_clamped():
    generator = build_generator(SMALL.model_copy(update={"bicubic": "tf1-legacy"}))
    nn.init.zeros_(generator.tail.weight)
    nn.init.constant_(generator.tail.bias, 5.0)
    lr = torch.rand(1, 3, 4, 4)
    with torch.inference_mode():
        assert torch.equal(generator(lr), 5 + bicubic_upsample(lr, 4, "tf1-legacy"))


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_receptive_radius_holds(scale):
    generator = build_generator(GeneratorConfig(scale=scale, width=4, blocks=1))
    for parameter in generator.parameters():
        nn.init.uniform_(parameter, 0.05, 0.2)  # all positive: nothing cancels, no ReLU is shut
    radius = generator.receptive_radius_px()
    side = 2 * radius + 5
    lr = torch.rand(1, 3, side, side, requires_grad=True)
    centre, output = side // 2, generator(lr)
    assert output.shape == (1, 3, scale * side, scale * side)
    own = slice(scale * centre, scale * (centre + 1))
    output[..., own, own].sum().backward()
    reached = lr.grad.abs().sum((0, 1)).nonzero()
    distance = int((reached - centre).abs().max())
    assert distance <= radius
    assert distance >= radius - 3, "the radius is far larger than it needs to be"
