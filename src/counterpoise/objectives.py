"""The one table of adversarial objectives: what their numbers mean, and the names they go by.

A loss of 0 or an output of 1 says nothing until the objective is known: BCE at 0 is a
discriminator that is certain, a hinge loss at 0 one whose margins are met, and a score of -25 has
no meaning of its own. `losses.adversarial` computes these objectives, by the same names.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from counterpoise.errors import UserError
from counterpoise.registry import Registry

Curve = Callable[[np.ndarray], np.ndarray]

# What an objective is called that no log shows and nobody says.
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Objective:
    """The facts of one adversarial objective."""

    name: str
    title: str
    # D's loss, both halves summed, where it cannot tell real from fake and answers as it should.
    equilibrium_d_loss: float
    # Whether D's output, as a log prints it, is a probability: D's belief that an image is real.
    has_probability: bool = False
    # Whether the loss applies a sigmoid to D's logits, or to differences of them.
    has_sigmoid: bool = False
    # Whether the losses see only differences between real and fake scores: these have no zero then,
    # G's loss needs D's logits on real images, and no half of D's loss stands alone.
    compares_scores: bool = False
    # Whether D's loss has a half for real images and one for fake, whose mean some programs print.
    has_halves: bool = True
    # Whether D's loss is bounded below by 0, so that "near 0" means that D is sure.
    d_loss_reaches_zero: bool = True
    # Whether G's gradient fades where D is sure that its images are fake.
    g_gradient_saturates: bool = False
    # With the target 1 - s for real images, D's loss grows by s times this times the mean of what
    # the loss sees of them (and by what no weight depends on); 0 where D has no target for them.
    smoothing_slope: float = 0.0
    # G's adversarial loss where each half of D's is this large; None where they are free.
    g_loss_at: Curve | None = None
    # How common it is among the trainings that people ask about, against the others.
    prior: float = 0.01
    # Other names by which people know it.
    aliases: tuple[str, ...] = ()

    def fooled_half(self, g_loss: np.ndarray) -> np.ndarray:
        """D's loss on fake images as G's loss has it: the curve between the two is its own inverse.
        NaN under squares and hinge, where it has two branches or none."""
        if self.g_loss_at is None or not self.has_sigmoid or self.g_gradient_saturates:
            return np.full_like(g_loss, np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.g_loss_at(g_loss)


def _bce_of_fooled(half: np.ndarray) -> np.ndarray:
    """-log D(G(z)) where -log(1 - D(G(z))) is `half`."""
    return np.asarray(-np.log(-np.expm1(-half)))


def _squares_of_fooled(half: np.ndarray) -> np.ndarray:
    """(D(G(z)) - 1)^2 where D(G(z))^2 is `half`."""
    return np.asarray(np.square(1 - np.sqrt(half)))


_ROWS = (
    Objective(
        "non-saturating",
        "BCE, non-saturating",
        equilibrium_d_loss=math.log(4),
        has_probability=True,
        has_sigmoid=True,
        smoothing_slope=1.0,
        g_loss_at=_bce_of_fooled,
        prior=0.5,
        aliases=("bce", "vanilla", "ns", "gan", "dcgan"),
    ),
    Objective(
        "lsgan",
        "least squares on raw scores",
        equilibrium_d_loss=0.5,
        smoothing_slope=2.0,
        g_loss_at=_squares_of_fooled,
        prior=0.16,
        aliases=("mse", "least-squares"),
    ),
    Objective(
        "lsgan-on-sigmoid",
        "least squares behind a sigmoid",
        equilibrium_d_loss=0.5,
        has_probability=True,
        has_sigmoid=True,
        g_gradient_saturates=True,
        smoothing_slope=2.0,
        g_loss_at=_squares_of_fooled,
        prior=0.03,
        aliases=("mse-on-sigmoid",),
    ),
    Objective(
        "linear-on-sigmoid",
        "linear in probabilities",
        equilibrium_d_loss=1.0,
        has_probability=True,
        has_sigmoid=True,
        g_gradient_saturates=True,
        g_loss_at=lambda half: 1 - half,
        prior=0.0005,
        aliases=("linear",),
    ),
    Objective(
        "hinge", "hinge", equilibrium_d_loss=2.0, g_loss_at=lambda half: 1 - half, prior=0.13
    ),
    Objective(
        "wgan",
        "Wasserstein",
        equilibrium_d_loss=0.0,
        has_halves=False,
        d_loss_reaches_zero=False,
        prior=0.1,
        aliases=("wgan-gp", "wasserstein"),
    ),
    Objective(
        "relativistic-average",
        "relativistic average",
        equilibrium_d_loss=math.log(4),
        has_sigmoid=True,
        compares_scores=True,
        g_loss_at=lambda half: 2 * _bce_of_fooled(half),
        prior=0.02,
        aliases=("ragan",),
    ),
    Objective(
        "relativistic-paired",
        "relativistic paired",
        equilibrium_d_loss=math.log(2),
        has_sigmoid=True,
        compares_scores=True,
        has_halves=False,
        g_loss_at=lambda half: _bce_of_fooled(2 * half),
        prior=0.0005,
        aliases=("rpgan", "rsgan"),
    ),
    Objective(
        "relativistic-hinge",
        "relativistic hinge",
        equilibrium_d_loss=2.0,
        compares_scores=True,
        g_loss_at=lambda half: 2 * np.maximum(2 - half, 0),
        prior=0.003,
        aliases=("rahinge", "relativistic-average-hinge"),
    ),
)

OBJECTIVES: Registry[Objective] = Registry("objective", *((row.name, row) for row in _ROWS))

# The largest BCE of one image, and who cuts it there.
CLIPS = {
    16.118: "Keras' epsilon of 1e-7",
    15.9424: "Keras' epsilon of 1e-7",
    100.0: "PyTorch's BCELoss",
    13.8155: "an epsilon of 1e-6",
    18.4207: "an epsilon of 1e-8",
    23.0259: "an epsilon of 1e-10",
    27.631: "an epsilon of 1e-12",
}
AT_A_CLIP = 1e-3  # as a share


def cut_by(loss: float) -> str:
    """Who cuts the BCE of one image at this loss; "" where nobody does."""
    return next((who for at, who in CLIPS.items() if abs(loss / at - 1) < AT_A_CLIP), "")


def objective_name(name: str) -> str:
    """The objective's own name for any name it is known by; `UserError` for an unknown one."""
    plain = name.strip().lower().replace("_", "-")
    own = next((own for own, objective in OBJECTIVES.items() if plain in objective.aliases), plain)
    if own not in OBJECTIVES:
        names = (", ".join((each.name, *each.aliases)) for each in OBJECTIVES.values())
        raise UserError(f"unknown objective '{name}'; known: {'; '.join(names)}")
    return own


