"""Turns the authors' published ENet-PAT weights into our format, every tensor mapped by number."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

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
# Of its tensors' names and values, whatever file they are in.
# pragma: allowlist nextline secret
PUBLISHED_SHA256 = "399f64c832619e61b2333081fc22e01b2cc508190bc03e1ec440494c3a6be9c7"

# The official network adds its residual to TensorFlow 1's bicubic and was trained on PIL's Lanczos.
OFFICIAL_CONFIG = GeneratorConfig(
    scale=4, width=64, blocks=10, bicubic="tf1-legacy", degradation="lanczos"
)


def import_official(source: Path, destination: Path) -> tuple[int, int]:
    """Convert the authors' file (a TensorFlow V1 checkpoint, or its tensors as safetensors).

    How many tensors and parameters it has.

    Raises `UserError` where not every value of every tensor is the published one, and where the
    destination is there already; then nothing is written.
    """
    if not source.is_file():
        raise UserError(f"{source}: {why_no_file(source)}; give the authors' file `weights`")
    if destination.suffix != ".safetensors":
        raise UserError(f"{destination}: give it a name that ends in .safetensors")
    if destination.exists():
        raise UserError(f"{destination}: exists already; choose another name")
    if source.suffix == ".safetensors" and not is_tensorflow_checkpoint(source):
        tensors = {k: v.float().numpy() for k, v in read_safetensors(source)[0].items()}
    else:
        tensors = read_v1_checkpoint(source)
    if checksum(tensors) != PUBLISHED_SHA256:
        raise UserError(
            f"{source}: not the published ENet-PAT, or damaged; fetch the file `weights` anew from "
            "github.com/msmsajjadi/EnhanceNet-Code"
        )
    state = {}
    for name, target in _name_map(OFFICIAL_CONFIG).items():
        tensor = torch.from_numpy(tensors[name])
        # HWIO to OIHW
        state[target] = tensor.permute(3, 2, 0, 1) if tensor.ndim == 4 else tensor
    generator = build_generator(OFFICIAL_CONFIG)
    generator.load_state_dict(state)
    facts = {"source": OFFICIAL_SOURCE, "licence": OFFICIAL_LICENCE}
    save_generator(destination, generator, facts)
    return len(state), sum(tensor.numel() for tensor in state.values())


def checksum(tensors: Mapping[str, np.ndarray]) -> str:
    """The SHA-256 of tensors' names and values, in the order of names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].tobytes())
    return digest.hexdigest()


def _name_map(config: GeneratorConfig) -> dict[str, str]:
    """The official names, numbered in the order of creation, to ours."""
    modules = ["head"]
    for block in range(config.blocks):
        modules += [f"blocks.{block}.first", f"blocks.{block}.second"]
    doublings = config.scale.bit_length() - 1
    modules += [f"upsampling.{n}" for n in range(doublings)] + ["refine", "tail"]
    names = {}
    for number, module in enumerate(modules):
        scope = f"generator/Conv_{number}" if number else "generator/Conv"
        names[f"{scope}/weights"] = f"{module}.weight"
        names[f"{scope}/biases"] = f"{module}.bias"
    return names
