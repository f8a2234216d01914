"""A training whose G begins with weights that are there."""

import pytest
import torch
from safetensors.torch import load_file

from counterpoise.errors import UserError
from counterpoise.models.weights import load_generator, save_generator
from counterpoise.run_folder import RunFolder
from training_helpers import differing_tensors, events, run, tiny


@pytest.mark.parametrize("of", ["run", "file", "nothing"])
@pytest.mark.usefixtures("shown")
def test_g_and_its_average_begin_with_them(tmp_path, finished, of):
    frozen = ["optimizer.g.learning_rate=1e-12", "train.pretrain_steps=0", "train.ema_decay=0"]
    source = {"run": finished, "file": RunFolder(finished).generator}.get(of)
    given = [] if source is None else [f"train.initial_weights={source}"]
    path = tmp_path / "run"
    run(tiny(*frozen, *given, "train.steps=1", "generator.degradation=lanczos"), path)
    told = "G was trained on bicubic images before, and is on lanczos ones now"
    assert (told in events(path)) == bool(given)
    assert (f"G begins with {source}" in events(path)) == bool(given)
    first = load_file(RunFolder(finished).generator)["head.weight"]
    now = load_file(RunFolder(path).generator)["head.weight"]
    assert torch.allclose(now, first, rtol=0, atol=1e-6) == bool(given)


def test_a_resumed_training_does_not_begin_again_and_a_licence_stays(tmp_path, finished):
    weights = tmp_path / "weights.safetensors"
    begun = load_generator(RunFolder(finished).generator).generator
    save_generator(weights, begun, {"licence": "ND"})
    given = [f"train.initial_weights={weights}", "train.pretrain_steps=0", "train.steps=4"]
    run(tiny(*given), tmp_path / "whole")
    run(tiny(*given, "train.steps=2"), tmp_path / "parts")
    weights.unlink()
    run(tiny(*given), tmp_path / "parts", resume=True)
    assert differing_tensors(tmp_path / "whole", tmp_path / "parts", 4) == []
    folder = RunFolder(tmp_path / "parts")
    assert load_generator(folder.generator).metadata["licence"] == "ND"
    assert any("are under ND" in message for message in events(folder.path))
    assert load_generator(folder.checkpoint(4)).metadata["licence"] == "ND"


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("generator.width=8", "width is 4 there and 8 here"),
        ("generator.bicubic=tf1-legacy", "bicubic is half-pixel there and tf1-legacy here"),
        ("train.initial_weights=no.safetensors", "train.initial_weights .*no.safetensors"),
    ],
)
def test_weights_that_do_not_fit_are_one_line_and_nothing_is_written(
    tmp_path, finished, override, what
):
    weights = f"train.initial_weights={RunFolder(finished).generator}"
    with pytest.raises(UserError, match=what):
        run(tiny(weights, override), tmp_path / "run")
    assert not (tmp_path / "run").exists()
