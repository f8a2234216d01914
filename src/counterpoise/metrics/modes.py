"""How many modes of a known distribution samples cover, and how many of the samples are good."""

import torch
from torch import Tensor

# How many `modes`; `coverage` and `high_quality` are shares in [0, 1]. Higher is better.
Coverage = dict[str, float]
WITHIN_STD = 3.0  # of its nearest centre, in which a sample is of high quality
# The probability of a sample of high quality, and the share of its fair share that covers a class.
CERTAIN, LEAST_SHARE = 0.8, 0.2


def mode_coverage(samples: Tensor, centres: Tensor, std: float) -> Coverage:
    """Coverage of a mixture of Gaussians with one standard deviation by samples (N, D).

    A sample is of high quality within `WITHIN_STD` standard deviations of its nearest centre
    (M, D); a mode is covered if at least one such sample is its. 2,500 samples are usual. Samples
    that are not finite are of no quality.
    Source: Srivastava et al. 2017 (VEEGAN), section 4.1; Lin et al. 2018 (PacGAN), section 4.1.
    """
    distance, mode = torch.cdist(samples.detach(), centres).min(dim=1)
    good = distance <= WITHIN_STD * std  # false for NaN
    return _coverage(torch.bincount(mode[good], minlength=len(centres)) > 0, good)


def class_coverage(probabilities: Tensor) -> Coverage:
    """Coverage of classes by samples, of which a classifier gives `probabilities` (N, K).

    A sample is of high quality where the classifier gives one class at least `CERTAIN`; a class is
    covered if such samples of it are at least `LEAST_SHARE` of its fair share 1 / K of all.
    Samples whose probabilities are not finite are of no quality.
    """
    count, classes = probabilities.shape
    belief, label = probabilities.detach().max(dim=1)
    good = belief >= CERTAIN  # false for NaN
    share = torch.bincount(label[good], minlength=classes) / count
    return _coverage(share >= LEAST_SHARE / classes, good)


def _coverage(covered: Tensor, good: Tensor) -> Coverage:
    """From which modes are covered (K,), and which samples are good (N,)."""
    modes = float(covered.sum())
    return {
        "modes": modes,
        "coverage": modes / len(covered),
        "high_quality": float(good.float().mean()),
    }
