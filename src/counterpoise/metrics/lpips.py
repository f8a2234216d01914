"""LPIPS, where AlexNet's weights are at hand; nothing is downloaded."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from counterpoise.errors import UserError

# torchvision's file of AlexNet's weights, where torch.hub keeps what was once downloaded.
ALEXNET_FILE = "alexnet-owt-7be5be79.pth"
ALEXNET_URL = f"https://download.pytorch.org/models/{ALEXNET_FILE}"
# The heads come with torchmetrics.
HEADS_FILE = Path("functional", "image", "lpips_models", "alex.pth")
# ImageNet's channel means and deviations, for values in [-1, 1] (the authors' ScalingLayer).
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
# Layers of AlexNet's convolutional part after which features are compared.
TAPS = (1, 4, 7, 9, 11)


def alexnet_features() -> nn.Sequential:
    """AlexNet's convolutional part (Krizhevsky 2014) with torchvision's names, up to its last
    ReLU."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(),
    )


class Lpips(nn.Module):
    """Perceptual distance of images, version 0.1 with AlexNet; lower is more alike.

    `features` has AlexNet's weights, `heads` those of the five linear layers, each (1, C, 1, 1).
    Source: Zhang et al. 2018 (1801.03924); numbers of the authors' code.
    """

    _shift: Tensor
    _scale: Tensor

    def __init__(self, features: nn.Sequential, heads: list[Tensor]) -> None:
        super().__init__()
        self._features, self._heads = features, heads
        for name, values in (("_shift", SHIFT), ("_scale", SCALE)):
            self.register_buffer(name, torch.tensor(values).reshape(1, 3, 1, 1))
        self.eval().requires_grad_(False)

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """Two batches (N, 3, H, W) in [0, 1], sides of at least 31 pixels, to distances (N,)."""
        total = torch.zeros(len(fake), device=fake.device)
        pairs = torch.cat([fake, real])
        values = (2 * pairs - 1 - self._shift) / self._scale
        heads = iter(self._heads)
        for index, layer in enumerate(self._features):
            values = layer(values)
            if index in TAPS:
                norm = values.square().sum(1, keepdim=True).add(1e-8).sqrt()
                one, other = (values / norm).chunk(2)
                weighed = (one - other).square() * next(heads).to(values.device)
                total = total + weighed.sum(1).mean((1, 2))
        return total


def why_no_lpips() -> str:
    """What is missing for `lpips_at_hand`, and what to do; empty where nothing is."""
    if not _alexnet_path().is_file():
        return (
            f"LPIPS needs torchvision's AlexNet weights: put {ALEXNET_URL} (233 MiB) "
            f"at {_alexnet_path()}"
        )
    return ""


@cache
def lpips_at_hand() -> Lpips | None:
    """LPIPS where torch.hub's folder has AlexNet's weights, or None (`why_no_lpips` says why).

    Raises `UserError` for a file that is not AlexNet's weights.
    """
    if why_no_lpips():
        return None
    features = alexnet_features()
    path = _alexnet_path()
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
        features.load_state_dict(
            {
                name.removeprefix("features."): value
                for name, value in weights.items()
                if name.startswith("features.")
            }
        )
    except Exception as error:
        raise UserError(
            f"{path} does not hold AlexNet's weights; remove it ({type(error).__name__})"
        ) from error
    return Lpips(features, heads())


def heads() -> list[Tensor]:
    """The five linear layers, (1, C, 1, 1) each, from torchmetrics."""
    found = find_spec("torchmetrics")
    assert found is not None, "a dependency"
    assert found.origin is not None
    path = Path(found.origin).parent / HEADS_FILE
    weights = torch.load(path, map_location="cpu", weights_only=True)
    return [weights[f"lin{index}.model.1.weight"] for index in range(len(TAPS))]


def _alexnet_path() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / ALEXNET_FILE
