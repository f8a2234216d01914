"""The command line as a user meets it: what it prints, and what it does with mistakes."""

from importlib.metadata import version

import pytest
import torch
from PIL import Image

import counterpoise as cp
from counterpoise.balance.policies import POLICIES
from counterpoise.config import GeneratorConfig
from counterpoise.config_file import load_config
from counterpoise.models.generator import build_generator
from counterpoise.models.weights import save_generator
from helpers import one_line, write_images
from training_helpers import tiny


@pytest.fixture
def config_file(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(tiny("train.steps=2", "train.pretrain_steps=1").to_yaml())
    return path


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "g.safetensors"
    save_generator(path, build_generator(GeneratorConfig(width=4, blocks=1)), {"licence": "mine"})
    return path


def test_help_is_there_at_every_level(counterpoise):
    for words in ([], ["study"], ["--help"], ["help"]):
        code, out, _ = counterpoise(*words)
        assert (code, "study report " in out) == (0, True)
    assert counterpoise("--version")[:2] == (0, f"counterpoise {version('counterpoise')}\n")
    assert cp.__version__ == version("counterpoise")
    for shell in ("bash", "zsh"):
        code, out, _ = counterpoise("--print-completion", shell)
        assert (code, "--tile-px" in out, "report" in out) == (0, True, True)
    code, out, _ = counterpoise("upscale", "--help")
    assert (code, "--tile-px COUNT" in out) == (0, True)
    one_line(counterpoise("--print-completion"))
    for words in (["stdy"], ["study", "rum"], ["resume"], ["upscale", "x", "--tile-px", "9"]):
        one_line(counterpoise(*words))


def test_train_and_resume_from_one_folder(counterpoise, tmp_path, config_file):
    run = tmp_path / "run"
    code, out, err = counterpoise("train", "--config", config_file, "--run-dir", run)
    assert (code, err) == (0, "")
    for row in ("bicubic", "E (pretrained)", "PSNR (Y)"):
        assert row in out
    assert "embedded filter bank (not VGG" not in out  # this loss needs no features
    for path in ("generator.safetensors", "samples/step-00000003.png", "signals.jsonl"):
        assert str(run / path) in out
        assert (run / path).exists()
    with Image.open(run / "samples" / "step-00000003.png") as grid:
        assert grid.size == (4 * 64 + 3 * 4, 18 + 64)  # LR, bicubic, output, HR
    # Another training does not write into it, and this one can be extended.
    before = (run / "signals.jsonl").read_bytes()
    again = counterpoise("train", "--config", config_file, "--run-dir", run)
    one_line(again, "counterpoise resume")
    assert (run / "signals.jsonl").read_bytes() == before
    code, out, _ = counterpoise("resume", run)
    assert code == 0
    assert "nothing left to train" in out
    code, out, _ = counterpoise("resume", run, "--steps", 4)
    assert code == 0
    assert (run / "checkpoints" / "step-00000005.safetensors").exists()
    one_line(counterpoise("resume", run, "--steps", 1), "has 5 steps already")
    assert load_config(run / "config.yaml").train.steps == 4


def test_run_folders_are_numbered_and_their_paths_absolute(
    counterpoise, tmp_path, config_file, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "my photos", 4)
    for expected in ("tiny", "tiny-2"):
        code, *_ = counterpoise("train", "--config", config_file, "--data", "my photos")
        assert code == 0
        config = load_config(tmp_path / "runs" / expected / "config.yaml")
        assert config.data.folders == (tmp_path / "my photos",)


def test_dry_run_writes_nothing(counterpoise, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "photos", 3, 140, 160)
    code, out, _ = counterpoise(
        "train", "--preset", "enet-pat", "--data", "photos", "--dry-run",
        "--set", "train.batch_size=8", "--set", "features.extractor=embedded",
        "--set", "features.normalisation=none",
    )  # fmt: skip
    assert code == 0
    for text in (
        "batch_size: 8",
        "generator: 852,867 parameters",
        "discriminator: 13,102,881 parameters",
        "2 images of",
        "embedded filter bank (not VGG, no download)",
    ):
        assert text in out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["photos"]


@pytest.mark.parametrize("extractor", ["auto", "vgg19"])
def test_a_dry_run_downloads_nothing(counterpoise, tmp_path, monkeypatch, extractor):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", _no_network)
    small = ["--set", "features.normalisation=none", "--set", f"features.extractor={extractor}"]
    code, out, _ = counterpoise("train", "--preset", "enet-pat", "--dry-run", *small)
    assert code == 0
    assert "would download" in out
    assert list(tmp_path.iterdir()) == []


def test_real_presets_are_not_for_sample_photographs(counterpoise, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one_line(counterpoise("train", "--preset", "enet-e"), "--preset demo")
    assert list(tmp_path.iterdir()) == []


def test_presets_lists_every_choice(counterpoise):
    code, out, _ = counterpoise("presets")
    assert code == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "threshold threshold=0.8, measure=accuracy" in lines
    names = {line.split()[0] for line in lines}
    assert set(POLICIES) <= names
    for name in ("enet-pat", "relativistic-paired", "unet", "generator.name: enhancenet"):
        assert name in out


def _no_network(*_arguments, **_options):
    raise OSError("no network")


def test_missing_vgg_falls_back_loudly(counterpoise, tmp_path, config_file, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", _no_network)
    options = ["--set", "features.extractor=auto", "--set", "loss.perceptual.layers={pool2: 1}"]
    run = tmp_path / "run"
    code, out, _ = counterpoise("train", "--config", config_file, "--run-dir", run, *options)
    assert code == 0
    assert "VGG-19 is not here" in out
    assert "not the paper's" in out
    assert "not the paper's" in (run / "events.jsonl").read_text()
    options[1] = "features.extractor=vgg19"
    one_line(counterpoise("train", "--config", config_file, *options), "features.extractor=embed")


def test_mistakes_in_settings(counterpoise):
    wrong = ["data.crop_px=40", "balance={policy: threshold, options: {limit: 1}}"]
    wrong += ["train={batch_size: 3, devices: 2}", "features.weights=vgg.pth"]
    settings = [part for option in wrong for part in ("--set", option)]
    expected = ["4 errors", "balance.options.limit", "train.batch_size", "discriminator: the enh"]
    one_line(counterpoise("train", "--preset", "demo", *settings), *expected)


def test_mistakes_in_what_is_given(counterpoise, tmp_path, weights):
    write_images(tmp_path / "in", 1)
    (tmp_path / "text.safetensors").write_text("hello")
    upscale = ["upscale", tmp_path / "in", tmp_path / "out", "--weights"]
    for arguments, expected in [
        (["train"], "give --preset NAME or --config FILE"),
        (["train", "--preset", "nope"], "no preset 'nope'"),
        (["train", "--config", tmp_path / "none.yaml"], "cannot be read"),
        (["resume", tmp_path], "not a run folder"),
        ([*upscale, tmp_path / "text.safetensors"], "not a safetensors file"),
        ([*upscale, weights, "--device", "tpu"], "--device tpu: unknown"),
        (["upscale", tmp_path / "no", "x", "--weights", weights], "no such file"),
        (["evaluate", "--weights", weights, "--data", tmp_path / "no"], "no such"),
        (["import-weights", weights, "-o", tmp_path / "x.safetensors"], "not the published"),
    ]:
        one_line(counterpoise(*arguments), expected)
    assert not (tmp_path / "out").exists()


def test_upscale_a_folder(counterpoise, tmp_path, weights):
    write_images(tmp_path / "in", 1, 20, 30)
    (tmp_path / "in" / "broken.png").write_text("no")
    line = ["upscale", tmp_path / "in", tmp_path / "out", "--weights", weights]
    code, out, _ = counterpoise(*line)
    assert (code, "1 of 2 upscaled x4, 1 skipped" in out) == (3, True)
    assert "weights under mine" in out
    (tmp_path / "in" / "broken.png").unlink()
    code, out, _ = counterpoise(*line, "--skip-existing")
    assert (code, "nothing to do" in out) == (0, True)


@pytest.mark.parametrize(
    "verb", ["report", "evaluate --data", "diagnose", "watch", "best", "resume", "study report"]
)
def test_a_link_that_leads_back_to_itself_is_one_line(counterpoise, tmp_path, verb):
    path = tmp_path / "round"
    path.symlink_to(tmp_path / "and-round")
    (tmp_path / "and-round").symlink_to(path)
    options = ["--outputs", path] if verb.startswith("evaluate") else []
    code, out, err = counterpoise(*verb.split(), path, *options)
    assert (code, out, len(err.splitlines())) == (2, "", 1)


def test_upscale_needs_nothing_but_a_picture(counterpoise, tmp_path, monkeypatch):
    """The network is the package's; what it makes lies beside the picture, or the folder."""
    (path, *_) = write_images(tmp_path / "photos", 2, 20, 24)
    code, out, err = counterpoise("upscale", path)
    assert (code, "weights of this package" in out) == (0, True), err
    with Image.open(path.with_name(f"{path.stem}-x4.png")) as larger:
        assert larger.size == (96, 80)
    one_line(counterpoise("upscale", path), "exists already")
    assert counterpoise("upscale", path.parent, "--overwrite")[0] == 0
    assert len(list((tmp_path / "photos-x4").iterdir())) == 3
    monkeypatch.chdir(path.parent)
    one_line(counterpoise("upscale", "."), "photos-x4")
