"""From D's logits and losses to the numbers that policies and records are made of."""

import math

import numpy as np
from torch import Tensor

from counterpoise.records import Readings

# |logit| beyond which the sigmoid's slope s (1 - s) is under 0.01: 4.585.
SATURATED_LOGIT = math.log(0.5 + math.sqrt(0.24)) - math.log(0.5 - math.sqrt(0.24))

_SATURATIONS = ("d_saturation_real", "d_saturation_fake")
# Of the statistics, in their order.
_NAMES = (
    "d_loss_real", "d_loss_fake", "d_real", "d_fake", "d_accuracy_real", "d_accuracy_fake", "auc",
    *_SATURATIONS, "real_mean", "real_mean_square", "fake_mean", "fake_mean_square",
)  # fmt: skip


def auc(real_logits: Tensor, fake_logits: Tensor) -> float:
    """The probability that D scores a real image above a fake one, ties counting half.

    In [0, 1], as a float32 number; 0.5 is chance, whatever the scale of the logits. Logits are
    (N, ...) and (M, ...): a map counts as its mean. NaN where a logit is NaN.
    Source: the area under the ROC curve is the Mann-Whitney statistic (Hanley and McNeil 1982).
    """
    return auc_of(
        *(image_means(x.detach().float()).cpu().numpy() for x in (real_logits, fake_logits))
    )


def auc_of(real: np.ndarray, fake: np.ndarray) -> float:
    """`auc` of one logit per image, (N,) and (M,)."""
    ordered, highest = np.sort(fake), np.maximum.reduce(real)
    if math.isnan(ordered[-1]) or math.isnan(highest):  # NaN is sorted behind all numbers
        return math.nan
    ranks = ordered.searchsorted(real) + ordered.searchsorted(real, "right")
    mean = np.float32(np.add.reduce(ranks)) / np.float32(len(real))
    return float(mean / np.float32(2 * len(fake)))


def image_means(logits: Tensor) -> Tensor:
    """One logit per image, (N,): of logits (N, ...), a map counts as its mean."""
    if logits.numel() == logits.shape[0]:
        return logits.reshape(-1)
    return logits.flatten(1).mean(1)


def numbers_of(statistics: Tensor) -> tuple[dict[str, float], Readings]:
    """The numbers of `GameObjective.statistics` by the names of `records.Signals`, and the
    sigmoid's saturation, which says something of objectives with a sigmoid only."""
    named = dict(zip(_NAMES, statistics.tolist(), strict=True))
    for kind in ("real", "fake"):
        mean, mean_square = named.pop(f"{kind}_mean"), named.pop(f"{kind}_mean_square")
        variance = mean_square - mean * mean
        named[f"{kind}_logit_mean"] = mean
        # Rounding can take a tiny variance below zero; NaN must stay NaN.
        named[f"{kind}_logit_std"] = variance**0.5 if not variance < 0 else 0.0
    return named, Readings(**{name: named.pop(name) for name in _SATURATIONS})
