"""The authors' weights: every tensor mapped, nothing accepted that is something else."""

import hashlib

import numpy as np
import pytest
import torch

from counterpoise.data.catalog import catalog_folder
from counterpoise.errors import UserError
from counterpoise.evaluate.measures import MEASURES
from counterpoise.evaluate.scores import by_generator, score_pairs
from counterpoise.models import import_weights
from counterpoise.models.import_weights import OFFICIAL_LICENCE, OFFICIAL_SOURCE, import_official
from counterpoise.models.weights import load_generator


def field(number: int, content: bytes) -> bytes:
    """A field of a protocol buffer that is given its length in front."""
    return bytes([number << 3 | 2]) + import_weights._varint(len(content)) + content


def official_like() -> bytes:
    """A list of the published names, then the tensors of their shapes, each with its layer's
    number."""
    names, tensors = b"", b""
    for number in range(25):
        scope = f"generator/Conv_{number}" if number else "generator/Conv"
        inputs, outputs = (3 if number == 0 else 64), (3 if number == 24 else 64)
        weights = np.full((3, 3, inputs, outputs), number, "<f4")
        weights[0, 2, 1, 0] += 0.5  # row 0, column 2, from channel 1 to channel 0
        biases = np.full(outputs, -number, "<f4")
        for kind, values in (("weights", weights), ("biases", biases)):
            name = field(1, f"{scope}/{kind}".encode())
            names += name + field(2, b"shape")
            tensors += name + field(2, b"slice") + field(3, field(5, values.tobytes()))
    return names + tensors


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A file that is taken for the published one."""
    path = tmp_path / "weights"
    path.write_bytes(official_like())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(import_weights, "PUBLISHED_SHA256", digest)
    return path


# Layer numbers of the published graph by our names (its blocks are Conv_2k+1 and Conv_2k+2).
PLACES = {"head": 0, "upsampling.0": 21, "upsampling.1": 22, "refine": 23, "tail": 24}
PLACES |= {f"blocks.{k}.first": 2 * k + 1 for k in range(10)}
PLACES |= {f"blocks.{k}.second": 2 * k + 2 for k in range(10)}


def test_every_tensor_finds_its_place(tmp_path, source):
    destination = tmp_path / "enet.safetensors"
    assert import_official(source, destination) == (50, 852_867)
    assert "CC BY-NC-ND 4.0" in OFFICIAL_LICENCE
    loaded = load_generator(destination)
    assert loaded.metadata["licence"] == OFFICIAL_LICENCE
    assert loaded.metadata["source"] == OFFICIAL_SOURCE
    config = loaded.generator.config
    assert (config.bicubic, config.degradation.name, config.scale) == ("tf1-legacy", "lanczos", 4)
    state = loaded.generator.state_dict()
    assert len(state) == 50
    for name, number in PLACES.items():
        weight = state[f"{name}.weight"]
        assert float(weight[0, 1, 0, 2]) == number + 0.5  # OIHW
        assert float(weight.sum()) == pytest.approx(number * weight.numel() + 0.5)
        assert float(state[f"{name}.bias"][0]) == -number


@pytest.mark.parametrize("kept", [0, 100, -1])
def test_anything_else_is_refused_and_nothing_written(tmp_path, source, kept):
    source.write_bytes(source.read_bytes()[:kept])
    with pytest.raises(UserError, match="not the published ENet-PAT, or damaged"):
        import_official(source, tmp_path / "enet.safetensors")
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize("name", ["precious.jpg", "here.safetensors"])
def test_nothing_that_is_there_is_overwritten(tmp_path, source, name):
    destination = tmp_path / name
    destination.write_bytes(b"precious")
    with pytest.raises(UserError, match=name):
        import_official(source, destination)
    assert destination.read_bytes() == b"precious"


def test_the_published_file_reaches_the_published_psnr(tmp_path, shared_data):
    destination = tmp_path / "enet.safetensors"
    import_official(shared_data / "weights" / "enet_pat_official.tfckpt_v1", destination)
    generator = load_generator(destination).generator
    catalog = catalog_folder(shared_data / "benchmark" / "Set5" / "HR", 4, 19)
    pairs = catalog.pairs(generator.config.degradation)
    upscale = by_generator(generator, torch.device("cpu"))
    scores = score_pairs("ENet-PAT", pairs, upscale, [MEASURES["psnr_y"]])
    assert scores.means()["psnr_y"] == pytest.approx(28.57, abs=0.02)
