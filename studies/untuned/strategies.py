"""What is compared: the bare loop, `auto`, and fixed recipes that people try by hand.

The recipes are carried out by the loop itself, so that no code of the package that is judged is in
their way; only `auto` is a policy of the package.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Strategy:
    """A recipe. The defaults are the bare loop."""

    name: str
    policy: str = "none"
    d_steps: int = 1
    # Gammas of the gradient penalties on real and on fake samples.
    r1: float = 0.0
    r2: float = 0.0
    real_target: float = 1.0
    d_learning_rate_times: float = 1.0
    # A form in place of the game's own.
    form: str | None = None
    spectral_norm: bool = False


STRATEGIES = {
    strategy.name: strategy
    for strategy in (
        Strategy("none"),
        Strategy("auto", policy="auto"),
        Strategy("r1-two-d-steps", r1=0.1, d_steps=2),
        Strategy("r1-smoothing-ttur", r1=0.1, real_target=0.9, d_learning_rate_times=2.0),
        Strategy("r3gan", r1=0.1, r2=0.1, form="relativistic-paired"),
        Strategy("hinge-spectral", form="hinge", spectral_norm=True),
    )
}


def d_halves(
    form: str, real_scores: Tensor, fake_scores: Tensor, real_target: float
) -> tuple[Tensor, Tensor]:
    """The two halves of D's loss; `real_target` below 1 smooths the labels of real samples."""
    if form == "non-saturating":
        targets = torch.full_like(real_scores, real_target)
        real = F.binary_cross_entropy_with_logits(real_scores, targets)
        return real, F.softplus(fake_scores).mean()
    if form == "lsgan":
        return (real_scores - real_target).square().mean(), fake_scores.square().mean()
    if form == "hinge":
        return F.relu(real_target - real_scores).mean(), F.relu(1 + fake_scores).mean()
    if form == "relativistic-paired":
        # The loss belongs to the pair: it has no halves of its own.
        half = F.softplus(fake_scores - real_scores).mean() / 2
        return half, half
    raise ValueError(f"no such form: {form}")


def g_loss(form: str, real_scores: Tensor | None, fake_scores: Tensor) -> Tensor:
    """G's adversarial loss."""
    if form == "non-saturating":
        return F.softplus(-fake_scores).mean()
    if form == "lsgan":
        return (fake_scores - 1).square().mean()
    if form == "hinge":
        return -fake_scores.mean()
    assert form == "relativistic-paired"
    assert real_scores is not None
    return F.softplus(real_scores - fake_scores).mean()
