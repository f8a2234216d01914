"""LPIPS and DISTS against torchmetrics' networks, on random weights in place of the published."""

import sys
import types

import pytest
import torch
import torchmetrics.functional.image.dists as dists_code
import torchmetrics.functional.image.lpips as lpips_code
from torch import nn

from counterpoise.errors import UserError
from counterpoise.evaluate.measures import choose_measures, measure_image
from counterpoise.evaluate.scores import to_tensor
from counterpoise.metrics import perceptual
from counterpoise.metrics.perceptual import ALEXNET, VGG16, dists, lpips
from helpers import smooth_pixels


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """torch.hub's folder of downloaded files, empty."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    lpips.cache_clear()
    dists.cache_clear()
    yield tmp_path / "checkpoints"
    lpips.cache_clear()
    dists.cache_clear()


@pytest.fixture
def networks(hub):
    """AlexNet's and VGG-16's features as torchvision has them; their files are in the folder."""
    torch.manual_seed(0)
    alexnet, vgg16 = perceptual.alexnet(), perceptual.vgg16()
    for index in (4, 9, 16, 23):
        vgg16[index] = nn.MaxPool2d(2)
    for network, published in ((alexnet, ALEXNET), (vgg16, VGG16)):
        weights = {f"features.{name}": value for name, value in network.state_dict().items()}
        other = {"classifier.1.weight": torch.zeros(2, 2)}
        torch.save(weights | other, hub / published.file)
    return alexnet, vgg16


def test_they_are_what_torchmetrics_computes(networks, monkeypatch):
    alexnet, vgg16 = networks
    monkeypatch.setattr(lpips_code, "_get_tv_model_features", lambda *_: alexnet)
    monkeypatch.setattr(dists_code, "_TORCHVISION_AVAILABLE", True)
    holder = types.SimpleNamespace(features=vgg16)
    monkeypatch.setattr(dists_code, "vgg16", lambda weights: holder, raising=False)
    default = types.SimpleNamespace(DEFAULT=None)
    monkeypatch.setattr(dists_code, "VGG16_Weights", default, raising=False)
    fake, real = torch.rand(2, 3, 3, 64, 48).unbind(0)
    expected = lpips_code._LPIPS(net="alex")(fake, real, normalize=True).flatten()
    torch.testing.assert_close(lpips()(fake, real), expected, rtol=1e-5, atol=1e-7)
    assert expected.min() > 0
    assert lpips()(real, real).abs().max() == 0
    expected = dists_code.DISTSNetwork()(fake, real)
    torch.testing.assert_close(dists()(fake, real), expected, rtol=1e-4, atol=1e-6)
    assert expected.min() > 0.01
    assert dists()(real, real).abs().max() < 1e-5


def test_the_smallest_images(networks):
    for measure, least_px in (
        (lpips(), perceptual.LPIPS_LEAST_PX),
        (dists(), perceptual.DISTS_LEAST_PX),
    ):
        assert measure(*torch.rand(2, 1, 3, least_px, least_px)).isfinite().all()


@pytest.mark.parametrize(("published", "measure"), [(ALEXNET, lpips), (VGG16, dists)])
def test_missing_and_other_files_are_one_line(hub, published, measure):
    for part in (published.file, str(hub), "download.pytorch.org/models/"):
        assert part in published.why_missing()
    with pytest.raises(UserError, match=published.network):
        measure()
    (hub / published.file).write_bytes(b"<html>not found</html>")
    assert published.why_missing() == ""
    with pytest.raises(UserError, match=f"does not hold {published.network}'s weights"):
        measure()
    torch.save({"features.0.weight": torch.zeros(1)}, hub / published.file)
    with pytest.raises(UserError, match=f"does not hold {published.network}'s weights"):
        measure()
    assert "torchvision" not in sys.modules


def test_lpips_and_dists_are_measured_where_their_weights_are(networks):
    measures = [m for m in choose_measures(None)[0] if m.name in ("lpips", "dists")]
    hr = to_tensor(smooth_pixels(0, 48, 48))
    noisy = (hr + 0.1 * torch.rand(hr.shape)).clamp(0, 1)
    same, other = (measure_image(fake, hr, 4, measures) for fake in (hr, noisy))
    for name in ("lpips", "dists"):
        assert abs(same[name]) < 1e-5 < other[name]
