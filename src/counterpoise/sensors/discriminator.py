"""From D's logits and losses to the numbers that policies and records are made of."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from counterpoise.records import NO_READINGS, Readings, Signals

# |logit| beyond which the sigmoid's slope s (1 - s) is under 0.01: 4.585.
SATURATED_LOGIT = math.log(0.5 + math.sqrt(0.24)) - math.log(0.5 - math.sqrt(0.24))

# Of the statistics, in their order; losses and outputs come before the moments of the logits.
_SIGNALS = (
    "d_loss_real", "d_loss_fake", "d_real", "d_fake", "d_accuracy_real", "d_accuracy_fake", "auc",
)  # fmt: skip
_SATURATIONS = ("d_saturation_real", "d_saturation_fake")
_MOMENTS = ("real_mean", "real_mean_square", "fake_mean", "fake_mean_square")
_NAMES = (*_SIGNALS, *_SATURATIONS, *_MOMENTS)


def discriminator_statistics(
    loss_real: Tensor,
    loss_fake: Tensor,
    real_logits: Tensor,
    fake_logits: Tensor,
    probability: Callable[[Tensor], Tensor],
    threshold: float | Tensor,
    sigmoid_inputs: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """D's statistics on this process's share of a batch, as a vector to be averaged over shares.
    Nothing has a graph.

    The mean of equal shares' vectors is the vector of the whole batch, but for the AUC, which then
    is that over pairs within a share. Logits are (N, ...): a map counts as its mean, except in the
    saturation, which is over all of `sigmoid_inputs`, what the sigmoid in D's loss sees; without
    one it says nothing. They are counted where they are: soonest in the host's memory, but of
    several GPUs nothing then waits for them.
    """
    real, fake = image_means(real_logits), image_means(fake_logits)
    in_sigmoid = sigmoid_inputs or (real_logits, fake_logits)
    if real.device.type == "cpu":
        # With as few operations of PyTorch's as can be: this is done in every turn.
        reals, fakes = real.float().numpy(), fake.float().numpy()
        limit = float(threshold)
        numbers = [
            loss_real.item(),
            loss_fake.item(),
            _mean(probability(real).float().numpy()),
            _mean(probability(fake).float().numpy()),
            _share(reals > limit),
            _share(fakes <= limit),
            _auc_of(reals, fakes),
            *[_share(np.abs(x.float().numpy()) > SATURATED_LOGIT) for x in in_sigmoid],
            _mean(reals),
            _mean(np.square(reals)),
            _mean(fakes),
            _mean(np.square(fakes)),
        ]
        return torch.from_numpy(np.array(numbers, np.float32))
    losses = torch.stack([loss_real.float(), loss_fake.float()])
    of_real = _means(probability(real), real, real.square())
    of_fake = _means(probability(fake), fake, fake.square())
    flags = [real > threshold, fake <= threshold, *(x.abs() > SATURATED_LOGIT for x in in_sigmoid)]
    right_real, right_fake, *saturated = (each.float().mean() for each in flags)
    shares = torch.stack([right_real, right_fake, _auc_there(real, fake), *saturated])
    return torch.cat([losses, of_real[:1], of_fake[:1], shares, of_real[1:], of_fake[1:]])


def auc(real_logits: Tensor, fake_logits: Tensor) -> float:
    """The probability that D scores a real image above a fake one, ties counting half.

    In [0, 1], as a float32 number; 0.5 is chance, whatever the scale of the logits. Logits are
    (N, ...) and (M, ...): a map counts as its mean. NaN where a logit is NaN.
    Source: the area under the ROC curve is the Mann-Whitney statistic (Hanley and McNeil 1982).
    """
    return _auc_of(
        *(image_means(x.detach().float()).cpu().numpy() for x in (real_logits, fake_logits))
    )


def _auc_of(real: np.ndarray, fake: np.ndarray) -> float:
    ordered, highest = np.sort(fake), np.maximum.reduce(real)
    if math.isnan(ordered[-1]) or math.isnan(highest):  # NaN is sorted behind all numbers
        return math.nan
    ranks = ordered.searchsorted(real) + ordered.searchsorted(real, "right")
    mean = np.float32(np.add.reduce(ranks)) / np.float32(len(real))
    return float(mean / np.float32(2 * len(fake)))


def _auc_there(real: Tensor, fake: Tensor) -> Tensor:
    """`auc` of logits (N,) and (M,), where they are."""
    ordered = fake.float().sort().values
    ranks = sum(torch.searchsorted(ordered, real.float(), right=right) for right in (False, True))
    area = ranks.float().mean() / (2 * len(fake))  # type: ignore[union-attr]
    return torch.where(real.isnan().any() | fake.isnan().any(), torch.nan, area)


def image_means(logits: Tensor) -> Tensor:
    """One logit per image, (N,): of logits (N, ...), a map counts as its mean."""
    if logits.numel() == logits.shape[0]:
        return logits.reshape(-1)
    return logits.flatten(1).mean(1)


def _means(*values: Tensor) -> Tensor:
    """The mean of each of several vectors of one length, float32: by rows, to the bit, as alone."""
    return torch.stack(values).float().mean(1)


def _mean(values: np.ndarray) -> np.float32:
    """`values.mean()` of (N,), to the bit, in a quarter of its time."""
    return np.float32(np.add.reduce(values) / np.float32(len(values)))


def _share(flags: np.ndarray) -> float:
    """The share of True."""
    return np.count_nonzero(flags) / flags.size


def signals_from_statistics(
    step: int,
    values: Sequence[float],
    d_equilibrium_loss: float | None = None,
    readings: Readings = NO_READINGS,
    *,
    d_takes_r1: bool = True,
) -> Signals:
    """Name the numbers of `discriminator_statistics`; `readings` are the latest ones."""
    named = dict(zip(_NAMES, values, strict=True))
    return Signals(
        step=step,
        **{name: named[name] for name in _SIGNALS},
        real_logit_mean=named["real_mean"],
        real_logit_std=_standard_deviation(named["real_mean"], named["real_mean_square"]),
        fake_logit_mean=named["fake_mean"],
        fake_logit_std=_standard_deviation(named["fake_mean"], named["fake_mean_square"]),
        d_equilibrium_loss=d_equilibrium_loss,
        d_takes_r1=d_takes_r1,
        readings=readings,
    )


def saturation_readings(values: Sequence[float]) -> Readings:
    """The sigmoid's saturation among the numbers of `discriminator_statistics`; it says something
    of objectives with a sigmoid only."""
    named = dict(zip(_NAMES, values, strict=True))
    return Readings(**{name: named[name] for name in _SATURATIONS})


def _standard_deviation(mean: float, mean_square: float) -> float:
    variance = mean_square - mean * mean
    # Rounding can take a tiny variance below zero; NaN must stay NaN.
    return variance**0.5 if not variance < 0 else 0.0
