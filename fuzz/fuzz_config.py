"""Fuzzes the reader of configurations: YAML files and `--set`.

    python fuzz/fuzz_config.py --count 100000 --seed 1

Mutated presets, bombs of aliases and brackets, tags that ask for objects, numbers without end.
What is accepted must be finite, and must read back as the same configuration.
"""

import random
import sys
import tempfile
from functools import cache
from pathlib import Path

from harness import ROOT, Target, UnclearError, main
from mutate import NUMBERS, TOKENS, mutated

from counterpoise.config import RunConfig
from counterpoise.config_file import load_config, preset_names
from counterpoise.training.checks import check_training

MOST_BYTES = 20_000
LAUGHTER = b"a: &a [1, 2, 3]\n" + b"".join(
    b"%c: &%c [%s]\n" % (98 + n, 98 + n, b", ".join([b"*%c" % (97 + n)] * 9)) for n in range(9)
)
YAML_TOKENS = (
    *TOKENS, b"[" * 9000, b"- " * 9000, b"{a: " * 2000, b"? " * 3000, b"!!python/object/apply:os.",
    b"!!python/name:os.system ", b"!!timestamp ", b"!!int ", b"!!float ", b"!!bool ", b"!!binary ",
    b"!!set {a, b}", b"!!omap [a: 1]", b"!!null x", b"&a ", b"*a ", b"<<: *a\n", b"<<: [1]\n",
    b"|\n", b">\n", b"---\n", b"...\n", b"%YAML 9.9\n", b"%TAG ! x\n", b"2024-99-99", b"1:1:1:1",
    b":".join([b"59"] * 3000), b"0b" + b"1" * 5000, b"0x" + b"f" * 5000, b"=", b"~", b"yes",
    b"train: {steps: 5}\n", b"x" * 9000 + b": 1\n", b"balance: {options: {a: [[[[[1]]]]]}}\n",
    LAUGHTER, *NUMBERS,
)  # fmt: skip


@cache
def seeds() -> list[bytes]:
    """The shipped presets, a whole configuration, and a bomb."""
    folder = ROOT / "src" / "counterpoise" / "presets"
    presets = [(folder / f"{name}.yaml").read_bytes() for name in preset_names()]
    return [*presets, RunConfig().to_yaml().encode(), LAUGHTER]


def make(source: random.Random) -> bytes:
    """A mutated configuration."""
    data, other = source.choice(seeds()), source.choice(seeds())
    return mutated(data, other, source, MOST_BYTES, YAML_TOKENS)


@cache
def _file() -> Path:
    return Path(tempfile.mkdtemp(prefix="fuzz-config-")) / "config.yaml"


def check(data: bytes, source: random.Random) -> str:
    """Read a file, or a preset with overrides."""
    if source.random() < 0.3:
        line = data[:3000].decode(errors="surrogateescape")
        keys = ("train.steps", "a", "", ".", "..", "train", "x." * 9000, "loss.perceptual.layers")
        items = [line, f"{source.choice(keys)}={line}", "loss.texture.layers={pool2: 1}"]
        config = load_config("demo", items[: source.randrange(1, 4)], [check_training])
    else:
        _file().write_bytes(data)
        config = load_config(_file(), (), [check_training])
    text = config.to_yaml()
    if ".nan" in text.lower() or ".inf" in text.lower():
        raise UnclearError("accepted a number that is not finite")
    _file().write_text(text, encoding="utf-8")
    if load_config(_file()) != config:
        raise UnclearError("does not read back as the same configuration")
    return "read"


TARGET = Target("config", make, check)

if __name__ == "__main__":
    sys.exit(main(__doc__, TARGET, 100_000, atheris=True))