def bce_at_mean(real: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least BCE halves that go with mean outputs D(x) and D(G(z))."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return -np.log(real), -np.log1p(-fake)


def least_of_probabilities(real: np.ndarray, fake: np.ndarray) -> dict[str, np.ndarray]:
    """The least sums of D's halves by objective, at mean outputs in [0, 1]."""
    squares = (real - 1) ** 2 + fake**2
    return {
        "non-saturating": np.sum(bce_at_mean(real, fake), axis=0),
        "lsgan": squares,
        "lsgan-on-sigmoid": squares,
    }


def least_of_scores(real: np.ndarray, fake: np.ndarray) -> dict[str, np.ndarray]:
    """The least sums of D's halves by objective, at mean outputs before any sigmoid."""
    with np.errstate(invalid="ignore"):
        squares = (real - 1) ** 2 + fake**2
        compared = np.logaddexp(0, fake - real)
        return {
            "non-saturating": np.logaddexp(0, -real) + np.logaddexp(0, fake),
            "lsgan": squares,
            "lsgan-on-sigmoid": squares,
            "hinge": np.maximum(1 - real, 0) + np.maximum(1 + fake, 0),
            "relativistic-average": compared * 2,
            "relativistic-paired": compared,
            "relativistic-hinge": 2 * np.maximum(1 + fake - real, 0),
        }
