import numpy as np
import pytest
import torch
from torch import nn

from counterpoise.sensors.gradients import (
    flat,
    flat_gradient,
    gradient_readings,
    output_gradients,
    update_ratio,
)


def set_gradients(module, seed):
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    return np.concatenate([p.grad.numpy().ravel() for p in module.parameters()])


def test_norm_and_cosine_against_numpy():
    module = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2))
    first = set_gradients(module, 1)
    kept = flat_gradient(module)
    norm, cosine = gradient_readings(flat_gradient(module), None)
    assert cosine is None
    assert norm.item() == pytest.approx(np.linalg.norm(first), rel=1e-6)
    second = set_gradients(module, 2)
    norm, cosine = gradient_readings(flat_gradient(module), kept)
    expected = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    assert cosine.item() == pytest.approx(expected, abs=1e-6)
    assert norm.item() == pytest.approx(np.linalg.norm(second), rel=1e-6)


def test_tiny_gradients_keep_their_cosine_and_none_has_no_direction():
    module = nn.Linear(2, 2)
    set_gradients(module, 1)
    tiny = flat_gradient(module) * 1e-15
    assert gradient_readings(tiny.clone(), tiny.clone())[1].item() == pytest.approx(1, abs=1e-6)
    module.zero_grad()  # no gradient at all counts as zero
    norm, cosine = gradient_readings(flat_gradient(module), tiny)
    assert (norm.item(), cosine.item()) == (0, 0)


def test_update_ratio_against_numpy():
    module = nn.Linear(3, 2)
    before = flat(module.parameters())
    weights = before.clone().numpy()
    with torch.no_grad():
        module.weight += 0.1
    change = np.linalg.norm(np.full(6, 0.1))
    ratio = update_ratio(before, flat(module.parameters()))
    assert ratio.item() == pytest.approx(change / np.linalg.norm(weights), rel=1e-5)


def test_output_gradients_are_those_of_each_term_and_make_up_the_whole():
    torch.manual_seed(0)
    g, d = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 1, 3)
    fake = g(torch.rand(2, 3, 6, 6))
    real = torch.rand(2, 3, 6, 6)
    terms = {
        "pixel": 2 * nn.functional.mse_loss(fake, real),
        "perceptual/a": (fake - real).abs().mean(),
        "adversarial": nn.functional.softplus(-d(fake)).mean(),
    }
    expected = torch.autograd.grad(sum(terms.values()), list(g.parameters()), retain_graph=True)
    adversarial, content = output_gradients(terms, fake)
    difference = fake.detach() - real
    count = difference.numel()
    torch.testing.assert_close(content, 4 * difference / count + difference.sign() / count)
    fake.backward(adversarial + content)
    for parameter, gradient in zip(g.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_there_may_be_one_kind_of_term_only():
    fake = torch.rand(2, 3, requires_grad=True)
    assert output_gradients({"pixel": fake.sum()}, fake)[0] is None
    adversarial, content = output_gradients({"adversarial": 3 * fake.sum()}, fake)
    assert content is None
    assert torch.equal(adversarial, torch.full((2, 3), 3.0))
