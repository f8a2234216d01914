"""Adversarial objectives as people write them, also the ones that they should not write.

Apart from the package's own forms on purpose: the corpus must not agree with the code that it
tests only because both share a mistake. All take logits and answer means over the batch.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Objective:
    """What D and G minimise; `shown` is what the loop prints as D(x)."""

    d_loss: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    g_loss: Callable[[Tensor, Tensor], Tensor]  # of real and fake logits
    shown: Callable[[Tensor], Tensor]
    threshold: float | None  # of the logit, above which D says real; None: midway of the batch
    is_probability: bool
    # Its name in the package, None where the package has none.
    package_name: str | None
    compares: bool = False  # whether G's loss needs the real logits after D's step


def _logits(x: Tensor) -> Tensor:
    return x


def _bce_d(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    return F.softplus(-real).mean(), F.softplus(fake).mean()


def _bce_on_probabilities_d(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    real, fake = real.sigmoid(), fake.sigmoid()
    ones, zeros = torch.ones_like(real), torch.zeros_like(fake)
    return F.binary_cross_entropy(real, ones), F.binary_cross_entropy(fake, zeros)


def _bce_on_probabilities_g(real: Tensor, fake: Tensor) -> Tensor:
    return F.binary_cross_entropy(fake.sigmoid(), torch.ones_like(fake))


def _ragan_d(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    return F.softplus(fake.mean() - real).mean(), F.softplus(fake - real.mean()).mean()


def _ragan_g(real: Tensor, fake: Tensor) -> Tensor:
    return (F.softplus(real.mean() - fake).mean() + F.softplus(real - fake.mean()).mean()) / 2


OBJECTIVES = {
    "bce-logits": Objective(
        _bce_d,
        lambda real, fake: F.softplus(-fake).mean(),
        torch.sigmoid,
        0.0,
        True,
        "non-saturating",
    ),
    # A sigmoid in D and BCELoss, as in the question's loop and in the DCGAN tutorial.
    "bce-sigmoid": Objective(
        _bce_on_probabilities_d, _bce_on_probabilities_g, torch.sigmoid, 0.0, True, "non-saturating"
    ),
    # G minimises log(1 - D(G(z))): Goodfellow et al. 2014, equation 1.
    "bce-saturating": Objective(
        _bce_d, lambda real, fake: -F.softplus(fake).mean(), torch.sigmoid, 0.0, True, None
    ),
    "lsgan": Objective(
        lambda real, fake: ((real - 1).square().mean(), fake.square().mean()),
        lambda real, fake: (fake - 1).square().mean(),
        _logits,
        0.5,
        False,
        "lsgan",
    ),
    "lsgan-sigmoid": Objective(
        lambda real, fake: ((real.sigmoid() - 1).square().mean(), fake.sigmoid().square().mean()),
        lambda real, fake: (fake.sigmoid() - 1).square().mean(),
        torch.sigmoid,
        0.0,
        True,
        "lsgan-on-sigmoid",
    ),
    "hinge": Objective(
        lambda real, fake: (F.relu(1 - real).mean(), F.relu(1 + fake).mean()),
        lambda real, fake: -fake.mean(),
        _logits,
        0.0,
        False,
        "hinge",
    ),
    "wgan": Objective(
        lambda real, fake: (-real.mean(), fake.mean()),
        lambda real, fake: -fake.mean(),
        _logits,
        None,
        False,
        "wgan",
    ),
    "ragan": Objective(_ragan_d, _ragan_g, _logits, None, False, "relativistic-average", True),
    # Huang et al. 2024.
    "rpgan": Objective(
        lambda real, fake: (F.softplus(fake - real).mean(), torch.zeros(())),
        lambda real, fake: F.softplus(real - fake).mean(),
        _logits,
        None,
        False,
        "relativistic-paired",
        True,
    ),
}
