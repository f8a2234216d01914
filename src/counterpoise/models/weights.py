"""Weight files of generators: safetensors, with the properties that the weights need to be used.

The metadata holds `format`, `format_version`, `config` (the `GeneratorConfig` as JSON: scale,
bicubic, degradation, input mean...) and free text such as `source`, `licence` and `trained`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from counterpoise.config import GeneratorConfig
from counterpoise.errors import UserError, refusing
from counterpoise.models.generator import Generator, build_generator
from counterpoise.plain_files import atomic_write, why_no_file
from counterpoise.run_folder import RunFolder

# The network that comes with the package, in float16.
SHIPPED = Path(__file__).parents[1] / "weights" / "enet-x4.safetensors"
FORMAT, CHECKPOINT_FORMAT = "counterpoise-generator", "counterpoise-checkpoint"
FORMAT_VERSION = "1"
IMPORTS = "the authors' ENet-PAT becomes one by `counterpoise import-weights`"
# What published files have their weights under; the first that is there is meant.
WRAPPINGS = ("params_ema", "params", "state_dict", "model_state_dict", "generator", "model")


@dataclass(frozen=True)
class LoadedGenerator:
    """A generator in evaluation mode, and its file's metadata."""

    generator: Generator
    metadata: dict[str, str]


def save_generator(path: Path, generator: Generator, metadata: Mapping[str, str]) -> None:
    """Write a generator's weights; whole or not at all."""
    facts = {
        **metadata,
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "config": generator.config.model_dump_json(),
    }
    write_safetensors(path, generator.state_dict(), facts)


def write_safetensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write tensors of any device and memory format; whole or not at all."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_write(path) as temporary:
        try:
            save_file(plain, temporary, dict(metadata))
        except SafetensorError as error:
            raise OSError(str(error)) from error


def load_generator(path: Path) -> LoadedGenerator:
    """Read the weights of a file, of a checkpoint (G's average), or of the newest checkpoint of a
    run's folder.

    Raises `UserError` for any other file or folder.
    """
    if path.is_dir():
        run = RunFolder.open(path)
        if not run.generator.is_file():
            raise UserError(f"{path}: no {run.generator.name} yet; it comes with a checkpoint")
        path = run.generator
    tensors, metadata = read_safetensors(path)
    if metadata.get("format") == CHECKPOINT_FORMAT:
        tensors, metadata = _average(path, tensors, metadata)
    if (metadata.get("format"), metadata.get("format_version")) != (FORMAT, FORMAT_VERSION):
        raise UserError(f"{path}: the weights of another network, or of a newer format")
    with refusing(f"{path}: its weights do not fit its own description", Exception):
        config = GeneratorConfig.model_validate_json(metadata["config"])
        for name, tensor in tensors.items():
            if not tensor.is_floating_point() or not bool(tensor.float().isfinite().all()):
                raise ValueError(f"tensor {name!r} has a value that is not finite, or no float")
        generator = build_generator(config, tensors)
        generator.load_state_dict(tensors)
    return LoadedGenerator(generator.eval().requires_grad_(False), metadata)


def is_ours(path: Path) -> bool:
    """Whether a safetensors file is one that `load_generator` reads."""
    return read_safetensors(path)[1].get("format") in (FORMAT, CHECKPOINT_FORMAT)


def _average(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """What `save_generator` would have written of a checkpoint's averaged generator."""
    part = "g_average/"
    with refusing(f"{path}: a checkpoint of an earlier version, or damaged", KeyError, ValueError):
        values = json.loads(metadata["values"])
        facts = {"format": FORMAT, "format_version": FORMAT_VERSION}
        config = values["config"]
        paired = {"degradation": "paired"} if config["data"]["lr_folders"] else {}
        facts["config"] = json.dumps(config["generator"] | paired)
        facts["trained"] = f"step {values['step']}, average"
        if values.get("licence"):
            facts["licence"] = str(values["licence"])
    average = {k.removeprefix(part): own for k, own in tensors.items() if k.startswith(part)}
    return average, facts


def read_safetensors(
    path: Path, instead: str = IMPORTS
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and metadata of a safetensors file; `UserError` where it is not one, with what to
    do `instead`."""
    if not path.is_file():
        raise UserError(f"{path}: {why_no_file(path)}; give a file of weights")
    # Kinds of numbers that torch lacks come as AttributeError, KeyError...: by its version.
    with (
        refusing(f"{path}: not a safetensors file, or damaged", instead=instead),
        safe_open(path, framework="pt") as file,
    ):
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, file.metadata() or {}


def read_published(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a published file (.safetensors, or a state dict that torch saved) by the
    network's own names, and its metadata; no code in it is run.

    Averaged weights (`params_ema`) go before others. Raises `UserError` for any other file.
    """
    if path.suffix == ".safetensors" or not path.is_file():
        return read_safetensors(path)
    try:
        named = torch.load(path, map_location="cpu", weights_only=True)
        named = next((named[name] for name in WRAPPINGS if name in named), named)
        tensors = {str(k): own for k, own in named.items() if torch.is_tensor(own)}
        return {name.removeprefix("module."): own for name, own in tensors.items()}, {}
    except Exception as error:  # of many kinds, as what is damaged
        raise UserError(
            f"{path}: no state dict, damaged, or with what needs code to be run; save "
            f"`network.state_dict()` anew ({type(error).__name__})"
        ) from error
