"""DISTS against torchmetrics' network, on random weights in place of VGG-16's."""

import sys
import types

import pytest
import torch
import torchmetrics.functional.image.dists as reference_code
from torch import nn

from counterpoise.errors import UserError
from counterpoise.metrics import dists


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    dists.dists_at_hand.cache_clear()
    (tmp_path / "checkpoints").mkdir()
    yield tmp_path / "checkpoints" / dists.VGG16.file
    dists.dists_at_hand.cache_clear()


def torchvision_like():
    """VGG-16's features in the layout of torchvision, with its poolings."""
    layers, channels = [], 3
    for stage in dists.STAGES:
        for width in stage:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


@pytest.fixture
def vgg(hub):
    torch.manual_seed(0)
    network = torchvision_like()
    weights = {f"features.{name}": value for name, value in network.state_dict().items()}
    torch.save(weights | {"classifier.0.weight": torch.zeros(2, 2)}, hub)
    return network


def test_it_is_what_torchmetrics_computes(vgg, monkeypatch):
    holder = types.SimpleNamespace(features=vgg)
    monkeypatch.setattr(reference_code, "_TORCHVISION_AVAILABLE", True)
    monkeypatch.setattr(reference_code, "vgg16", lambda weights: holder, raising=False)
    default = types.SimpleNamespace(DEFAULT=None)
    monkeypatch.setattr(reference_code, "VGG16_Weights", default, raising=False)
    reference = reference_code.DISTSNetwork()
    measured = dists.dists_at_hand()
    fake, real = torch.rand(2, 3, 3, 40, 33).unbind(0)
    expected = reference(fake, real)
    assert expected.min() > 0.01
    torch.testing.assert_close(measured(fake, real), expected, rtol=1e-4, atol=1e-6)
    assert measured(real, real).abs().max() < 1e-5


def test_the_smallest_image(vgg):
    images = torch.rand(2, 1, 3, dists.LEAST_PX, dists.LEAST_PX)
    assert dists.dists_at_hand()(*images).isfinite().all()


def test_without_weights_it_says_what_to_do(hub):
    assert dists.dists_at_hand() is None
    assert str(hub) in dists.why_no_dists()
    assert "download.pytorch.org/models/vgg16" in dists.why_no_dists()
    assert "torchvision" not in sys.modules


def test_another_file_in_its_place_is_one_line(hub):
    hub.write_bytes(b"<html>not found</html>")
    with pytest.raises(UserError, match="does not hold VGG-16's weights"):
        dists.dists_at_hand()
