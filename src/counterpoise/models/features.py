"""Frozen networks whose activations the perceptual and texture losses compare."""

import socket
from collections import defaultdict
from collections.abc import Iterable, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoise.errors import UserError, refusing
from counterpoise.models.weights import read_published, read_safetensors

InputScaling = Literal["caffe", "torchvision"]
# What RGB in [0, 1] is multiplied by, what is then subtracted, and what divided by.
Scaling = tuple[float, tuple[float, ...], tuple[float, ...]]
INPUT_SCALINGS: dict[InputScaling, Scaling] = {
    "caffe": (255.0, (123.68, 116.779, 103.939), (1.0, 1.0, 1.0)),
    "torchvision": (1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}

# Convolutions per block; a 2x2 max pooling ends each block (Simonyan and Zisserman 2015, table 1).
VGG19_BLOCKS = (2, 2, 4, 4, 4)
VGG19_WIDTHS = (64, 128, 256, 512, 512)
# Its layers, at the same places as in torchvision's `features`.
VGG19_LAYERS: list[str] = []
for _block, _convolutions in enumerate(VGG19_BLOCKS, start=1):
    for _number in range(1, _convolutions + 1):
        VGG19_LAYERS += [f"conv{_block}_{_number}", f"relu{_block}_{_number}"]
    VGG19_LAYERS.append(f"pool{_block}")

VGG19_FILE = "vgg19-dcbb9e9d.pth"
VGG19_URL = f"https://download.pytorch.org/models/{VGG19_FILE}"
DOWNLOAD_TIMEOUT_SECONDS = 15.0

# The embedded filter bank. Its input lies around mid-grey, so that a local mean is as often below
# zero as above.
EMBEDDED_BANK = Path(__file__).parents[1] / "weights" / "embedded.safetensors"
EMBEDDED_SCALING: Scaling = (1.0, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0))
EMBEDDED = "embedded filter bank (not VGG, no download)"

# Guards the division by a mean activation; a channel that is never active stays zero.
MEAN_EPSILON = 1e-6


class FeatureExtractor(nn.Module):
    """A frozen network with named layers. Gradients flow to the images, never to its weights.

    `features` has a module for each of the layers, in the order of computation. Once it is
    calibrated, activations have mean one: every channel is divided by its mean activation over
    given images; the layer before a ReLU by the mean after it, as if the filters had been rescaled
    (Gatys et al. 2015). Source: EnhanceNet, section 5.3.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, description: str, layers: Sequence[str], features: nn.Sequential, scaling: Scaling
    ) -> None:
        super().__init__()
        self.description, self.available_layers = description, tuple(layers)
        self.features = features
        self._scale, mean, deviation = scaling
        self.register_buffer("mean", torch.tensor(mean).reshape(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).reshape(1, 3, 1, 1))
        self._means: dict[str, Tensor] = {}
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Activations of the named layers for RGB images (N, 3, H, W) in [0, 1]."""
        x, found = (images * self._scale - self.mean) / self.deviation, dict[str, Tensor]()
        for name, layer in zip(self.available_layers, self.features, strict=True):
            if found.keys() >= set(layers):
                break
            if name.startswith("pool") and min(x.shape[-2:]) < 2:
                least_px = 2 ** int(name.removeprefix("pool"))
                raise UserError(
                    f"features: {name} needs images of {least_px} pixels or more; use larger crops "
                    "(data.crop_px), larger patches (loss.texture.patch_px), or an earlier layer"
                )
            x = layer(x)
            if name in layers:
                found[name] = x / self._means[name] if self._means else x
        return found

    def check_layers(self, layers: Sequence[str]) -> None:
        """Raise `UserError` for a layer that is not there."""
        if missing := ", ".join(name for name in layers if name not in self.available_layers):
            known = ", ".join(self.available_layers)
            raise UserError(f"features: {self.description} has no layer {missing}; it has {known}")

    def calibrate(self, batches: Iterable[Tensor], layers: Sequence[str]) -> None:
        """Measure the mean activations of the layers that will be asked for, on batches of images
        (N, 3, H, W) in [0, 1]."""
        sums: defaultdict[str, Tensor | float] = defaultdict(float)
        count = 0
        with torch.no_grad():
            for images in batches:
                for layer, features in self(images, layers).items():
                    sums[layer] += F.relu(features).mean((0, 2, 3), keepdim=True) * len(images)
                count += len(images)
        for layer, total in sums.items():
            mean = torch.as_tensor(total) / count
            # A channel that was never active is left as it is, not blown up.
            self._means[layer] = torch.where(mean > MEAN_EPSILON, mean, torch.ones_like(mean))


