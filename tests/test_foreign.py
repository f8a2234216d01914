"""Networks of other programs as G, and the weights that they publish."""

import sys

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from counterpoise.config import GeneratorConfig
from counterpoise.errors import UserError
from counterpoise.models.foreign import load_published
from counterpoise.models.generator import build_generator
from counterpoise.models.weights import load_generator
from counterpoise.run_folder import RunFolder
from foreign_networks import Compact, stand_in_for_spandrel
from helpers import one_line, write_images
from training_helpers import events, run, tiny

COMPACT = "foreign_networks.Compact"


@pytest.fixture
def network():
    """With weights as published ones are: it enlarges pictures."""
    network = Compact()
    nn.init.normal_(network.body[-1].weight, std=1e-3)
    return network


def test_it_is_trained_resumed_loaded_scored_and_used_as_any_other(tmp_path, network, counterpoise):
    photos, published, folder = tmp_path / "photos", tmp_path / "g.pth", tmp_path / "parts"
    photos.mkdir()
    write_images(photos, 4)
    torch.save({"params_ema": network.state_dict()}, published)
    overrides = [f"generator.source={COMPACT}", "generator.arguments={num_feat: 8}"]
    overrides += [f"train.initial_weights={published}", "train.pretrain_steps=0"]
    overrides += ["balance={policy: auto, options: {}}"]
    for steps in (2, 4):
        run(tiny(*overrides, f"train.steps={steps}", data=photos), folder, resume=steps == 4)
    assert f"G begins with {published}" in events(folder)
    loaded = load_generator(RunFolder(folder).generator).generator
    for name, now in loaded.network.state_dict().items():  # four steps from where it began
        assert torch.allclose(now, network.state_dict()[name], rtol=0, atol=0.05)
    picture = next(photos.iterdir())
    for command in (
        ["upscale", picture, tmp_path / "large.png", "--weights", folder],
        ["evaluate", "--weights", folder, "--data", photos, "--metrics", "psnr"],
        ["upscale", picture, tmp_path / "again.png", "--weights", RunFolder(folder).checkpoint(4)],
        ["export", folder, tmp_path / "out.pth", "--format", "spandrel"],
    ):
        code, _, err = counterpoise(*command)
        assert (code, err) == (0, "")
    with Image.open(picture) as small, Image.open(tmp_path / "large.png") as large:
        assert large.size == (4 * small.width, 4 * small.height)
    again = build_generator(loaded.config).eval()
    load_published(again, tmp_path / "out.pth")
    lr = torch.rand(1, 3, 7, 9)
    assert torch.equal(again(lr), loaded(lr))


def test_published_layouts(tmp_path, network):
    state = network.state_dict()
    other = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
    for number, content in enumerate((
        state,
        {"params": other, "params_ema": state},
        {"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 3},
        {"params": {name: tensor.half() for name, tensor in state.items()}},
    )):  # fmt: skip
        path = tmp_path / ("g.pth" if number else "g.safetensors")
        torch.save(content, path) if number else save_file(content, path)
        generator = build_generator(GeneratorConfig(source=COMPACT)).eval()
        load_published(generator, path)
        for key, now in generator.network.state_dict().items():
            torch.testing.assert_close(now, state[key], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("source", "arguments", "why"),
    [
        ("os.getcwd", {}, "not a class of torch.nn.Module"),
        ("no_such_module.Net", {}, "no_such_module"),
        ("foreign_networks.Missing", {}, "Missing"),
        (COMPACT, {"depth": 3}, "depth"),
        (COMPACT, {"upscale": 2}, r"\(1, 3, 32, 32\).*not 4 times as large"),
        ("torch.nn.Linear", {"in_features": 5, "out_features": 5}, "RuntimeError"),
        ("spandrel:missing.pth", {}, "missing.pth: no such file"),
    ],
)
def test_what_is_no_generator_is_one_line(source, arguments, why):
    with pytest.raises(UserError, match=why):
        build_generator(GeneratorConfig(source=source, arguments=arguments))


def test_weights_that_do_not_fit_and_those_of_another_range(tmp_path, network):
    path, state = tmp_path / "g.pth", network.state_dict()
    levels = state | {"body.6.bias": state["body.6.bias"] + 100}
    others = {name: tensor for name, tensor in state.items() if name != "body.6.bias"}
    for content, why in (
        (others, "not the weights"),
        (levels, "ramp of colours"),
        ([state], "no state dict"),
    ):
        torch.save(content, path)
        config = tiny(f"generator.source={COMPACT}", f"train.initial_weights={path}")
        with pytest.raises(UserError, match=why):
            run(config, tmp_path / "r")
        assert not (tmp_path / "r").exists()


def test_what_spandrel_knows_is_a_source(tmp_path, monkeypatch, network, counterpoise):
    monkeypatch.chdir(tmp_path)
    torch.save({"params": network.state_dict()}, "g.pth")
    source = "generator.source=spandrel:g.pth"
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "spandrel", None)
        result = counterpoise("train", "--preset", "demo", "--set", source, "--dry-run")
    one_line(result, "counterpoise[spandrel]")
    stand_in_for_spandrel(monkeypatch)
    run(tiny(source, "train.pretrain_steps=0", "train.steps=2"), tmp_path / "run")
    (tmp_path / "g.pth").unlink()  # what the run is used for does not need it
    loaded = load_generator(tmp_path / "run").generator
    assert not torch.equal(loaded.network.body[0].weight, network.body[0].weight)
