"""Turns the authors' published ENet-PAT weights into our format, every tensor mapped by number."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from counterpoise.config import GeneratorConfig
from counterpoise.errors import UserError
from counterpoise.models.generator import build_generator
from counterpoise.models.tensorflow_checkpoint import is_tensorflow_checkpoint, read_v1_checkpoint
from counterpoise.models.weights import read_safetensors, save_generator
from counterpoise.plain_files import why_no_file

OFFICIAL_LICENCE = (
    "CC BY-NC-ND 4.0 (Sajjadi, Schoelkopf, Hirsch): no commercial use, and no sharing of changed "
    "weights, a fine-tuned copy included"
)
OFFICIAL_SOURCE = "ENet-PAT, github.com/msmsajjadi/EnhanceNet-Code"
UNKNOWN_SOURCE = "shaped as ENet-PAT but not the published file (other checksum)"
PUBLISHED_SHA256 = frozenset(
    {
        # The authors' file `weights`, and the same tensors as safetensors.
        # pragma: allowlist nextline secret
        "4250b3dc5e69c5bd625e90543fd588ce2fff88510f874f9e9394c48c44b96434",
        # pragma: allowlist nextline secret
        "d5d42fdd67a85392f79de2ccb8e550eec58a6e9fada4a86897a5d1cde0a97869",
    }
)

# The official network adds its residual to TensorFlow 1's bicubic and was trained on PIL's Lanczos.
OFFICIAL_CONFIG = GeneratorConfig(
    scale=4, width=64, blocks=10, bicubic="tf1-legacy", degradation="lanczos"
)


@dataclass(frozen=True)
class ImportSummary:
    """What was imported."""

    tensor_count: int
    parameter_count: int
    source: str
    licence: str


def import_official(source: Path, destination: Path) -> ImportSummary:
    """Convert the authors' file (a TensorFlow V1 checkpoint, or its tensors as safetensors).

    Every tensor must find its place and every place its tensor; else `UserError`, and nothing is
    written.
    """
    if not source.is_file():
        raise UserError(f"{source}: {why_no_file(source)}; give the authors' file `weights`")
    if destination.suffix != ".safetensors":
        raise UserError(f"{destination}: give it a name that ends in .safetensors")
    if destination.exists():
        raise UserError(f"{destination}: exists already; choose another name")
    tensors = _read(source)
    generator = build_generator(OFFICIAL_CONFIG)
    shapes = {name: tensor.shape for name, tensor in generator.state_dict().items()}
    names = _name_map(OFFICIAL_CONFIG.blocks, OFFICIAL_CONFIG.scale.bit_length() - 1)
    missing, left_over = sorted(set(names) - set(tensors)), sorted(set(tensors) - set(names))
    if missing or left_over:
        raise UserError(
            f"{source}: not the official ENet-PAT: {len(missing)} tensors missing "
            f"{missing[:2]}, {len(left_over)} left over {left_over[:2]}"
        )
    state = {}
    for name, target in names.items():
        tensor = tensors[name]
        if tensor.ndim == 4:
            tensor = tensor.permute(3, 2, 0, 1)  # HWIO to OIHW
        if tensor.shape != shapes[target]:
            shape = tuple(tensors[name].shape)
            raise UserError(f"{source}: tensor {name} has shape {shape}: not ENet-PAT's")
        if not bool(tensor.isfinite().all()):
            raise UserError(f"{source}: tensor {name} has a value that is not finite")
        state[target] = tensor.contiguous()
    generator.load_state_dict(state)
    with source.open("rb") as file:
        published = hashlib.file_digest(file, "sha256").hexdigest() in PUBLISHED_SHA256
    origin = OFFICIAL_SOURCE if published else f"{source.name}, {UNKNOWN_SOURCE}"
    save_generator(destination, generator, {"source": origin, "licence": OFFICIAL_LICENCE})
    count = sum(tensor.numel() for tensor in state.values())
    return ImportSummary(len(names), count, origin, OFFICIAL_LICENCE)


def _read(source: Path) -> dict[str, Tensor]:
    if source.suffix == ".safetensors" and not is_tensorflow_checkpoint(source):
        return read_safetensors(source)[0]
    return {name: torch.from_numpy(array) for name, array in read_v1_checkpoint(source).items()}


def _name_map(blocks: int, doublings: int) -> dict[str, str]:
    """The official names, numbered in the order of creation, to ours."""
    modules = ["head"]
    for block in range(blocks):
        modules += [f"blocks.{block}.first", f"blocks.{block}.second"]
    modules += [f"upsampling.{n}" for n in range(doublings)] + ["refine", "tail"]
    names = {}
    for number, module in enumerate(modules):
        scope = f"generator/Conv_{number}" if number else "generator/Conv"
        names[f"{scope}/weights"] = f"{module}.weight"
        names[f"{scope}/biases"] = f"{module}.bias"
    return names
