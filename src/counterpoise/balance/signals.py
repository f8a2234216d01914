"""From D's logits and losses to the numbers that policies and records are made of."""

from collections.abc import Callable

import torch
from torch import Tensor

from counterpoise.records import Signals


def discriminator_statistics(
    loss_real: Tensor,
    loss_fake: Tensor,
    real_logits: Tensor,
    fake_logits: Tensor,
    probability: Callable[[Tensor], Tensor],
    threshold: float | Tensor,
) -> Tensor:
    """D's statistics on this process's share of a batch: a vector whose mean over equal shares is
    the vector of the whole batch. Logits are (N, ...): a map counts as its mean."""
    real, fake = (x.detach().flatten(1).mean(1) for x in (real_logits, fake_logits))
    values = [
        loss_real.detach(),
        loss_fake.detach(),
        probability(real).mean(),
        probability(fake).mean(),
        (real > threshold).float().mean(),
        (fake <= threshold).float().mean(),
        real.mean(),
        real.square().mean(),
        fake.mean(),
        fake.square().mean(),
    ]
    return torch.stack([value.float() for value in values])


def signals_from_statistics(step: int, values: list[float]) -> Signals:
    """Name the numbers of `discriminator_statistics`."""
    loss_real, loss_fake, d_real, d_fake, right_real, right_fake, *moments = values
    return Signals(
        step=step,
        d_loss_real=loss_real,
        d_loss_fake=loss_fake,
        d_real=d_real,
        d_fake=d_fake,
        d_accuracy_real=right_real,
        d_accuracy_fake=right_fake,
        real_logit_mean=moments[0],
        real_logit_std=_standard_deviation(moments[0], moments[1]),
        fake_logit_mean=moments[2],
        fake_logit_std=_standard_deviation(moments[2], moments[3]),
    )


def _standard_deviation(mean: float, mean_square: float) -> float:
    variance = mean_square - mean * mean
    # Rounding can take a tiny variance below zero; NaN must stay NaN.
    return variance**0.5 if not variance < 0 else 0.0
