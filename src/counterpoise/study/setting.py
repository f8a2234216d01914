"""One training of the gauntlet, all told: what strategies and stressors change."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Setting:
    """Everything that one training depends on beside its task and seed.

    A task gives the first one, the strategy replaces values in it, and the stressor then changes
    what came out, so that it hits every strategy alike.
    """

    steps: int
    batch_size: int
    g_learning_rate: float
    d_learning_rate: float
    d_width: int
    # none, spectral, layer (every sample by itself, as instance norm does for maps), or batch (real
    # and fake samples apart, unless `d_joint_batch`).
    d_norm: str = "none"
    betas: tuple[float, float] = (0.5, 0.999)
    # A name from `losses.adversarial`, or "lsgan-on-sigmoid" of `study.play`.
    form: str = "non-saturating"
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
    # Training samples; 0: all that there are, or fresh ones.
    train_samples: int = 0
    # D sees real and fake samples in one batch (which batch normalisation notices).
    d_joint_batch: bool = False
    # Weight of G's adversarial term, and of the content term where the task has one.
    adversarial_weight: float = 1.0
    content_weight: float = 1.0
    # A factor on all adversarial losses (the question's port doubles them).
    loss_multiplier: float = 1.0
    # D's learning rate is multiplied by this from half of the steps on.
    shock: float = 1.0
