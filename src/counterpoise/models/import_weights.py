"""Turns the authors' published ENet-PAT weights into our format, every tensor mapped by number."""

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from counterpoise.config import DegradationConfig, GeneratorConfig
from counterpoise.errors import UserError
from counterpoise.models.generator import build_generator
from counterpoise.models.weights import save_generator
from counterpoise.plain_files import why_no_file

OFFICIAL_LICENCE = (
    "CC BY-NC-ND 4.0 (Sajjadi, Schoelkopf, Hirsch): no commercial use, and no sharing of changed "
    "weights, a fine-tuned copy included"
)
OFFICIAL_SOURCE = "ENet-PAT, github.com/msmsajjadi/EnhanceNet-Code"
# pragma: allowlist nextline secret
PUBLISHED_SHA256 = "4250b3dc5e69c5bd625e90543fd588ce2fff88510f874f9e9394c48c44b96434"

# The official network adds its residual to TensorFlow 1's bicubic and was trained on PIL's Lanczos.
OFFICIAL_CONFIG = GeneratorConfig(
    scale=4,
    width=64,
    blocks=10,
    bicubic="tf1-legacy",
    degradation=DegradationConfig(name="lanczos"),
)


def import_official(source: Path, destination: Path) -> tuple[int, int]:
    """Convert the authors' file `weights` (a TensorFlow V1 checkpoint).

    Returns the numbers of tensors and parameters.

    Raises `UserError` where it is not the published file to the bit, and where the destination is
    there already; then nothing is written.
    """
    if not source.is_file():
        raise UserError(f"{source}: {why_no_file(source)}; give the authors' file `weights`")
    if destination.suffix != ".safetensors":
        raise UserError(f"{destination}: give it a name that ends in .safetensors")
    if destination.exists():
        raise UserError(f"{destination}: exists already; choose another name")
    checkpoint = source.read_bytes()
    if hashlib.sha256(checkpoint).hexdigest() != PUBLISHED_SHA256:
        where = "github.com/msmsajjadi/EnhanceNet-Code"
        raise UserError(f"{source}: not the published ENet-PAT, or damaged; fetch it from {where}")
    generator = build_generator(OFFICIAL_CONFIG)
    state, shapes = {}, generator.state_dict()
    # Our convolutions are in the order in which theirs are numbered.
    modules = [name.removesuffix(".weight") for name in shapes if name.endswith(".weight")]
    for number, module in enumerate(modules):
        scope = f"generator/Conv_{number}" if number else "generator/Conv"
        outputs, inputs, *kernel = shapes[f"{module}.weight"].shape
        weights = _read(checkpoint, f"{scope}/weights", (*kernel, inputs, outputs))
        state[f"{module}.weight"] = weights.permute(3, 2, 0, 1)
        state[f"{module}.bias"] = _read(checkpoint, f"{scope}/biases", (outputs,))
    generator.load_state_dict(state)
    facts = {"source": OFFICIAL_SOURCE, "licence": OFFICIAL_LICENCE}
    save_generator(destination, generator, facts)
    return len(state), sum(tensor.numel() for tensor in state.values())


def _read(checkpoint: bytes, name: str, shape: Sequence[int]) -> Tensor:
    """A float32 tensor of the published file.

    The file is a table of protocol buffers: a list of names and shapes, then for each tensor its
    name (field 1), some facts and its values (field 5), each after its length. That the file is
    the published one is known, so a name's last occurrence is where its values follow.
    """
    count = math.prod(shape)
    at = checkpoint.rindex(b"\x0a" + _varint(len(name)) + name.encode())
    field = b"\x2a" + _varint(4 * count)
    start = checkpoint.index(field, at) + len(field)
    values = np.frombuffer(checkpoint, "<f4", count, start).astype(np.float32)
    return torch.from_numpy(values.reshape(shape))


def _varint(value: int) -> bytes:
    """A length as protocol buffers write it: seven bits per byte, the lowest first."""
    written = b""
    while value >= 0x80:
        written += bytes([value & 0x7F | 0x80])
        value >>= 7
    return written + bytes([value])
