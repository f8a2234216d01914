"""What an adversarial objective's numbers mean, and which one a log was printed under.

A loss of 0 or an output of 1 says nothing until the objective is known: BCE at 0 is a
discriminator that is certain, a hinge loss at 0 one whose margins are met, and a score of -25 has
no meaning of its own.
"""

import math
from dataclasses import dataclass

from counterpoise.registry import Registry

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Objective:
    """One adversarial objective, as its losses and outputs appear in a log."""

    title: str
    # Whether D's output is a probability (there is a sigmoid in D or in the loss).
    has_probability: bool
    # D's loss, both halves summed, where it cannot tell real from fake.
    equilibrium_d_loss: float
    # Whether D's loss is bounded below by 0, so that "near 0" means that D is sure.
    d_loss_reaches_zero: bool
    # Whether G's gradient fades where D is sure that its images are fake.
    g_gradient_saturates: bool
    # Whether D's loss has a half for real images and one for fake, whose mean some programs print.
    has_halves: bool = True


OBJECTIVES: Registry[Objective] = Registry(
    "objective",
    ("non-saturating", Objective("BCE, non-saturating", True, math.log(4), True, False)),
    ("lsgan", Objective("least squares on raw scores", False, 0.5, True, False)),
    ("lsgan-on-sigmoid", Objective("least squares behind a sigmoid", True, 0.5, True, True)),
    ("hinge", Objective("hinge", False, 2.0, True, False)),
    ("wgan", Objective("Wasserstein", False, 0.0, False, False, False)),
    ("relativistic-average", Objective("relativistic average", False, math.log(4), True, False)),
    (
        "relativistic-paired",
        Objective("relativistic paired", False, math.log(2), True, False, False),
    ),
)

# Other names by which people know them.
ALIASES = {
    "bce": "non-saturating",
    "vanilla": "non-saturating",
    "ns": "non-saturating",
    "gan": "non-saturating",
    "dcgan": "non-saturating",
    "mse": "lsgan",
    "least-squares": "lsgan",
    "mse-on-sigmoid": "lsgan-on-sigmoid",
    "wgan-gp": "wgan",
    "wasserstein": "wgan",
    "ragan": "relativistic-average",
    "rpgan": "relativistic-paired",
    "rsgan": "relativistic-paired",
}


def objective_name(name: str) -> str:
    """The objective's own name for any name it is known by; `UserError` for an unknown one."""
    plain = name.strip().lower().replace("_", "-")
    plain = ALIASES.get(plain, plain)
    OBJECTIVES[plain]
    return plain
