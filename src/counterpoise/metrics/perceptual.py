"""LPIPS, where the weights of its network are at hand; nothing is downloaded.

What it learnt comes with torchmetrics. Its own network needs torchvision, which we do without.
"""

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from counterpoise.errors import UserError, refusing

LPIPS_LEAST_PX = 31
ALEXNET_FILE = "alexnet-owt-7be5be79.pth"
# ImageNet's channel means and deviations, for values in [-1, 1].
MEAN, DEVIATION = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


def alexnet() -> nn.Sequential:
    """AlexNet's convolutions (Krizhevsky 2014) with torchvision's names, up to the last ReLU."""
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

    `network` is `alexnet` with its weights, `heads` are the five linear layers, each (1, C, 1, 1).
    Source: Zhang et al. 2018 (1801.03924); numbers of the authors' code.
    """

    def __init__(self, network: nn.Sequential, heads: Sequence[Tensor]) -> None:
        super().__init__()
        self._network, self._heads = network, heads
        self.eval().requires_grad_(False)

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """Two batches (N, 3, H, W) in [0, 1], sides of at least 31 pixels, to distances (N,)."""
        mean, deviation = (fake.new_tensor(x).reshape(1, 3, 1, 1) for x in (MEAN, DEVIATION))
        values = (2 * torch.cat([fake, real]) - 1 - mean) / deviation
        total = torch.zeros(len(fake), device=fake.device)
        heads = iter(self._heads)
        for layer in self._network:
            values = layer(values)
            if not isinstance(layer, nn.ReLU):
                continue
            norm = values.square().sum(1, keepdim=True).add(1e-8).sqrt()
            one, other = (values / norm).chunk(2)
            weighed = (one - other).square() * next(heads).to(values.device)
            total = total + weighed.sum(1).mean((1, 2))
        return total


def hub_path(file: str) -> Path:
    """Where torch.hub keeps a file that it has downloaded."""
    return Path(torch.hub.get_dir()) / "checkpoints" / file


def why_no_lpips() -> str:
    """What to fetch and where to put it; empty where it is there."""
    path = hub_path(ALEXNET_FILE)
    if path.is_file():
        return ""
    return (
        "LPIPS needs torchvision's AlexNet weights: put "
        f"https://download.pytorch.org/models/{ALEXNET_FILE} (233 MiB) at {path}"
    )


@cache
def lpips() -> Lpips:
    """LPIPS with the weights of torch.hub's folder; `UserError` where these are not."""
    if why := why_no_lpips():
        raise UserError(why)
    network, path = alexnet(), hub_path(ALEXNET_FILE)
    with refusing(f"{path} does not hold AlexNet's weights", instead="remove it"):
        weights = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict({f: weights[f"features.{f}"] for f in network.state_dict()})
    found = find_spec("torchmetrics")  # importing it would take seconds
    assert found is not None
    assert found.origin is not None, "a dependency"
    learnt = Path(found.origin).parent / "functional" / "image" / "lpips_models" / "alex.pth"
    weights = torch.load(learnt, map_location="cpu", weights_only=True)
    return Lpips(network, [weights[f"lin{index}.model.1.weight"] for index in range(5)])
