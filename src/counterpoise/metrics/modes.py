"""How many modes of a known distribution samples cover, and how many of the samples are good."""

import torch
from torch import Tensor

# How many `modes`; `coverage` and `high_quality` are shares in [0, 1]. Higher is better.
Coverage = dict[str, float]


def mode_coverage(
    samples: Tensor, centres: Tensor, std: float, within_std: float = 3.0
) -> Coverage:
    """Coverage of a mixture of Gaussians with one standard deviation by samples (N, D).

    A sample is of high quality within `within_std` standard deviations of its nearest centre
    (M, D); a mode is covered if at least one such sample is its. 2,500 samples are usual. Samples
    that are not finite are of no quality.
    Source: Srivastava et al. 2017 (VEEGAN), section 4.1; Lin et al. 2018 (PacGAN), section 4.1.
    """
    distance, mode = torch.cdist(samples.detach(), centres).min(dim=1)
    good = distance <= within_std * std  # false for NaN
    return _coverage(torch.bincount(mode[good], minlength=len(centres)) > 0, good)


def class_coverage(
    probabilities: Tensor, certain: float = 0.8, least_share: float = 0.2
) -> Coverage:
    """Coverage of classes by samples, of which a classifier gives `probabilities` (N, K).

    A sample is of high quality where the classifier gives one class at least `certain`; a class is
    covered if such samples of it are at least `least_share` of its fair share 1 / K of all.
    Samples whose probabilities are not finite are of no quality.
    """
    count, classes = probabilities.shape
    belief, label = probabilities.detach().max(dim=1)
    good = belief >= certain  # false for NaN
    share = torch.bincount(label[good], minlength=classes) / count
    return _coverage(share >= least_share / classes, good)


def _coverage(covered: Tensor, good: Tensor) -> Coverage:
    """From which modes are covered (K,), and which samples are good (N,)."""
    modes = float(covered.sum())
    return {
        "modes": modes,
        "coverage": modes / len(covered),
        "high_quality": float(good.float().mean()),
    }
