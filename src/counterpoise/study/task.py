"""What a task of the gauntlet gives: data, networks, a content loss, and what samples are worth."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from counterpoise.study.setting import Setting

Batch = tuple[Tensor, Tensor]
# A small training set is the same one for every training.
TRAINING_SET_SEED = 20


class Task(Protocol):
    """A small adversarial game. All tensors are on the CPU and float32."""

    description: str
    setting: Setting  # what a training begins from
    score_name: str
    higher_is_better: bool

    def networks(self, setting: Setting, seed: int) -> tuple[nn.Module, nn.Module]:
        """G, which turns a source into a sample, and D, which gives a logit for a sample."""
        ...

    def batches(self, setting: Setting, seed: int) -> Iterator[Batch]:
        """Sources and real samples without end, the same for the same seed."""
        ...

    def content_loss(self, fake: Tensor, real: Tensor) -> Tensor | None:
        """What holds a fake to the real sample that it is made from; None where there is none."""
        ...

    def measure(self, generator: nn.Module) -> dict[str, float]:
        """What unseen samples of G are worth, with `coverage` in [0, 1] and the score."""
        ...


def drawn(pool: Batch, size: int, seed: int) -> Iterator[Batch]:
    """Batches drawn from a pool of sources and samples, with replacement."""
    draw = torch.Generator().manual_seed(seed)
    while True:
        rows = torch.randint(len(pool[1]), (size,), generator=draw)
        yield pool[0][rows], pool[1][rows]


def perceptron(sizes: list[int], slope: float, norm: str = "none") -> nn.Sequential:
    """A fully connected network with leaky ReLUs and the named norm in its hidden layers."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes[:-1]):
        linear = nn.Linear(inputs, outputs)
        layers.append(spectral_norm(linear) if norm == "spectral" else linear)
        if norm == "layer":
            layers.append(nn.LayerNorm(outputs))
        elif norm == "batch":
            layers.append(nn.BatchNorm1d(outputs))
        layers.append(nn.LeakyReLU(slope))
    last = nn.Linear(sizes[-2], sizes[-1])
    layers.append(spectral_norm(last) if norm == "spectral" else last)
    return nn.Sequential(*layers)
