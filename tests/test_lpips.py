import pytest
import torch
import torchmetrics.functional.image.lpips as reference_code

from counterpoise.errors import UserError
from counterpoise.metrics import lpips


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """torch.hub's folder with random weights in place of AlexNet's."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    lpips.lpips_at_hand.cache_clear()
    (tmp_path / "checkpoints").mkdir()
    yield tmp_path / "checkpoints" / lpips.ALEXNET.file
    lpips.lpips_at_hand.cache_clear()


def write_weights(path):
    torch.manual_seed(0)
    features = lpips.alexnet_features()
    weights = {f"features.{name}": value for name, value in features.state_dict().items()}
    torch.save(weights | {"classifier.1.weight": torch.zeros(2, 2)}, path)
    return features


def test_it_is_what_torchmetrics_computes(hub, monkeypatch):
    features = write_weights(hub)
    monkeypatch.setattr(reference_code, "_get_tv_model_features", lambda *_: features)
    reference = reference_code._LPIPS(net="alex")
    measured = lpips.lpips_at_hand()
    assert measured is not None
    fake, real = torch.rand(2, 3, 3, 64, 48).unbind(0)
    expected = reference(fake, real, normalize=True).flatten()
    assert expected.min() > 0
    torch.testing.assert_close(measured(fake, real), expected, rtol=1e-5, atol=1e-7)
    assert measured(real, real).abs().max() == 0


def test_without_weights_it_says_what_to_do(hub):
    assert lpips.lpips_at_hand() is None
    assert "AlexNet weights: put https://download.pytorch.org/models/" in lpips.why_no_lpips()
    assert str(hub) in lpips.why_no_lpips()


def test_another_file_in_its_place_is_one_line(hub):
    hub.write_bytes(b"<html>not found</html>")
    with pytest.raises(UserError, match="does not hold AlexNet's weights"):
        lpips.lpips_at_hand()
    torch.save({"features.0.weight": torch.zeros(1)}, hub)
    lpips.lpips_at_hand.cache_clear()
    with pytest.raises(UserError, match="does not hold AlexNet's weights"):
        lpips.lpips_at_hand()
