"""Where VGG-19's weights come from, and how each file wants its input scaled."""

import socket
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from counterpoise.errors import UserError
from counterpoise.models.features import INPUT_SCALINGS, VGG19, InputScaling
from counterpoise.models.weights import read_safetensors
from counterpoise.plain_files import why_no_file

FILE_NAME = "vgg19-dcbb9e9d.pth"
PUBLISHED_URL = f"https://download.pytorch.org/models/{FILE_NAME}"

DOWNLOAD_TIMEOUT_SECONDS = 15.0


class VGGNotFoundError(UserError):
    """No VGG-19 file was given, cached or to be downloaded."""


def load_vgg19(
    weights: Path | None, input_scaling: InputScaling | None, layers: Sequence[str]
) -> VGG19:
    """VGG-19 from the given file; else from torch.hub's cache; else downloaded from torchvision.

    The file may end after any layer, as long as it has those asked for. `input_scaling` None means
    as the file's metadata (`input_scaling`) says, or as torchvision's name for it does; it is
    never guessed. Raises `VGGNotFoundError` where there is no file to be had, `UserError` for an
    unusable one.
    """
    path = weights if weights is not None else _cached_or_downloaded()
    if not path.is_file():
        raise UserError(f"features.weights {path}: {why_no_file(path)}; give a VGG-19 file")
    tensors, metadata = read_safetensors(path) if path.suffix == ".safetensors" else _read(path)
    recorded = "torchvision" if path.name == FILE_NAME else metadata.get("input_scaling")
    scaling = input_scaling or next((s for s in INPUT_SCALINGS if s == recorded), None)
    if scaling is None:
        raise UserError(
            f"features.weights {path}: nothing says how it wants its input; set "
            "features.input_scaling to torchvision (mean and standard deviation) or caffe (255 x "
            "minus means)"
        )
    vgg = VGG19(tensors, scaling, f"VGG-19 of {path.name}")
    vgg.check_layers(layers)
    return vgg


def _cached_or_downloaded() -> Path:
    path = Path(torch.hub.get_dir()) / "checkpoints" / FILE_NAME
    if path.is_file():
        return path
    # torch.hub sets no timeout: without a network, some machines would wait for minutes.
    timeout_seconds = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_SECONDS)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Its checksum is verified before it gets its name.
        torch.hub.download_url_to_file(PUBLISHED_URL, str(path), hash_prefix="dcbb9e9d")
    except (OSError, HTTPException, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise VGGNotFoundError(
            f"no VGG-19 at {path} and its download failed: {reason}; fetch {PUBLISHED_URL} into "
            "that folder, give features.weights=FILE, or use features.extractor=embedded"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout_seconds)
    return path


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a state dict saved by torch."""
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
        return {k: v.float() for k, v in state.items() if k.startswith("features.")}, {}
    # On a file that is something else, torch's restricted unpickler raises whatever it runs into.
    except Exception as error:
        detail = " ".join(str(error).split())[:120]
        raise UserError(
            f"features.weights {path}: cannot be read as weights ({detail}); give a .safetensors "
            "file or a state dict saved by torch"
        ) from error
