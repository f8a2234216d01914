"""The least that D's loss can be at its mean outputs, under each objective, and how losses fit it.

By Jensen's inequality the mean loss over a batch cannot be below the loss at the mean output.
"""

from dataclasses import dataclass

import numpy as np

# A printed number may be off by this share of itself before it contradicts another.
TOLERANCE = 0.02
# Share of rows that an objective must explain to be taken for the log's.
EXPLAINS = 0.9
# The last digit of a loss that people print, at the coarsest.
PRINTED = 1e-5


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
        return {
            "non-saturating": np.logaddexp(0, -real) + np.logaddexp(0, fake),
            "lsgan": (real - 1) ** 2 + fake**2,
            "hinge": np.maximum(1 - real, 0) + np.maximum(1 + fake, 0),
            "relativistic-average": np.logaddexp(0, fake - real) * 2,
        }


def last_digit(values: np.ndarray) -> float:
    """The last digit that a column was printed with, 1e-12 at the finest."""
    for digits in range(12):
        if np.allclose(values, np.round(values, digits), rtol=0, atol=1e-13):
            return float(10.0**-digits)
    return 1e-12


@dataclass(frozen=True)
class Fit:
    """How losses fit the least that an objective allows."""

    explained: float  # the share of rows that are not below it
    distance: float  # the median of |log(loss / least)|
    farthest: float  # what that is not above in most rows

    @property
    def possible(self) -> bool:
        """Whether only a few rows speak against it."""
        return self.explained >= EXPLAINS


def fit(loss: np.ndarray, least: np.ndarray) -> Fit:
    """How D's losses fit the least that an objective allows beside them; all finite, not empty."""
    printed = min(PRINTED, last_digit(loss))
    with np.errstate(invalid="ignore", divide="ignore"):
        distances = np.abs(np.log((loss + printed) / (least + printed)))
    distances = np.nan_to_num(distances, nan=np.inf)
    return Fit(
        explained=float((loss >= least * (1 - TOLERANCE) - printed).mean()),
        distance=float(np.median(distances)),
        # No interpolation: distances may be infinite.
        farthest=float(np.quantile(distances, EXPLAINS, method="higher")),
    )
