from pathlib import Path

import pytest
import yaml

from counterpoise.config import RunConfig
from counterpoise.config_file import leaves, load_config, preset_names
from counterpoise.errors import UserError
from counterpoise.registry import read_table
from counterpoise.training.checks import check_training

PAPER = ["enet-e", "enet-p", "enet-ea", "enet-pa", "enet-eat", "enet-pat"]


def write(tmp_path, text):
    path = tmp_path / "my.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", sorted({*PAPER, "demo", "enet-pa-pool3", *preset_names()}))
def test_every_preset_loads(name):
    assert isinstance(load_config(name, checks=[check_training]), RunConfig)


def test_paper_values():
    pat = load_config("enet-pat")
    assert pat.loss.pixel.weight == 0
    assert pat.loss.perceptual.layers == {"pool2": 0.2, "pool5": 0.02}
    assert pat.loss.texture.layers == {"relu1_1": 3e-7, "relu2_1": 1e-6, "relu3_1": 1e-6}
    assert pat.loss.texture.patch_px == 16
    assert pat.loss.adversarial.weight == 2
    assert pat.optimizer.g.learning_rate == 1e-4
    assert pat.generator.degradation.name == "lanczos"
    assert load_config("enet-pa").loss.adversarial.weight == 1
    assert load_config("enet-e").loss.adversarial.weight == 0
    for name in PAPER:
        config = load_config(name)
        generator = config.generator
        assert (generator.scale, generator.width, generator.blocks) == (4, 64, 10)
        assert config.loss.letters == name.removeprefix("enet-").upper()


def test_resolved_yaml_has_every_field_and_reads_back_as_the_same_config(tmp_path):
    overrides = ["data.folders=[a b, ü]", "data.square_px=null", "optimizer.g.learning_rate=1e-3"]
    config = load_config("demo", overrides)
    assert (config.data.square_px, config.optimizer.g.learning_rate) == (None, 1e-3)
    assert load_config(write(tmp_path, config.to_yaml())) == config
    assert config.data.folders[0] == Path.cwd() / "a b"
    written = yaml.safe_load(RunConfig().to_yaml())
    assert set(written) == set(RunConfig.model_fields)
    for name, section in RunConfig.model_fields.items():
        assert set(written[name]) == set(section.annotation.model_fields)


def test_all_errors_at_once_by_key_path(tmp_path):
    path = write(tmp_path, "train: {batch_size: 0, stepps: 5}\ngenerator: {scale: 3}\n")
    with pytest.raises(UserError) as caught:
        load_config(path, ["nonsense"])
    message = str(caught.value)
    assert "\n" not in message
    assert "4 errors" in message
    for expected in (
        "train.batch_size: input should be greater than or equal to 1 (given: 0)",
        "train.stepps: unknown key",
        "generator.scale: input should be 2, 4 or 8",
        "nonsense: an override is written key.path=value",
    ):
        assert expected in message


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("train.stepps=5", "train.steps"),
        ("optimzer.d.learning_rate=1", "optimizer.d.learning_rate"),
        ("train.optim_g.lr=1", "optimizer.g.learning_rate"),
        ("perceptual_opt.layer_weights.conv5_4=1", "loss.perceptual.layers"),
        ("train.frobnicate=1", ""),
    ],
)
def test_an_unknown_key_is_answered_with_what_it_may_mean(override, meant):
    key, hint = override.partition("=")[0], f", perhaps {meant}" if meant else ""
    with pytest.raises(UserError, match=f"{key}: unknown key{hint}$"):
        load_config("demo", [override])


def test_other_trainers_names_stand_for_keys_that_exist():
    theirs = read_table("counterpoise", "known_names.toml")["names"]
    assert {ours.split()[0] for ours in theirs.values()} <= dict(
        leaves(RunConfig().model_dump())
    ).keys()


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (None, "cannot be read"),
        ("- 1\n", "expected a mapping"),
        ("a: [1\n", "not valid YAML"),
        (b"\xff\xfe\x00", "not valid YAML"),
        ("a: !!python/object/apply:os.mkdir [canary]\n", "not valid YAML"),
        ("train: {seed: 1}\ntrain: {seed: 2}\n", "'train' is there twice"),
        ("a: 2024-99-99", "not valid YAML"),
        ("[" * 1_000, "not valid YAML"),
    ],
)
def test_bad_files(tmp_path, monkeypatch, text, match):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.yaml"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=match):
        load_config(path)
    assert not (tmp_path / "canary").exists()


def test_aliases_merges_and_a_byte_order_mark_are_read(tmp_path):
    path = tmp_path / "a.yaml"
    anchors = "generator: &a {width: 8}\ndiscriminator: {<<: *a, norm: batch}\n"
    path.write_bytes(b"\xef\xbb\xbf" + anchors.encode())
    config = load_config(path)
    assert (config.generator.width, config.discriminator.width) == (8, 8)


@pytest.mark.parametrize(
    ("source", "overrides", "message"),
    [
        ("enet-xyz", [], "no preset 'enet-xyz'.*enet-pat"),
        ("demo", ["train.batch_size.more=1"], "'batch_size' is a value, not a section"),
        ("enet-e", ["generator.input_mean=[.nan, 0, 0]"], "finite"),
        ("enet-e", ["train.steps=["], "is not a YAML value"),
        ("enet-e", ["loss.pixel.weight=0"], "every term is off"),
        ("demo", ["features.weights=vgg.pth"], r"features\.weights: only read with"),
        ("demo", ["data.lr_folders=[a]"], "lr_folders needs folders"),
    ],
)
def test_what_cannot_be_is_refused_in_words(source, overrides, message):
    with pytest.raises(UserError, match=message):
        load_config(source, overrides, checks=[check_training])
