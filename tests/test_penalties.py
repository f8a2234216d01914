"""R1, R2 and the gradient penalty on discriminators whose gradients are known."""

import pytest
import torch
from torch import nn

from counterpoise.losses.penalties import gradient_penalty, r1_penalty


class Linear(nn.Module):
    """D(x) = w . x, whose gradient is w everywhere."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, images):
        return (images * self.weight).flatten(1).sum(1, keepdim=True)


class Quadratic(nn.Module):
    """D(x) = a |x|^2 / 2, whose gradient is a x."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, images):
        return self.scale * images.square().flatten(1).sum(1, keepdim=True) / 2


def noise(seed=0):
    return torch.Generator().manual_seed(seed)


def images(seed, count=4, side_px=6):
    return torch.rand(count, 3, side_px, side_px, generator=noise(seed))


def convolutional():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 3, padding=1)
    )


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_squared_norm_of_known_gradients(scale):
    weight = scale * torch.randn(3, 6, 6, generator=noise(3))
    d = Linear(weight)
    value = r1_penalty(d, images(0))
    torch.testing.assert_close(value, weight.square().sum())
    value.backward()
    torch.testing.assert_close(d.weight.grad, 2 * weight)
    d, batch = Quadratic(0.5), images(1)
    value = r1_penalty(d, batch)
    norms = batch.square().sum((1, 2, 3))
    torch.testing.assert_close(value, 0.25 * norms.mean())
    value.backward()
    torch.testing.assert_close(d.scale.grad, 2 * 0.5 * norms.mean())


def test_r1_is_the_mean_of_each_image_alone():
    d, batch = convolutional(), images(2)
    squares = []
    for image in batch:
        single = image[None].clone().requires_grad_(True)
        # A map of logits counts as its mean.
        d(single).mean().backward()
        squares.append(single.grad.square().sum())
    expected = torch.stack(squares).mean()
    torch.testing.assert_close(r1_penalty(d, batch), expected, rtol=1e-5, atol=0)


def test_gradient_penalty_of_a_linear_d():
    weight = torch.randn(3, 6, 6, generator=noise(4))
    d = Linear(weight)
    value = gradient_penalty(d, images(0), images(1), noise())
    torch.testing.assert_close(value, (weight.norm() - 1).square())
    value.backward()
    torch.testing.assert_close(d.weight.grad, 2 * (weight.norm() - 1) * weight / weight.norm())
    value = gradient_penalty(Linear(weight / weight.norm()), images(0), images(1), noise())
    assert value.item() == pytest.approx(0, abs=1e-10)


def test_gradient_penalty_is_finite_where_the_gradient_is_zero():
    d = Linear(torch.zeros(3, 6, 6))
    value = gradient_penalty(d, images(0), images(1), noise())
    assert value.item() == pytest.approx(1, abs=1e-5)
    value.backward()
    assert d.weight.grad.isfinite().all()


def test_gradient_penalty_is_taken_between_the_images_from_its_own_generator():
    real, fake = torch.full((64, 3, 2, 2), 2.0), torch.full((64, 3, 2, 2), 1.0)
    points = []
    d = Quadratic()
    d.register_forward_pre_hook(lambda _, inputs: points.append(inputs[0].detach()))
    state = torch.get_rng_state()
    for seed in (7, 7, 8):
        gradient_penalty(d, real, fake, noise(seed))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(points[0], points[1])
    assert not torch.equal(points[0], points[2])
    per_image = points[0].flatten(1)
    assert (per_image == per_image[:, :1]).all()
    assert (per_image >= 1).all()
    assert (per_image <= 2).all()
    assert per_image[:, 0].unique().numel() > 32


def test_autocast_changes_nothing():
    d, real, fake = convolutional(), images(0), images(1)
    outside = r1_penalty(d, real), gradient_penalty(d, real, fake, noise())
    with torch.autocast("cpu", torch.bfloat16):
        assert d(real).dtype == torch.bfloat16
        inside = r1_penalty(d, real), gradient_penalty(d, real, fake, noise())
    for a, b in zip(outside, inside, strict=True):
        assert b.dtype == torch.float32
        assert torch.equal(a, b)


def test_nothing_flows_into_the_images():
    d = convolutional()
    real, fake = images(0).requires_grad_(True), images(1).requires_grad_(True)
    (r1_penalty(d, real) + r1_penalty(d, fake)).backward()
    gradient_penalty(d, real, fake, noise()).backward()
    assert real.grad is None
    assert fake.grad is None
    assert d[0].weight.grad.abs().sum() > 0
