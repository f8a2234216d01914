"""Fuzzes the readers of weights: generators, VGG-19, checkpoints of a run, the authors' file.

    python fuzz/fuzz_weights.py --count 20000 --seed 1

Safetensors with headers that lie, damaged bytes, TensorFlow checkpoints and pickles. Some of the
pickles have code, which makes a file where it runs: that file must never be there.
"""

import io
import json
import os
import pickle
import random
import struct
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from harness import ROOT, Target, UnclearError, main
from mutate import TOKENS, mutated
from safetensors.torch import save

from counterpoise.config import GeneratorConfig
from counterpoise.models.generator import build_generator
from counterpoise.models.import_weights import import_official
from counterpoise.models.vgg_weights import load_vgg19
from counterpoise.models.weights import load_generator
from counterpoise.training import checkpoint

sys.path.insert(0, str(ROOT / "tests"))
from test_tensorflow_checkpoint import checkpoint_of, tensors_of

MOST_BYTES = 20_000
CONFIG = GeneratorConfig(scale=2, width=4, blocks=1)
OFFSETS = (0, 1, -1, 3, 4, 1 << 31, 1 << 63, (1 << 64) - 1, -(1 << 63), 10**30, 1.5, None, "0")
SHAPES = ([], [0], [-1], [1 << 62], [1 << 40, 1 << 40], [3, 3, 4, 4], [4], [[4]], None, "4", [1.5])
DTYPES = ("F32", "F64", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "F4", "C64", "X", "", 7)
CONFIGS = (
    '{"scale": 2, "width": 1e30}', '{"blocks": 1000000000}', '{"width": 9007199254740992}', "{",
    '{"input_mean": [NaN, 0, 0]}', "[" * 5000, "null", '{"scale": 3}', '{"name": "x"}', "",
)  # fmt: skip


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="fuzz-weights-"))


def canary() -> Path:
    """What is made where a pickle's code runs."""
    return _folder() / "canary"


class _Code:
    """Unpickled by a reader that trusts it, this makes the canary."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(canary()),)


@cache
def seeds() -> list[bytes]:
    """Whole files of every kind that is read."""
    generator = build_generator(CONFIG)
    state = {name: tensor.contiguous() for name, tensor in generator.state_dict().items()}
    facts = {
        "format": "counterpoise-generator",
        "format_version": "1",
        "config": CONFIG.model_dump_json(),
    }
    vgg = {"features.0.weight": torch.zeros(64, 3, 3, 3), "features.0.bias": torch.zeros(64)}
    values = {"step": 3, "g": [{"betas": [0.9, 0.999]}]}
    point = {"format": checkpoint.FORMAT, "values": json.dumps(values)}
    saved = io.BytesIO()
    torch.save(vgg, saved)
    old = io.BytesIO()
    torch.save(vgg, old, _use_new_zipfile_serialization=False)
    code = io.BytesIO()
    torch.save({"features.0.weight": _Code()}, code)
    return [
        save(state, facts),
        save(vgg, {"input_scaling": "caffe"}),
        save({"g/a": torch.ones(3)}, point),
        checkpoint_of(tensors_of((2, 3), (4,))),
        saved.getvalue(),
        old.getvalue(),
        pickle.dumps({"features.0.weight": _Code()}),
        code.getvalue(),
    ]


def _lying(data: bytes, source: random.Random) -> bytes:
    """A safetensors file whose header says something else than its data."""
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    names = [name for name in header if name != "__metadata__"]
    for _ in range(source.choice((1, 1, 2, 4))):
        entry = header[source.choice(names)]
        kind = source.randrange(8)
        if kind == 0:
            entry["data_offsets"][source.randrange(2)] = source.choice(OFFSETS)
        elif kind == 1:
            entry["shape"] = source.choice(SHAPES)
        elif kind == 2:
            entry["dtype"] = source.choice(DTYPES)
        elif kind == 3 and len(names) > 1:
            header[names[0]]["data_offsets"] = header[names[-1]]["data_offsets"]
        elif kind == 4:
            header.setdefault("__metadata__", {})["config"] = source.choice(CONFIGS)
        elif kind == 5:
            header["__metadata__"] = source.choice((None, [], {"a": 1}, {"format": None}, {}))
        elif kind == 6:
            header["x" * source.choice((1, 10_000))] = dict(entry)
        else:
            entry.pop(source.choice(sorted(entry)))
            entry["shape"] = []
            break
        if not isinstance(header.get("__metadata__", {}), dict):
            break
    text = json.dumps(header)
    if source.random() < 0.2:  # the first tensor twice
        first = json.dumps(names[0])
        text = text.replace("{", "{" + f"{first}: {json.dumps(header[names[0]])}, ", 1)
    head = text.encode()
    said = source.choice((len(head),) * 6 + (0, 1, len(head) + 1000, 1 << 40, (1 << 64) - 1))
    return struct.pack("<Q", said) + head + data[8 + length :]


def make(source: random.Random) -> bytes:
    """A file with a lying header, or with mutated bytes."""
    data = source.choice(seeds())
    if data[8:9] == b"{" and source.random() < 0.6:
        return _lying(data, source)
    return mutated(data, source.choice(seeds()), source, MOST_BYTES, TOKENS)


def check(data: bytes, source: random.Random) -> str:
    """Give the file to one of the readers."""
    suffix = source.choice((".safetensors", ".safetensors", ".pth", ""))
    path = _folder() / f"file{suffix}"
    path.write_bytes(data)
    kind = source.randrange(4)
    try:
        if kind == 0:
            loaded = load_generator(path)
            finite = all(bool(p.isfinite().all()) for p in loaded.generator.parameters())
            if not finite:
                raise UnclearError("weights that are not finite were accepted")
        elif kind == 1:
            load_vgg19(path, None, ["relu1_1"] if source.random() < 0.5 else [])
        elif kind == 2:
            checkpoint.load(path)
        else:
            import_official(path, _folder() / "out.safetensors")
    finally:
        path.unlink()
        if canary().exists():
            canary().rmdir()
            raise UnclearError("code in a pickle ran")
    return "read"


TARGET = Target("weights", make, check)

if __name__ == "__main__":
    sys.exit(main(__doc__, TARGET, 20_000, atheris=True))
