"""Weights of metrics that others have published: torchvision's, where torch.hub keeps what was once
downloaded, and what comes with torchmetrics. Nothing is downloaded."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from counterpoise.errors import UserError


def hub_path(file: str) -> Path:
    """Where torch.hub keeps a file that it has downloaded."""
    return Path(torch.hub.get_dir()) / "checkpoints" / file


@dataclass(frozen=True)
class PublishedFeatures:
    """The convolutional part of a network of torchvision, which a metric needs."""

    metric: str
    network: str
    file: str
    mib: int

    @property
    def path(self) -> Path:
        """Where the file belongs."""
        return hub_path(self.file)

    def why_missing(self) -> str:
        """What to fetch and where to put it; empty where it is there."""
        if self.path.is_file():
            return ""
        return (
            f"{self.metric} needs torchvision's {self.network} weights: put "
            f"https://download.pytorch.org/models/{self.file} ({self.mib} MiB) at {self.path}"
        )

    def load_into(self, features: nn.Module) -> None:
        """Load the weights of torchvision's `features`; `UserError` where the file holds others."""
        try:
            weights = torch.load(self.path, map_location="cpu", weights_only=True)
            features.load_state_dict(
                {
                    name.removeprefix("features."): value
                    for name, value in weights.items()
                    if name.startswith("features.")
                }
            )
        except Exception as error:
            raise UserError(
                f"{self.path} does not hold {self.network}'s weights; remove it "
                f"({type(error).__name__})"
            ) from error


def of_torchmetrics(file: str) -> Any:
    """What a file of weights inside torchmetrics' package holds."""
    found = find_spec("torchmetrics")
    assert found is not None, "a dependency"
    assert found.origin is not None
    path = Path(found.origin).parent / "functional" / "image" / file
    return torch.load(path, map_location="cpu", weights_only=True)
