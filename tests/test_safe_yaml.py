"""YAML of strangers: bombs, tags and malformed values are refused in one line, at once."""

import os

import pytest

from counterpoise import safe_yaml
from counterpoise.config_file import load_config
from counterpoise.errors import UserError

LAUGHTER = "a: &a [1, 2, 3]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)
)
DEEP_ALIASES = "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [[[*a{n - 1}]]]\n" for n in range(1, 30))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (LAUGHTER, "aliases followed"),
        (DEEP_ALIASES, "deep by aliases"),
        ("a: &a [*a]", "holds itself"),
        ("[" * 100_000, "deep"),
        ("- " * 100_000, "deep"),
        ("? " * 100_000, "deep"),
        ("a: " + "9" * 5000, "a number of 5,000 characters"),
        ("a: " + ":".join(["59"] * 9000), "characters"),
        ("a: 1\na: 2\n", "there twice"),
        ("a: 2024-99-99", "not of its kind"),
        ("a: !!timestamp x", "not of its kind"),
        ("a: !!bool x", "not of its kind"),
        ("a: !!int ''", "not of its kind"),
        ("a:\n\tb: 1", "cannot start any token"),
        ("a: \0", "special characters"),
        ("a: !!python/name:os.system", "constructor"),
        ("x" * 1_100_000, "at most"),
    ],
)
def test_what_is_refused(text, why):
    with pytest.raises(safe_yaml.BadYamlError, match=why) as caught:
        safe_yaml.parse(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


def test_anchors_and_merges_are_read():
    tree = safe_yaml.parse("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: [*a, *a]\n")
    assert tree == {"a": {"x": 1}, "b": {"x": 1, "y": 2}, "c": [{"x": 1}, {"x": 1}]}


def test_a_byte_order_mark_is_no_part_of_it(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbftrain: {steps: 7}\n")
    assert load_config(path).train.steps == 7


def test_tags_run_no_code(tmp_path):
    canary = tmp_path / "canary"
    path = tmp_path / "a.yaml"
    path.write_text(f"a: !!python/object/apply:os.mkdir ['{canary}']\n", encoding="utf-8")
    with pytest.raises(UserError, match="not valid YAML"):
        load_config(path)
    assert not canary.exists()


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_might_never_end_is_not_opened(tmp_path, kind):
    path = tmp_path / "a.yaml"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    with pytest.raises(UserError, match="not a regular file"):
        load_config(path)


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("a." * 5000 + "b=1", "no key is this deep"),
        ("train.steps=" + "[" * 9000, "is not a YAML value"),
        ("train.steps=" + "9" * 300, "less than or equal"),
        ("generator.blocks=1000000000000", "less than or equal"),
        ("generator.input_mean=[.nan, 0, 0]", "finite"),
        ("train.seed=" + "x" * 100_000, "valid integer"),
    ],
)
def test_overrides_are_refused_in_little_space(override, why):
    with pytest.raises(UserError, match=why) as caught:
        load_config("demo", [override])
    assert len(str(caught.value)) < 1000
