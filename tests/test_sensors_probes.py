"""Probes answer the right question, and D does not notice them."""

import pytest
import torch
from torch import nn

from counterpoise.config import DiscriminatorConfig
from counterpoise.losses.adversarial import ADVERSARIAL_FORMS
from counterpoise.models.discriminator import build_discriminator
from counterpoise.sensors.probes import (
    held_out_readings,
    hide_border,
    leak_readings,
    logits_aside,
    quantised,
)

FORM = ADVERSARIAL_FORMS["non-saturating"]


class Judge(nn.Module):
    """Scores images by any function of them."""

    def __init__(self, score):
        super().__init__()
        self.forward = lambda images: score(images).reshape(-1, 1)


def images(seed, count=6, size=16):
    generator = torch.Generator().manual_seed(seed)
    return quantised(torch.rand(count, 3, size, size, generator=generator))


def built(name, norm):
    return build_discriminator(DiscriminatorConfig(name=name, norm=norm, width=2), 32)


def with_dropout():
    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.Dropout(), nn.Flatten(), nn.Linear(1800, 1))


@pytest.mark.parametrize(
    "network",
    [lambda: built("patchgan", "batch"), lambda: built("unet", "spectral"), with_dropout],
)
def test_probes_leave_no_trace(network):
    torch.manual_seed(0)
    d = network().train()
    real, fake = images(1, size=32), images(2, size=32)
    # In the middle of a step: D's backward pass is still to come.
    loss = sum(FORM.d_loss(d(real), d(fake)))
    state = {name: tensor.clone() for name, tensor in d.state_dict().items()}
    random_state = torch.get_rng_state()
    held_out_readings(d, real, 0.0)
    leak_readings(d, real, fake)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(torch.equal(tensor, state[name]) for name, tensor in d.state_dict().items())
    assert all(p.grad is None for p in d.parameters())
    loss.backward()
    assert all(p.grad is not None for p in d.parameters())


def test_logits_aside_are_those_of_the_mode_that_d_is_in():
    torch.manual_seed(0)
    d = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(392, 1))
    real = images(0)
    aside = logits_aside(d, real)
    assert torch.equal(aside, d(real).detach())
    d.eval()
    assert not torch.equal(logits_aside(d, real), aside)


def test_held_out_readings():
    held_out = torch.tensor([0.1, 0.2, 0.9, 0.8]).reshape(4, 1, 1, 1).expand(4, 3, 4, 4)
    readings = held_out_readings(Judge(lambda x: x.mean((1, 2, 3))), held_out, 0.5)
    assert readings["held_out_logit_mean"].item() == pytest.approx(0.5)
    assert readings["d_accuracy_held_out"] == 0.5


def test_a_d_that_sees_rounding_or_borders_is_found_out():
    off_grid = Judge(lambda x: -(255 * x - (255 * x).round()).abs().sum((1, 2, 3)))
    real = images(1)
    # Rounded to the grid, the fakes are the real images.
    readings = leak_readings(off_grid, real, real + 0.3 / 255)
    assert readings == {"auc_quantised": 0.5, "auc_border_hidden": 1}
    corner = Judge(lambda x: x[:, :, :2, :2].mean((1, 2, 3)))
    fake = real.clone()
    fake[:, :, :3] = 0
    readings = leak_readings(corner, real, fake)
    assert readings == {"auc_quantised": 1, "auc_border_hidden": 0.5}
    assert "auc_border_hidden" not in leak_readings(corner, real[..., :8, :8], fake[..., :8, :8])


def test_quantised_is_what_a_file_keeps():
    values = torch.tensor([-0.2, 0.5, 100.4 / 255, 1.3])
    # To the bit: a D that sees rounding must not see a difference.
    assert torch.equal(quantised(values), torch.tensor([0, 128, 100, 255]).float().div_(255))
    signed = quantised(torch.tensor([-1.5, -1.0, 0.0, 1.0]), (-1.0, 1.0))
    assert signed.tolist() == pytest.approx([-1, -1, 2 * 128 / 255 - 1, 1], abs=1e-6)


def test_a_hidden_border_mirrors_the_inside():
    image = images(0)
    hidden = hide_border(image)
    assert hidden.shape == image.shape
    assert torch.equal(hidden[..., 4:-4, 4:-4], image[..., 4:-4, 4:-4])
    assert torch.equal(hidden[..., 3, 4:-4], image[..., 5, 4:-4])
