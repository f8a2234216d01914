"""How well D's logits rank real images above fake ones."""

import math

import numpy as np
import torch
from torch import Tensor


def auc(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """The probability that D scores a real image above a fake one, ties counting half.

    A float32 scalar in [0, 1] without gradient; 0.5 is chance, whatever the scale of the logits.
    Logits are (N, ...) and (M, ...): a map counts as its mean. NaN where a logit is NaN.
    Source: the area under the ROC curve is the Mann-Whitney statistic (Hanley and McNeil 1982).
    """
    with torch.no_grad():
        real, fake = (x.detach().float() for x in (real_logits, fake_logits))
        real, fake = (x.flatten(1).mean(1) if x.ndim > 1 else x for x in (real, fake))
        ordered = fake.sort().values
        below = torch.searchsorted(ordered, real)
        not_above = torch.searchsorted(ordered, real, right=True)
        share = (below + not_above).float().mean() / (2 * len(fake))
        has_nan = real.isnan().any() | fake.isnan().any()
        return torch.where(has_nan, torch.nan, share)


def auc_of_numbers(real_logits: np.ndarray, fake_logits: np.ndarray) -> float:
    """`auc` of float32 logits (N,) and (M,) in the host's memory: the same number, sooner."""
    ordered = np.sort(fake_logits)
    if math.isnan(ordered[-1]) or np.isnan(real_logits).any():  # NaN is sorted behind all numbers
        return math.nan
    ranks = np.searchsorted(ordered, real_logits) + np.searchsorted(ordered, real_logits, "right")
    # Of float32 all along, as in `auc`.
    mean = np.float32(ranks.sum()) / np.float32(len(real_logits))
    return float(mean / np.float32(2 * len(fake_logits)))
