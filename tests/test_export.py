"""What is exported gives, in the program that it is for, the pictures that it gives here."""

import hashlib
import importlib
import json
import sys

import pytest
import torch
from safetensors.torch import load_file

from counterpoise.config import GeneratorConfig
from counterpoise.export import ARCHITECTURE_FILE
from counterpoise.models.generator import build_generator
from counterpoise.models.weights import load_generator, save_generator
from foreign_networks import stand_in_for_spandrel
from helpers import one_line

ENET_X4 = GeneratorConfig(width=4, blocks=1)
ENET_X2 = GeneratorConfig(
    width=6, blocks=0, scale=2, bicubic="tf1-legacy", input_mean=(0.1, 0.2, 0.3)
)
FOREIGN = GeneratorConfig(source="foreign_networks.Compact")


@pytest.fixture(params=[ENET_X4, ENET_X2, FOREIGN], ids=["x4", "x2", "foreign"])
def weights(request, tmp_path):
    path = tmp_path / "g.safetensors"
    save_generator(path, build_generator(request.param), {"licence": "MIT"})
    return path


@pytest.mark.parametrize("options", [(), ("--fp16",)], ids=["fp32", "fp16"])
def test_onnx_of_any_size(tmp_path, weights, counterpoise, options):
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    path = tmp_path / "out.onnx"
    code, out, err = counterpoise("export", weights, path, *options)
    assert (code, err) == (0, "")
    model = onnx.load(path)
    assert f"opset {model.opset_import[0].version}," in out
    assert {p.key: p.value for p in model.metadata_props}["licence"] == "MIT"
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    lr = torch.rand(3, 3, 5, 19)
    given = lr.half() if options else lr
    (output,) = session.run(["output"], {"input": given.numpy()})
    assert output.dtype == given.numpy().dtype
    wanted, tolerance = load_generator(weights).generator(given.float()), 1e-2 if options else 1e-4
    torch.testing.assert_close(torch.from_numpy(output).float(), wanted, atol=tolerance, rtol=0)


@pytest.mark.parametrize("weights", [ENET_X4, ENET_X2], ids=["x4", "x2"], indirect=True)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_spandrels_state_dict_has_all_that_its_file_of_code_needs(
    tmp_path, monkeypatch, weights, counterpoise, suffix
):
    stand_in_for_spandrel(monkeypatch)
    path, name = tmp_path / f"out{suffix}", ARCHITECTURE_FILE.removesuffix(".py")
    code, _, err = counterpoise("export", weights, path, "--format", "spandrel")
    assert (code, err) == (0, "")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)
    state = load_file(path) if suffix == ".safetensors" else torch.load(path, weights_only=True)
    described = importlib.import_module(name).EnhanceNetArch.load(None, state)
    lr = torch.rand(2, 3, 5, 8)
    wanted = load_generator(weights).generator(lr)
    torch.testing.assert_close(described.model(lr), wanted, atol=1e-5, rtol=0)
    card = json.loads(path.with_name(f"{path.name}.json").read_text())
    assert card["resources"][0]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (card["scale"], card["license"]) == (described.scale, "MIT")


def test_mistakes_are_one_line(tmp_path, monkeypatch, counterpoise):
    monkeypatch.setitem(sys.modules, "onnx", None)
    (tmp_path / "there.onnx").touch()
    for words, why in (
        (["out.pth"], ".onnx"),
        (["out.onnx", "--format", "spandrel"], ".safetensors or .pth"),
        (["there.onnx"], "exists already"),
        (["none.safetensors", "out.onnx"], "no such file"),
        (["out.onnx"], "counterpoise[export]"),
    ):
        paths = [tmp_path / word if "." in word else word for word in words]
        one_line(counterpoise("export", *paths), why)
    assert not (tmp_path / "out.onnx").exists()
