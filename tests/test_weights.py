"""Weight files: what is written comes back, and every other file is refused in one line."""

import json
import os
import pickle

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from counterpoise.config import GeneratorConfig
from counterpoise.errors import UserError
from counterpoise.models.generator import build_generator
from counterpoise.models.weights import TABLE_MAGIC, load_generator, save_generator

CONFIG = GeneratorConfig(
    scale=2,
    width=4,
    blocks=1,
    bicubic="tf1-legacy",
    degradation="lanczos",
    input_mean=(0.1, 0.2, 0.3),
)


@pytest.fixture
def generator():
    return build_generator(CONFIG)


@pytest.fixture
def file(tmp_path, generator):
    path = tmp_path / "generator.safetensors"
    save_generator(path, generator, {"licence": "MIT"})
    return path


def rewritten(path, tensors=None, **metadata):
    """The file with other tensors or metadata."""
    with safe_open(path, framework="pt") as opened:
        old = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        facts = opened.metadata() | metadata
    save_file(old if tensors is None else tensors, path, {k: v for k, v in facts.items() if v})
    return path


def refusal(path) -> str:
    with pytest.raises(UserError) as caught:
        load_generator(path)
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    return message


def test_round_trip(file, generator):
    loaded = load_generator(file)
    assert loaded.generator.config == CONFIG
    assert loaded.metadata["licence"] == "MIT"
    assert not loaded.generator.training
    lr = torch.rand(1, 3, 5, 5)
    with torch.inference_mode():
        assert torch.equal(loaded.generator(lr), generator(lr))


def test_the_file_says_what_its_weights_need(file):
    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
    assert (metadata["format"], metadata["format_version"]) == ("counterpoise-generator", "1")
    config = json.loads(metadata["config"])
    assert (config["bicubic"], config["degradation"]) == ("tf1-legacy", "lanczos")
    assert config["input_mean"] == [0.1, 0.2, 0.3]


def test_a_failed_write_leaves_the_old_file(file, generator, monkeypatch):
    before = file.read_bytes()

    def full_disk(tensors, path, metadata):
        path.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("counterpoise.models.weights.save_file", full_disk)
    with pytest.raises(UserError, match="No space left"):
        save_generator(file, generator, {})
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_missing_file_and_folder(tmp_path):
    assert "no such file" in refusal(tmp_path / "nothing.safetensors")
    assert "a folder; give a weight file" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in refusal(tmp_path / "pipe")


@pytest.mark.parametrize("kind", ["pickle", "torch", "text", "empty"])
def test_other_files(tmp_path, generator, kind):
    path = tmp_path / "weights.bin"
    if kind == "torch":
        torch.save(generator.state_dict(), path)
    else:
        contents = {"pickle": pickle.dumps({"a": 1}), "text": b"hello, this is text", "empty": b""}
        path.write_bytes(contents[kind])
    assert "not a safetensors file" in refusal(path)


def test_tensorflow_checkpoints_get_a_hint(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(bytes(100) + TABLE_MAGIC)
    assert "counterpoise import-weights" in refusal(path)


def test_tensorflow_names_get_a_hint(tmp_path):
    path = tmp_path / "enet.safetensors"
    save_file({"generator/Conv/weights": torch.zeros(3, 3, 3, 64)}, path)
    assert "counterpoise import-weights" in refusal(path)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_truncated_files(file, kept):
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * kept)])
    assert "damaged" in refusal(file)


def test_another_network(tmp_path):
    path = tmp_path / "resnet.safetensors"
    save_file({"conv1.weight": torch.zeros(4, 3, 3, 3)}, path)
    assert "another network" in refusal(path)


def test_a_newer_format(file):
    assert "newer counterpoise" in refusal(rewritten(file, format_version="2"))


@pytest.mark.parametrize(
    "config", ["", "not json", "[]", json.dumps({"scale": 3}), json.dumps({"depth": 4})]
)
def test_broken_descriptions(file, config):
    assert "do not fit" in refusal(rewritten(file, config=config))


def test_a_description_that_lies_takes_no_memory(file):
    huge = CONFIG.model_copy(update={"width": 1_000_000}).model_dump_json()
    assert "width" in refusal(rewritten(file, config=huge))
    deep = CONFIG.model_copy(update={"blocks": 1_000_000_000}).model_dump_json()
    assert "blocks" in refusal(rewritten(file, config=deep))


@pytest.mark.parametrize("damage", ["missing", "unknown", "shape", "not finite"])
def test_wrong_tensors(file, generator, damage):
    tensors = {k: v.detach().clone() for k, v in generator.state_dict().items()}
    if damage == "missing":
        del tensors["tail.bias"]
    elif damage == "unknown":
        tensors["extra"] = torch.zeros(1)
    elif damage == "shape":
        tensors["tail.bias"] = torch.zeros(4)
    else:
        tensors["tail.bias"][0] = torch.nan
    assert damage in refusal(rewritten(file, tensors))