def vgg19(weights: dict[str, Tensor], input_scaling: InputScaling, name: str) -> FeatureExtractor:
    """VGG-19's convolutional part with torchvision's key names, as deep as its weights go.

    `weights` maps `features.N.weight` and `features.N.bias` to tensors; other keys are ignored.
    `input_scaling` is what the weights were trained on: `caffe` (255 x minus the means of ImageNet)
    or `torchvision` (x minus mean, divided by the standard deviation). `name` says in messages
    whose weights they are; `UserError` where they are not VGG-19's.
    Source: Simonyan and Zisserman 2015.
    """
    features, channels = nn.Sequential(), 3
    for index, layer in enumerate(VGG19_LAYERS):
        if layer.startswith("conv"):
            if not weights.keys() >= {f"features.{index}.weight", f"features.{index}.bias"}:
                break
            outputs = VGG19_WIDTHS[int(layer[4]) - 1]
            with torch.device("meta"):  # Weights are assigned: it draws no random numbers.
                features.append(nn.Conv2d(channels, outputs, 3, padding=1))
            channels = outputs
        else:
            features.append(nn.ReLU() if layer.startswith("relu") else nn.MaxPool2d(2))
    if not features:
        raise UserError(f"{name}: has no features.0.weight, so it is no VGG-19")
    own = {key: weights[f"features.{key}"].float() for key in features.state_dict()}
    with refusing(f"{name}: is not VGG-19's", RuntimeError):
        features.load_state_dict(own, assign=True)
    layers = VGG19_LAYERS[: len(features)]
    description = f"{name}, up to {layers[-1]}, {input_scaling} input"
    return FeatureExtractor(description, layers, features, INPUT_SCALINGS[input_scaling])


class VGGNotFoundError(UserError):
    """No VGG-19 file was given, cached or to be downloaded."""


def load_vgg19(
    weights: Path | None,
    input_scaling: InputScaling | None,
    layers: Sequence[str],
    *,
    downloads: bool = True,
) -> FeatureExtractor:
    """VGG-19 from the given file; else from torch.hub's cache; else, where `downloads`, downloaded
    from torchvision.

    The file may end after any layer, as long as it has those asked for. `input_scaling` None means
    as the file's metadata (`input_scaling`) says, or as torchvision's name for it does; it is
    never guessed. Raises `VGGNotFoundError` where there is no file to be had, `UserError` for an
    unusable one.
    """
    path = weights or _cached_or_downloaded(downloads=downloads)
    with refusing("features.weights", UserError):
        tensors, metadata = read_published(path)
    recorded = "torchvision" if path.name == VGG19_FILE else metadata.get("input_scaling")
    scaling = input_scaling or next((s for s in INPUT_SCALINGS if s == recorded), None)
    if scaling is None:
        why = "nothing says how it wants its input; set features.input_scaling"
        raise UserError(f"features.weights {path}: {why} to torchvision or caffe (255 x - mean)")
    vgg = vgg19(tensors, scaling, f"VGG-19 of {path.name}")
    vgg.check_layers(layers)
    return vgg


def _cached_or_downloaded(*, downloads: bool) -> Path:
    path = Path(torch.hub.get_dir()) / "checkpoints" / VGG19_FILE
    if path.is_file():
        return path
    if not downloads:
        raise VGGNotFoundError(f"a training would download its 548 MB from {VGG19_URL} to {path}")
    # torch.hub sets no timeout: without a network, some machines would wait for minutes.
    timeout_seconds = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_SECONDS)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Its checksum is verified before it gets its name.
        torch.hub.download_url_to_file(VGG19_URL, str(path), hash_prefix="dcbb9e9d")
    except (OSError, HTTPException, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise VGGNotFoundError(
            f"no VGG-19 at {path} and its download failed: {reason}; fetch {VGG19_URL} into "
            "that folder, give features.weights=FILE, or use features.extractor=embedded"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout_seconds)
    return path


def embedded_extractor() -> FeatureExtractor:
    """A fixed filter bank that needs no download: it stands in for VGG, and is not VGG.

    The first layer is designed: local means, derivatives of Gaussians in four orientations and two
    sizes, and centre-surround filters, on luma and on two colour-difference channels. The deeper
    layers are fixed-seed orthogonal convolutions, in which the local means live on. Layers carry
    VGG's names and strides (up to pool5) with fewer channels, so every preset runs with it. The
    weights are the same on every machine: `benchmarks/embedded_bank.py` made their file.
    """
    features, layers = nn.Sequential(), []
    # One convolution, ReLU and pooling per block, with VGG's names.
    for block, (_, weight) in enumerate(sorted(read_safetensors(EMBEDDED_BANK)[0].items()), 1):
        features.extend([_BothSigns(weight), nn.ReLU(), nn.AvgPool2d(2)])
        layers += [f"conv{block}_1", f"relu{block}_1", f"pool{block}"]
    return FeatureExtractor(EMBEDDED, layers, features, EMBEDDED_SCALING)


class _BothSigns(nn.Module):
    """The responses to filters (C, inputs, k, k) and to their negatives, (N, 2 C, h, w)."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight, self._reach_px = nn.Parameter(weight), weight.shape[-1] // 2

    def forward(self, x: Tensor) -> Tensor:
        response = F.conv2d(F.pad(x, (self._reach_px,) * 4, mode="replicate"), self.weight)
        return torch.cat([response, -response], dim=1)
