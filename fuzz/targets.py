"""The readers of what comes from outside: logs, configurations, pictures, weights."""

import contextlib
import io
import json
import logging
import os
import pickle
import random
import struct
import tempfile
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
import torch
from harness import ROOT, SCRIPT, Target, UnclearError, mutated
from PIL import Image
from safetensors.torch import save

from counterpoise.commands.diagnosis import run
from counterpoise.commands.diagnosis_formats import Judged, to_json
from counterpoise.config import GeneratorConfig, RunConfig
from counterpoise.config_file import load_config, preset_names
from counterpoise.data.images import IMAGE_SUFFIXES, read_picture, read_rgb
from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.logs.read import read_log
from counterpoise.models.features import load_vgg19
from counterpoise.models.generator import build_generator
from counterpoise.models.import_weights import import_official
from counterpoise.models.weights import CHECKPOINT_FORMAT, load_generator
from counterpoise.picture_io import write_picture
from counterpoise.training import checkpoint
from counterpoise.training.checks import check_training


@cache
def _folder() -> Path:
    # Libraries that are asked about damaged files say so; the answer is what counts here.
    logging.disable(logging.CRITICAL)
    return Path(tempfile.mkdtemp(prefix="fuzz-"))


@cache
def log_seeds() -> list[bytes]:
    """Pieces of the labelled corpus, and of the tests' logs of every format."""
    found = []
    for path in sorted([*(ROOT / "corpus").rglob("*"), *(ROOT / "tests" / "data").rglob("*")]):
        if path.is_file() and path.suffix in (".log", ".csv", ".txt", ".jsonl"):
            lines = path.read_bytes().splitlines(keepends=True)
            header = lines[:1] if path.suffix == ".csv" else []
            for start in (0, len(lines) // 2):
                piece = b"".join([*header, *lines[start : start + 30]])
                found.append(piece[: piece.rfind(b"\n", 0, 1000) + 1])
    return [piece for piece in found if piece]


def check_log(data: bytes, source: random.Random) -> None:
    """Read, judge and show one log as `diagnose` does: a stream, a file, a run folder."""
    kind = source.random()
    folder, log = _folder() / "run", _folder() / f"a {SCRIPT}.log"
    folder.mkdir(exist_ok=True)
    log.write_bytes(data)
    if kind < 0.8:
        text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", errors="replace")
        traces = read_log(text)
    elif kind < 0.9:
        traces = read_log(log)
    else:
        (folder / "signals.jsonl").write_bytes(data)
        (folder / "config.yaml").write_bytes(data[:200])
        traces = read_log(folder)
    for trace in traces:
        json.loads(to_json(Judged(trace, diagnose(trace))), parse_constant=_no_constant)
    if source.random() < 0.04:
        page = _folder() / "page.html"
        with contextlib.redirect_stdout(io.StringIO()):
            run([str(log)], page=page)
        if page.exists() and SCRIPT in page.read_text(encoding="utf-8"):
            raise UnclearError("a script in the page")


def _no_constant(name: str) -> None:
    raise UnclearError(f"{name} in the JSON")


@cache
def config_seeds() -> list[bytes]:
    """The shipped presets, and a whole configuration."""
    folder = ROOT / "src" / "counterpoise" / "presets"
    presets = [(folder / f"{name}.yaml").read_bytes() for name in preset_names()]
    return [*presets, RunConfig().to_yaml().encode(), b"a: &a [1, 2]\nb: [*a, *a]\nc: {<<: *a}\n"]


def check_config(data: bytes, source: random.Random) -> None:
    """Read a file, or a preset with overrides; what is accepted reads back as the same."""
    path = _folder() / "config.yaml"
    if source.random() < 0.3:
        line = data[:3000].decode(errors="surrogateescape")
        key = source.choice(("train.steps", "a", "", ".", "train", "loss.perceptual.layers"))
        config = load_config("demo", [f"{key}={line}"], [check_training])
    else:
        path.write_bytes(data)
        config = load_config(path, (), [check_training])
    text = config.to_yaml()
    if ".nan" in text.lower() or ".inf" in text.lower():
        raise UnclearError("accepted a number that is not finite")
    path.write_text(text, encoding="utf-8")
    if load_config(path) != config:
        raise UnclearError("does not read back as the same configuration")


@cache
def picture_seeds() -> list[bytes]:
    """Small pictures of every kind, and bombs."""
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 4), np.uint8)
    whole = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[274] = 6
    found: list[bytes] = []

    def add(image: Image.Image, kind: str, **options: Any) -> None:
        file = io.BytesIO()
        image.save(file, kind, **options)
        found.append(file.getvalue())

    for mode in ("1", "L", "LA", "RGB", "RGBA"):
        add(whole.convert(mode), "PNG")
        add(whole.convert(mode), "TIFF")
    for mode in ("L", "RGB", "CMYK"):
        add(whole.convert("RGB").convert(mode), "JPEG", exif=exif, icc_profile=b"x" * 300)
    for kind in ("GIF", "WEBP", "TIFF"):
        more = [whole.convert("RGB").rotate(90)]
        add(whole.convert("RGB"), kind, save_all=True, append_images=more)
    add(whole.quantize(8), "PNG", transparency=bytes([0, 128, 255]))
    add(whole.convert("RGB"), "BMP")
    add(whole.convert("RGB"), "TIFF", compression="jpeg")
    deep = pixels.astype(np.uint16) * 257
    for array, options in (
        (deep[..., :3], {"photometric": "rgb"}),
        (deep, {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
        (deep[..., :3].transpose(2, 0, 1), {"photometric": "rgb", "planarconfig": "separate"}),
        (deep[..., 0].astype(np.float32), {}),
        (deep[..., 0], {"compression": "zlib"}),
    ):
        file = io.BytesIO()
        tifffile.imwrite(file, array, **options)
        found.append(file.getvalue())
    found += [cv2.imencode(suffix, deep[..., :3])[1].tobytes() for suffix in (".png", ".tif")]
    bomb = bytearray(found[0])
    bomb[16:24] = struct.pack(">II", 50_000, 50_000)
    bomb[29:33] = struct.pack(">I", zlib.crc32(bomb[12:29]))
    return [*found, bytes(bomb), b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n"]


def check_picture(data: bytes, source: random.Random) -> None:
    """Read a picture as training does, or as `upscale` does, which writes it again."""
    path = _folder() / f"in{source.choice(IMAGE_SUFFIXES)}"
    path.write_bytes(data)
    pixels = read_rgb(path)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise UnclearError(f"not RGB of 8 bits: {pixels.shape} {pixels.dtype}")
    picture = read_picture(path)
    if picture.colour.dtype not in (np.uint8, np.uint16) or picture.colour.shape[2] not in (1, 3):
        raise UnclearError(f"not a picture: {picture.colour.shape} {picture.colour.dtype}")
    if picture.colour.size < 1_000_000:
        write_picture(_folder() / f"out{source.choice(IMAGE_SUFFIXES)}", picture)


CONFIG = GeneratorConfig(scale=2, width=4, blocks=1)


def canary() -> Path:
    """What is made where a pickle's code runs."""
    return _folder() / "canary"


class _Code:
    """Unpickled by a reader that trusts it, this makes the canary."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(canary()),)


@cache
def weight_seeds() -> list[bytes]:
    """Whole files of every kind that is read, and pickles with code in them."""
    generator = build_generator(CONFIG)
    state = {name: tensor.contiguous() for name, tensor in generator.state_dict().items()}
    facts = {"format": "counterpoise-generator", "format_version": "1"}
    facts["config"] = CONFIG.model_dump_json()
    vgg = {"features.0.weight": torch.zeros(64, 3, 3, 3), "features.0.bias": torch.zeros(64)}
    point = {
        "format": CHECKPOINT_FORMAT,
        "values": json.dumps({"step": 3, "g": [{"betas": [0.9]}]}),
    }
    saved, code = io.BytesIO(), io.BytesIO()
    torch.save(vgg, saved)
    torch.save({"features.0.weight": _Code()}, code)
    return [
        save(state, facts),
        save(vgg, {"input_scaling": "caffe"}),
        save({"g/a": torch.ones(3)}, point),
        saved.getvalue(),
        pickle.dumps({"features.0.weight": _Code()}),
        code.getvalue(),
    ]


def make_weights(seeds: list[bytes], source: random.Random) -> bytes:
    """A file whose header says something else than its data, or with mutated bytes."""
    data = source.choice(seeds)
    if data[8:9] != b"{" or source.random() < 0.4:
        return mutated(seeds, source)
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    tensor = header[source.choice([name for name in header if name != "__metadata__"])]
    change = source.randrange(4)
    if change == 0:
        tensor["data_offsets"][source.randrange(2)] = source.choice((0, 1, -1, 1 << 31, None))
    elif change == 1:
        tensor["shape"] = source.choice(([], [0], [-1], [1 << 40, 1 << 40], [3, 3, 4, 4], None))
    elif change == 2:
        tensor["dtype"] = source.choice(("F64", "F16", "BF16", "I64", "U8", "BOOL", "X"))
    else:
        configs = ('{"width": 1e30}', '{"blocks": 1000000000}', "{", "null", '{"scale": 3}', "")
        header["__metadata__"]["config"] = source.choice(configs)
    head = json.dumps(header).encode()
    return struct.pack("<Q", len(head)) + head + data[8 + length :]


def check_weights(data: bytes, source: random.Random) -> None:
    """Give the file to one of the readers."""
    path = _folder() / f"file{source.choice(('.safetensors', '.safetensors', '.pth', ''))}"
    path.write_bytes(data)
    kind = source.randrange(4)
    try:
        if kind == 0:
            generator = load_generator(path).generator
            if not all(bool(p.isfinite().all()) for p in generator.parameters()):
                raise UnclearError("weights that are not finite were accepted")
        elif kind == 1:
            load_vgg19(path, None, ["relu1_1"])
        elif kind == 2:
            checkpoint.load(path)
        else:
            import_official(path, _folder() / "out.safetensors")
    finally:
        path.unlink()
        if canary().exists():
            canary().rmdir()
            raise UnclearError("code in a pickle ran")


TARGETS = {
    target.name: target
    for target in (
        Target("logs", log_seeds, check_log),
        Target("configurations", config_seeds, check_config),
        Target("pictures", picture_seeds, check_picture),
        Target("weights", weight_seeds, check_weights, make_weights),
    )
}
