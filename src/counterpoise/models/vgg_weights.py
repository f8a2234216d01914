"""Where VGG-19's weights come from, and how each file wants its input scaled."""

import hashlib
import socket
import warnings
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from counterpoise.errors import UserError
from counterpoise.models.features import VGG19, InputScaling, vgg19_layers
from counterpoise.plain_files import why_no_file

FILE_NAME = "vgg19-dcbb9e9d.pth"
PUBLISHED_URL = f"https://download.pytorch.org/models/{FILE_NAME}"

DOWNLOAD_TIMEOUT_SECONDS = 15.0

# Files whose input scaling is known. Torchvision's name carries the beginning of its checksum.
KNOWN_SCALINGS: dict[str, InputScaling] = {
    "dcbb9e9d": "torchvision",
    # ViktorSvensson/vgg19-tfjs, up to conv3_4, float16
    # pragma: allowlist nextline secret
    "716ada8ed0144382f8413b5dc1a19f849b20d478a735ef54b4d06e96e4d8db3f": "caffe",
    # pietrocarbo/deep-transfer, up to conv3_1
    # pragma: allowlist nextline secret
    "ec9e0871e9f201932a7ba40c24de7e2a0b489695ef9861bb4d21f15db09a573f": "caffe",
}
# Files whose filters have been rescaled (Gatys et al. 2015) so that mean activations are about one.
# pragma: allowlist nextline secret
MEAN_ONE = frozenset({"ec9e0871e9f201932a7ba40c24de7e2a0b489695ef9861bb4d21f15db09a573f"})


class VGGNotFoundError(UserError):
    """No VGG-19 file was given, cached or to be downloaded."""


def load_vgg19(
    weights: Path | None, input_scaling: InputScaling | None, layers: Sequence[str]
) -> VGG19:
    """VGG-19 from the given file; else from torch.hub's cache; else downloaded from torchvision.

    The file may end after any layer, as long as it has those asked for. `input_scaling` None means
    as the file's metadata (`input_scaling`) says, or as known by its checksum; it is never guessed.
    Raises `VGGNotFoundError` where there is no file to be had, `UserError` for an unusable one.
    """
    path = weights if weights is not None else _cached_or_downloaded()
    if not path.is_file():
        raise UserError(f"features.weights {path}: {why_no_file(path)}; give a VGG-19 file")
    tensors, metadata = _read(path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    scaling = input_scaling or _recorded_scaling(path, metadata, digest)
    deepest = _deepest_layer(tensors)
    description = f"VGG-19 of {path.name}, up to {deepest}, {scaling} input"
    if digest in MEAN_ONE:
        description += ", filters rescaled to mean one"
    vgg = VGG19(tensors, scaling, description)
    for name, weight in vgg.named_parameters():
        if not bool(weight.isfinite().all()):
            raise UserError(
                f"features.weights {path}: {name} has a value that is not finite; fetch it anew"
            )
    missing = [layer for layer in layers if layer not in vgg.available_layers]
    if missing:
        raise UserError(
            f"features.weights {path}: it ends at {deepest}, so it has no {', '.join(missing)}; "
            "use a fuller file, or other layers (preset enet-pa-pool3 needs none beyond pool3)"
        )
    return vgg


def _cached_or_downloaded() -> Path:
    path = Path(torch.hub.get_dir()) / "checkpoints" / FILE_NAME
    if path.is_file():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        download(path)
    except (OSError, HTTPException, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise VGGNotFoundError(
            f"no VGG-19 at {path} and its download failed: {reason}; fetch {PUBLISHED_URL} into "
            "that folder, give features.weights=FILE, or use features.extractor=embedded"
        ) from error
    return path


def download(path: Path) -> None:
    """Fetch torchvision's published file; its checksum is verified before it gets its name."""
    # torch.hub sets no timeout: without a network, some machines would wait for minutes.
    timeout_seconds = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_SECONDS)
    try:
        torch.hub.download_url_to_file(PUBLISHED_URL, str(path), hash_prefix="dcbb9e9d")
    finally:
        socket.setdefaulttimeout(timeout_seconds)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and metadata of a safetensors file or of a state dict saved by torch."""
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                return {k: file.get_tensor(k) for k in file.keys()}, file.metadata() or {}  # noqa: SIM118
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about other programs' files, which are refused below
            state = torch.load(path, map_location="cpu", weights_only=True)
    # On a file that is something else, torch's restricted unpickler raises whatever it runs into.
    except Exception as error:
        detail = " ".join(str(error).split())[:120]
        raise UserError(
            f"features.weights {path}: cannot be read as weights ({detail}); give a .safetensors "
            "file or a state dict saved by torch"
        ) from error
    if not isinstance(state, dict):
        raise UserError(f"features.weights {path}: holds no state dict; give VGG-19's")
    tensors = {k: v for k, v in state.items() if isinstance(k, str) and isinstance(v, Tensor)}
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            raise UserError(
                f"features.weights {path}: {name} is sparse, quantised or without values; save it "
                "as a plain tensor of floats"
            )
    return tensors, {}


def _recorded_scaling(path: Path, metadata: dict[str, str], digest: str) -> InputScaling:
    recorded = metadata.get("input_scaling")
    if recorded == "caffe":
        return "caffe"
    if recorded == "torchvision":
        return "torchvision"
    for known, scaling in KNOWN_SCALINGS.items():
        if digest.startswith(known):
            return scaling
    raise UserError(
        f"features.weights {path}: nothing says how it wants its input; set features.input_scaling "
        "to torchvision (mean and standard deviation) or caffe (255 x minus means)"
    )


def _deepest_layer(tensors: dict[str, Tensor]) -> str:
    deepest = "nothing"
    for name, index in vgg19_layers():
        keys = {f"features.{index}.weight", f"features.{index}.bias"}
        if name.startswith("conv") and not keys <= tensors.keys():
            break
        deepest = name
    return deepest
