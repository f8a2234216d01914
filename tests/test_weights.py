"""Weight files: what is written comes back, every other file is refused in one line, and no code
in a pickle ever runs."""

import ast
import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import counterpoise
from counterpoise.config import GeneratorConfig
from counterpoise.errors import UserError
from counterpoise.models.features import load_vgg19
from counterpoise.models.generator import build_generator
from counterpoise.models.import_weights import import_official
from counterpoise.models.weights import load_generator, read_published, save_generator
from counterpoise.training import checkpoint

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
    """The file with other tensors or metadata; empty metadata is left out."""
    with safe_open(path, framework="pt") as opened:
        old = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        facts = opened.metadata() | metadata
    save_file(old if tensors is None else tensors, path, {k: v for k, v in facts.items() if v})
    return path


def refusal(path, reader=load_generator) -> str:
    with pytest.raises(UserError) as caught:
        reader(path)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1000
    assert path.name in message
    return message


def test_round_trip(file, generator):
    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
    assert (metadata["format"], metadata["format_version"]) == ("counterpoise-generator", "1")
    assert json.loads(metadata["config"])["input_mean"] == [0.1, 0.2, 0.3]
    loaded = load_generator(file)
    assert loaded.generator.config == CONFIG
    assert loaded.metadata["licence"] == "MIT"
    assert not loaded.generator.training
    lr = torch.rand(1, 3, 5, 5)
    with torch.inference_mode():
        assert torch.equal(loaded.generator(lr), generator(lr))


def test_a_file_that_names_no_generator_is_of_enhancenet(file):
    config = {k: v for k, v in CONFIG.model_dump(mode="json").items() if k != "name"}
    assert load_generator(rewritten(file, config=json.dumps(config))).generator.config == CONFIG


def test_what_is_no_file_of_a_generator(tmp_path, file):
    os.mkfifo(tmp_path / "pipe")
    save_file({"conv1.weight": torch.zeros(4, 3, 3, 3)}, tmp_path / "weights")
    newer = rewritten(file, format_version="2")
    for path, why in ((tmp_path / "none", "no such file"), (tmp_path, "not a run folder"),
                      (tmp_path / "pipe", "not a regular file"), (newer, "newer format"),
                      (tmp_path / "weights", "another network")):  # fmt: skip
        assert why in refusal(path)


@pytest.mark.parametrize(
    "config",
    [
        "",
        "not json",
        "[]",
        '{"scale": 3}',
        '{"depth": 4}',
        '{"name": "unknown"}',
        '{"scale": 4, "width": 4, "blocks": 1}',
        '{"input_mean": [NaN, 0, 0], "scale": 2, "width": 4, "blocks": 1}',
    ],
)
def test_broken_descriptions(file, config):
    assert "do not fit" in refusal(rewritten(file, config=config))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda t: t.pop("tail.bias"), "tail.bias"),
        (lambda t: t.update(extra=torch.ones(1)), "extra"),
        (lambda t: t.update({"tail.bias": torch.ones(5)}), "tail.bias"),
        (lambda t: t.update({"tail.bias": torch.ones(3, dtype=torch.int64)}), "no float"),
        (lambda t: t["tail.bias"].fill_(float("nan")), "not finite"),
        (lambda t: t["tail.bias"].fill_(float("inf")), "not finite"),
    ],
)
def test_tensors_that_do_not_fit(file, generator, change, why):
    tensors = {k: v.detach().clone() for k, v in generator.state_dict().items()}
    change(tensors)
    assert why in refusal(rewritten(file, tensors))


class Code:
    """Makes a folder where it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


READERS = {
    "weights": load_generator,
    "vgg": lambda path: load_vgg19(path, "caffe", []),
    "checkpoint": checkpoint.load,
    "published": read_published,
    "import": lambda path: import_official(path, path.with_name("out.safetensors")),
}


@pytest.mark.parametrize("reader", sorted(READERS))
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("kind", ["pickle", "torch", "list", "text", "empty", "half"])
def test_other_files(tmp_path, file, reader, suffix, kind):
    path = tmp_path / f"other{suffix}"
    if kind in ("torch", "list"):
        torch.save({"a": torch.ones(1)} if kind == "torch" else [1, 2], path)
    else:
        half = file.read_bytes()[: file.stat().st_size // 2]
        contents = {"pickle": pickle.dumps({"a": 1}), "text": b"hello", "empty": b"", "half": half}
        path.write_bytes(contents[kind])
    if (reader, suffix, kind) != ("published", ".pth", "torch"):
        refusal(path, READERS[reader])


@pytest.mark.parametrize("reader", sorted(READERS))
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("how", ["pickle", "torch"])
def test_code_never_runs(tmp_path, reader, suffix, how):
    canary, path = tmp_path / "canary", tmp_path / f"file{suffix}"
    content = {"features.0.weight": Code(canary)}
    if how == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path)
    with pytest.raises(UserError) as caught:
        READERS[reader](path)
    assert not canary.exists()
    assert "\n" not in str(caught.value)
    with path.open("rb") as file:  # the canary does what it is for
        torch.load(file, weights_only=False) if how == "torch" else pickle.load(file)  # noqa: S301
    assert canary.exists()


def test_every_other_unpickling_is_restricted():
    """`torch.load` without `weights_only=True` is nowhere in the package, nor is `pickle`."""
    for path in Path(counterpoise.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert not {"pickle", "dill", "joblib"} & {n.name for n in node.names}, path
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                options = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert options.get("weights_only") == "True", path
