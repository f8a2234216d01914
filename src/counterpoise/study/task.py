"""What a task of the gauntlet gives, and the setting that its trainings begin from."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from pydantic.dataclasses import dataclass as checked
from torch import Tensor, nn

Batch = tuple[Tensor, Tensor]
TRAINING_SET_SEED = 20  # a small training set is the same one for every training


@checked(frozen=True)
class Setting:
    """Everything that one training depends on beside its task and seed. A task gives the first one,
    the strategy replaces values in it, and the stressor changes what came out."""

    steps: int
    batch_size: int
    g_learning_rate: float = 1e-3
    d_learning_rate: float = 1e-3
    d_width: int = 128
    # none, spectral, layer (every sample by itself, as instance norm does for maps), or batch (real
    # and fake samples apart, unless `d_joint_batch`).
    d_norm: str = "none"
    betas: tuple[float, float] = (0.5, 0.999)
    form: str = "non-saturating"  # a name from `losses.adversarial`, or "lsgan-on-sigmoid"
    d_ends_in_sigmoid: bool = False
    policy: str = "none"
    policy_options: Mapping[str, Any] = field(default_factory=dict)
    # Weights of gamma / 2 * E|grad D|^2 on real (R1) and fake samples (R2), and of WGAN-GP's term.
    r1: float = 0.0
    r2: float = 0.0
    gradient_penalty: float = 0.0
    # D's target for real samples, in cross-entropy and least squares: 1, or 0.9 smoothed.
    real_target: float = 1.0
    # Share of D's samples that are shown to it under the wrong label.
    label_noise: float = 0.0
    train_samples: int = 0  # training samples; 0: all that there are, or fresh ones
    # D sees real and fake samples in one batch (which batch normalisation notices).
    d_joint_batch: bool = False
    # Weight of G's adversarial term, and of the content term where the task has one.
    adversarial_weight: float = 1.0
    content_weight: float = 1.0
    # A factor on all adversarial losses (the question's port doubles them).
    loss_multiplier: float = 1.0
    shock: float = 1.0  # D's learning rate is multiplied by this from half of the steps on


@dataclass
class Task(ABC):
    """A small adversarial game. All tensors are on the CPU and float32."""

    description: str
    setting: Setting  # what a training begins from
    score_name: ClassVar[str]
    higher_is_better: ClassVar[bool] = False

    @abstractmethod
    def networks(self, setting: Setting, seed: int) -> tuple[nn.Module, nn.Module]:
        """G, which turns a source into a sample, and D, which gives a logit for a sample."""

    @abstractmethod
    def batches(self, setting: Setting, seed: int) -> Iterator[Batch]:
        """Sources and real samples without end, the same for the same seed."""

    def content_loss(self, fake: Tensor, real: Tensor) -> Tensor | None:
        """What holds a fake to the real sample that it is made from; None where there is none."""
        return None

    @abstractmethod
    def measure(self, generator: nn.Module) -> dict[str, float]:
        """What unseen samples of G are worth, with `coverage` in [0, 1] and the score."""


def drawn(pool: Batch, size: int, seed: int) -> Iterator[Batch]:
    """Batches drawn from a pool of sources and samples, with replacement."""
    draw = torch.Generator().manual_seed(seed)
    while True:
        rows = torch.randint(len(pool[1]), (size,), generator=draw)
        yield pool[0][rows], pool[1][rows]


def training_set(samples: Tensor, count: int) -> Tensor | slice:
    """Which rows of `samples` a training may draw from: `count` of them, or with 0 all."""
    if not count:
        return slice(None)
    draw = torch.Generator().manual_seed(TRAINING_SET_SEED)
    return torch.randperm(len(samples), generator=draw)[:count]
