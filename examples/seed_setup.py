"""What surrounds the loop in `seed_loop.py`: super-resolution of digits from 4x4 to 8x8 pixels."""

import argparse
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn


@dataclass
class Setup:
    """Everything that the loop finds ready."""

    generator: nn.Module
    discriminator: nn.Module
    optim_g: torch.optim.Optimizer
    optim_d: torch.optim.Optimizer
    batches: Iterator[tuple[Tensor, Tensor]]
    device: torch.device
    balance: dict[str, Any]  # options for Balance


def draw_batches(steps: int, batch_size: int = 16) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs of digits in [0, 1]: (N, 1, 4, 4) and (N, 1, 8, 8)."""
    digits = torch.from_numpy(load_digits().images).float().unsqueeze(1) / 16
    for _ in range(steps):
        target = digits[torch.randint(len(digits), (batch_size,))]
        yield nn.functional.avg_pool2d(target, 2), target


def prepare() -> Setup:
    """Read the command line and make the networks: a D with a sigmoid, as in the question."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--policy", default="auto")
    parser.add_argument("--run-dir")
    options = parser.parse_args()
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    torch.manual_seed(0)
    generator = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 1, 3, padding=1),
    )
    discriminator = nn.Sequential(
        nn.Conv2d(1, 32, 3, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(32, 64, 3, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(256, 1),
        nn.Sigmoid(),
    )
    return Setup(
        generator,
        discriminator,
        torch.optim.Adam(generator.parameters(), 1e-4),
        torch.optim.Adam(discriminator.parameters(), 1e-4),
        draw_batches(options.steps),
        torch.device("cpu"),
        {"policy": options.policy, "run_dir": options.run_dir, "paired": True},
    )
