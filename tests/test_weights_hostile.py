"""Weight files that lie, and pickles with code: refused in one line, and nothing ever runs."""

import json
import os
import pickle
import struct

import pytest
import torch
from safetensors.torch import save

from counterpoise.config import GeneratorConfig
from counterpoise.errors import UserError
from counterpoise.metrics import dists, lpips
from counterpoise.models.generator import build_generator
from counterpoise.models.import_weights import import_official
from counterpoise.models.vgg_weights import load_vgg19
from counterpoise.models.weights import load_generator, save_generator
from counterpoise.training import checkpoint


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
    "import": lambda path: import_official(path, path.with_name("out.safetensors")),
}


@pytest.mark.parametrize("reader", sorted(READERS))
@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ""])
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
    import ast
    from pathlib import Path

    import counterpoise

    for path in Path(counterpoise.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert not {"pickle", "dill", "joblib"} & {n.name for n in node.names}, path
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                options = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert options.get("weights_only") == "True", path
    assert dists
    assert lpips


@pytest.fixture
def parts():
    """Header and data of a generator's file."""
    generator = build_generator(GeneratorConfig(scale=2, width=4, blocks=1))
    facts = {
        "format": "counterpoise-generator",
        "format_version": "1",
        "config": generator.config.model_dump_json(),
    }
    data = save({k: v.contiguous() for k, v in generator.state_dict().items()}, facts)
    (length,) = struct.unpack_from("<Q", data)
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def entry_with(**changes):
    def lie(header):
        header["head.bias"] = header["head.bias"] | changes
        return json.dumps(header)

    return lie


def described_as(config):
    def lie(header):
        header["__metadata__"]["config"] = config
        return json.dumps(header)

    return lie


LIES = {
    "past the end": entry_with(data_offsets=[0, 1 << 60]),
    "negative": entry_with(data_offsets=[-16, 0]),
    "overlapping": entry_with(data_offsets=[0, 16]),
    "backwards": entry_with(data_offsets=[16, 0]),
    "shape": entry_with(shape=[1 << 40, 1 << 40]),
    "type": entry_with(dtype="F64"),
    "unknown type": entry_with(dtype="X9"),
    "metadata": lambda h: json.dumps(h | {"__metadata__": {"format": float("nan")}}),
    "no metadata": lambda h: json.dumps({k: v for k, v in h.items() if k != "__metadata__"}),
    "brackets": lambda h: "[" * 100_000,
    "endless network": described_as('{"scale": 2, "blocks": 100000000000}'),
    "wide network": described_as('{"scale": 2, "width": 1000000000000000}'),
    "another network": described_as('{"scale": 4, "width": 4, "blocks": 1}'),
    "no number": described_as('{"input_mean": [NaN, 0, 0], "scale": 2, "width": 4, "blocks": 1}'),
}


@pytest.mark.parametrize("lie", sorted(LIES))
def test_headers_that_lie(tmp_path, parts, lie):
    header, data = parts
    text = LIES[lie](header).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    with pytest.raises(UserError, match="a.safetensors") as caught:
        load_generator(path)
    assert len(str(caught.value)) < 1000


def test_of_a_tensor_that_is_described_twice_the_last_counts(tmp_path, parts):
    """As safetensors has it; what is used is checked like any other."""
    header, data = parts
    first = '{"head.bias": ' + json.dumps(header["head.bias"] | {"shape": [2, 2]}) + ", "
    text = (first + json.dumps(header)[1:]).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    assert load_generator(path).generator.state_dict()["head.bias"].shape == (4,)


@pytest.mark.parametrize("length", [0, 1 << 20, 1 << 40, (1 << 64) - 1])
def test_headers_of_a_length_that_lies(tmp_path, parts, length):
    header, data = parts
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", length) + json.dumps(header).encode() + data)
    with pytest.raises(UserError, match="not a safetensors file"):
        load_generator(path)


def changed(tmp_path, change):
    """The file of a generator after a change of its tensors."""
    generator = build_generator(GeneratorConfig(scale=2, width=4, blocks=1))
    path = tmp_path / "a.safetensors"
    save_generator(path, generator, {})
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        facts = file.metadata()
    change(tensors)
    path.write_bytes(save(tensors, facts))
    return path


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda t: t.pop("head.bias"), "missing"),
        (lambda t: t.update(extra=torch.ones(1)), "unknown"),
        (lambda t: t.update({"head.bias": torch.ones(5)}), "shape"),
        (lambda t: t.update({"head.bias": torch.ones(4, dtype=torch.int64)}), "int64"),
        (lambda t: t.update({"head.bias": torch.ones(4, dtype=torch.bool)}), "bool"),
        (lambda t: t["head.bias"].fill_(float("nan")), "not finite"),
        (lambda t: t["head.bias"].fill_(float("inf")), "not finite"),
    ],
)
def test_tensors_that_do_not_fit(tmp_path, change, why):
    with pytest.raises(UserError, match=why):
        load_generator(changed(tmp_path, change))


def test_vgg_with_nan_is_said(tmp_path):
    path = tmp_path / "vgg.safetensors"
    weight, bias = torch.zeros(64, 3, 3, 3), torch.full((64,), float("nan"))
    path.write_bytes(save({"features.0.weight": weight, "features.0.bias": bias}))
    with pytest.raises(UserError, match=r"features\.0\.bias has a value that is not finite"):
        load_vgg19(path, "caffe", ["relu1_1"])


def test_vgg_of_sparse_tensors_is_refused(tmp_path):
    path = tmp_path / "vgg.pth"
    tensors = {"features.0.weight": torch.zeros(64, 3, 3, 3).to_sparse()}
    torch.save(tensors | {"features.0.bias": torch.zeros(64)}, path)
    with pytest.raises(UserError):
        load_vgg19(path, "caffe", ["relu1_1"])
