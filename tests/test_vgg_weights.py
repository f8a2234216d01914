"""Where VGG-19 comes from, and that nothing about its input is guessed."""

import urllib.error
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from counterpoise.errors import UserError
from counterpoise.models.features import VGG19_FILE, VGG19_URL, VGGNotFoundError, load_vgg19
from test_features import images_of, vgg_weights


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Path:
    """An empty cache of torch.hub."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints" / "vgg19-dcbb9e9d.pth"


@pytest.fixture
def safetensors_file(tmp_path) -> Path:
    path = tmp_path / "vgg.safetensors"
    save_file(vgg_weights(3), path, {"input_scaling": "caffe"})
    return path


def test_no_network_says_what_to_do(hub, monkeypatch):
    def fail(*_arguments, **_options):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(VGGNotFoundError) as caught:
        load_vgg19(None, None, ["relu1_1"])
    message = str(caught.value)
    assert "\n" not in message
    for part in (str(hub), "not known", VGG19_URL, "features.extractor=embedded"):
        assert part in message


def test_download_is_checked_and_does_not_wait_for_ever(hub, monkeypatch):
    import socket

    seen = []

    def fake(url: str, dst: str, hash_prefix: str) -> None:
        seen.append((url, hash_prefix, socket.getdefaulttimeout()))
        torch.save(vgg_weights(1), dst)

    monkeypatch.setattr(torch.hub, "download_url_to_file", fake)
    assert load_vgg19(None, "torchvision", ["relu1_1"]).available_layers[-1] == "relu1_1"
    assert seen == [("https://download.pytorch.org/models/vgg19-dcbb9e9d.pth", "dcbb9e9d", 15.0)]
    assert socket.getdefaulttimeout() is None
    load_vgg19(None, "torchvision", ["relu1_1"])
    assert len(seen) == 1, "the second time it comes from the cache"


def test_scaling_is_said_or_known_by_torchvision_s_name_and_never_guessed(
    tmp_path, safetensors_file
):
    assert "caffe" in load_vgg19(safetensors_file, None, ["relu2_1"]).description
    assert "torchvision" in load_vgg19(safetensors_file, "torchvision", []).description
    torch.save(vgg_weights(1), tmp_path / "vgg.pth")
    with pytest.raises(UserError, match=r"set features\.input_scaling"):
        load_vgg19(tmp_path / "vgg.pth", None, [])
    path = (tmp_path / "vgg.pth").rename(tmp_path / VGG19_FILE)
    assert "torchvision" in load_vgg19(path, None, []).description


def test_half_precision_and_other_keys(tmp_path):
    weights = {k: v.half() for k, v in vgg_weights(2).items()}
    path = tmp_path / "vgg.pth"
    torch.save(weights | {"classifier.0.weight": torch.zeros(2, 2)}, path)
    vgg = load_vgg19(path, "caffe", ["relu1_2"])
    assert all(p.dtype == torch.float32 for p in vgg.parameters())
    assert vgg(images_of(), ["relu1_2"])["relu1_2"].dtype == torch.float32


def test_a_file_that_ends_too_early_or_is_not_there(safetensors_file, tmp_path):
    with pytest.raises(UserError, match=r"up to relu2_1.* no layer pool5"):
        load_vgg19(safetensors_file, None, ["relu1_1", "pool5"])
    with pytest.raises(UserError, match="no such file"):
        load_vgg19(tmp_path / "vgg.pth", "caffe", [])
