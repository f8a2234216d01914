"""LPIPS against torchmetrics' network, on random weights in place of the published."""

import sys

import pytest
import torch
import torchmetrics.functional.image.lpips as lpips_code

from counterpoise.errors import UserError
from counterpoise.evaluate.measures import MEASURES, choose_measures, measure_image
from counterpoise.evaluate.scores import to_tensor
from counterpoise.metrics import perceptual
from counterpoise.metrics.perceptual import ALEXNET_FILE, lpips, why_no_lpips
from helpers import smooth_pixels


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """torch.hub's folder of downloaded files, empty."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    lpips.cache_clear()
    yield tmp_path / "checkpoints"
    lpips.cache_clear()


@pytest.fixture
def network(hub):
    """AlexNet's features as torchvision has them; their file is in the folder."""
    torch.manual_seed(0)
    alexnet = perceptual.alexnet()
    weights = {f"features.{name}": value for name, value in alexnet.state_dict().items()}
    torch.save(weights | {"classifier.1.weight": torch.zeros(2, 2)}, hub / ALEXNET_FILE)
    return alexnet


def test_it_is_what_torchmetrics_computes(network, monkeypatch):
    monkeypatch.setattr(lpips_code, "_get_tv_model_features", lambda *_: network)
    fake, real = torch.rand(2, 3, 3, 64, 48).unbind(0)
    expected = lpips_code._LPIPS(net="alex")(fake, real, normalize=True).flatten()
    torch.testing.assert_close(lpips()(fake, real), expected, rtol=1e-5, atol=1e-7)
    assert expected.min() > 0
    assert lpips()(real, real).abs().max() == 0
    least_px = MEASURES["lpips"].least_px
    assert lpips()(*torch.rand(2, 1, 3, least_px, least_px)).isfinite().all()


def test_missing_and_other_files_are_one_line(hub):
    for part in (ALEXNET_FILE, str(hub), "download.pytorch.org/models/"):
        assert part in why_no_lpips()
    with pytest.raises(UserError, match="AlexNet"):
        lpips()
    (hub / ALEXNET_FILE).write_bytes(b"<html>not found</html>")
    assert why_no_lpips() == ""
    with pytest.raises(UserError, match="does not hold AlexNet's weights"):
        lpips()
    torch.save({"features.0.weight": torch.zeros(1)}, hub / ALEXNET_FILE)
    with pytest.raises(UserError, match="does not hold AlexNet's weights"):
        lpips()
    assert "torchvision" not in sys.modules


def test_lpips_is_measured_where_its_weights_are(network):
    measures = [m for m in choose_measures(None)[0] if m.name == "lpips"]
    hr = to_tensor(smooth_pixels(0, 48, 48))
    noisy = (hr + 0.1 * torch.rand(hr.shape)).clamp(0, 1)
    same, other = (measure_image(fake, hr, 4, measures)["lpips"] for fake in (hr, noisy))
    assert abs(same) < 1e-5 < other
