"""From D's logits and losses to the numbers that policies and records are made of."""

import dataclasses
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from counterpoise.records import NO_READINGS, Readings, Signals
from counterpoise.sensors.ranking import auc

# |logit| beyond which the sigmoid's slope s (1 - s) is under 0.01: 4.585.
SATURATED_LOGIT = math.log(0.5 + math.sqrt(0.24)) - math.log(0.5 - math.sqrt(0.24))

# Of the statistics, in their order; losses and outputs come before the moments of the logits.
_SIGNALS = (
    "d_loss_real",
    "d_loss_fake",
    "d_real",
    "d_fake",
    "d_accuracy_real",
    "d_accuracy_fake",
    "auc",
)
_SATURATIONS = ("d_saturation_real", "d_saturation_fake")
_MOMENTS = ("real_mean", "real_mean_square", "fake_mean", "fake_mean_square")


def discriminator_statistics(
    loss_real: Tensor,
    loss_fake: Tensor,
    real_logits: Tensor,
    fake_logits: Tensor,
    probability: Callable[[Tensor], Tensor],
    threshold: float | Tensor,
) -> Tensor:
    """D's statistics on this process's share of a batch, as a vector to be averaged over shares.

    The mean of equal shares' vectors is the vector of the whole batch, but for the AUC, which then
    is that over pairs within a share. Logits are (N, ...): a map counts as its mean, except in the
    saturation, which is over all logits.
    """
    real, fake = (x.detach().flatten(1).mean(1) for x in (real_logits, fake_logits))
    values = [
        loss_real.detach(),
        loss_fake.detach(),
        probability(real).mean(),
        probability(fake).mean(),
        (real > threshold).float().mean(),
        (fake <= threshold).float().mean(),
        auc(real, fake),
        _saturation(real_logits),
        _saturation(fake_logits),
        real.mean(),
        real.square().mean(),
        fake.mean(),
        fake.square().mean(),
    ]
    return torch.stack([value.float() for value in values])


def signals_from_statistics(
    step: int,
    values: Sequence[float],
    d_equilibrium_loss: float | None = None,
    readings: Readings = NO_READINGS,
) -> Signals:
    """Name the numbers of `discriminator_statistics`; `readings` are the latest ones."""
    named = dict(zip((*_SIGNALS, *_SATURATIONS, *_MOMENTS), values, strict=True))
    return Signals(
        step=step,
        **{name: named[name] for name in _SIGNALS},
        real_logit_mean=named["real_mean"],
        real_logit_std=_standard_deviation(named["real_mean"], named["real_mean_square"]),
        fake_logit_mean=named["fake_mean"],
        fake_logit_std=_standard_deviation(named["fake_mean"], named["fake_mean_square"]),
        d_equilibrium_loss=d_equilibrium_loss,
        readings=readings,
    )


def saturation_readings(values: Sequence[float]) -> Readings:
    """The sigmoid's saturation among the numbers of `discriminator_statistics`.

    It says something of objectives with a sigmoid only.
    """
    first = len(_SIGNALS)
    shares = values[first : first + len(_SATURATIONS)]
    return dataclasses.replace(NO_READINGS, **dict(zip(_SATURATIONS, shares, strict=True)))


def _saturation(logits: Tensor) -> Tensor:
    return (logits.detach().abs() > SATURATED_LOGIT).float().mean()


def _standard_deviation(mean: float, mean_square: float) -> float:
    variance = mean_square - mean * mean
    # Rounding can take a tiny variance below zero; NaN must stay NaN.
    return variance**0.5 if not variance < 0 else 0.0
