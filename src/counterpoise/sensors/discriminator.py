"""From D's logits and losses to the numbers that policies and records are made of."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from counterpoise.records import NO_READINGS, Readings, Signals
from counterpoise.sensors.ranking import auc, auc_of_numbers

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
_NAMES = (*_SIGNALS, *_SATURATIONS, *_MOMENTS)

# Up to so many logits (of a batch, not of a map of a batch) are brought to the host at once: to
# count there is quicker than to launch a kernel for each number.
MOST_HOST_LOGITS = 4096


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

    The mean of equal shares' vectors is the vector of the whole batch, but for the AUC, which then
    is that over pairs within a share. Logits are (N, ...): a map counts as its mean, except in the
    saturation, which is over all of `sigmoid_inputs`, what the sigmoid in D's loss sees; without
    one it says nothing.
    """
    real_logits, fake_logits = real_logits.detach(), fake_logits.detach()
    for_sigmoid = (real_logits, fake_logits) if sigmoid_inputs is None else sigmoid_inputs
    real, fake = image_means(real_logits), image_means(fake_logits)
    losses = torch.stack([loss_real.detach().float(), loss_fake.detach().float()])
    of_real = _means(probability(real), real, real.square())
    of_fake = _means(probability(fake), fake, fake.square())
    if real.device.type == "cpu":
        counted = _counted(real, fake, *for_sigmoid, threshold)
        shares = torch.tensor(counted, dtype=torch.float32)
    else:
        shares = torch.stack(
            [
                (real > threshold).float().mean(),
                (fake <= threshold).float().mean(),
                auc(real, fake),
                *map(_saturation, for_sigmoid),
            ]
        )
    return torch.cat([losses, of_real[:1], of_fake[:1], shares, of_real[1:], of_fake[1:]])


def _means(*values: Tensor) -> Tensor:
    """The mean of each of several vectors of one length, float32: by rows, to the bit, as alone."""
    return torch.stack(values).float().mean(1)


def image_means(logits: Tensor) -> Tensor:
    """One logit per image, (N,): of logits (N, ...), a map counts as its mean."""
    if logits.numel() == len(logits):
        return logits.reshape(len(logits))
    return logits.flatten(1).mean(1)


def are_few(*logits: Tensor) -> bool:
    """Whether logits are counted on the host: all but large maps."""
    return sum(x.numel() for x in logits) <= MOST_HOST_LOGITS


def on_host_if_few(*logits: Tensor) -> list[Tensor]:
    """Logits, detached, where they are to be counted."""
    return on_host(*logits) if are_few(*logits) else [x.detach() for x in logits]


def on_host(*tensors: Tensor) -> list[Tensor]:
    """Float tensors of one device, detached, in the host's memory; in one transfer, as float32."""
    tensors = tuple(tensor.detach() for tensor in tensors)
    if all(tensor.device.type == "cpu" for tensor in tensors):
        return list(tensors)
    whole = torch.cat([tensor.flatten().float() for tensor in tensors]).cpu()
    parts = torch.split(whole, [tensor.numel() for tensor in tensors])
    return [part.reshape(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def _counted(
    real: Tensor,
    fake: Tensor,
    real_in_sigmoid: Tensor,
    fake_in_sigmoid: Tensor,
    threshold: float | Tensor,
) -> list[float]:
    """Both accuracies, the AUC and both saturations, by counting: as torch's means of flags are, to
    the bit (below 2^24 images or pairs), in a third of the time."""
    reals, fakes = real.float().numpy(), fake.float().numpy()
    limit = np.float32(threshold)
    return [
        _share(reals > limit),
        _share(fakes <= limit),
        auc_of_numbers(reals, fakes),
        *(
            _share(np.abs(x.detach().float().numpy()) > SATURATED_LOGIT)
            for x in (real_in_sigmoid, fake_in_sigmoid)
        ),
    ]


def _share(flags: np.ndarray) -> float:
    """The share of True, as a float32 number."""
    return float(np.float32(np.count_nonzero(flags)) / np.float32(flags.size))


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
    """The sigmoid's saturation among the numbers of `discriminator_statistics`.

    It says something of objectives with a sigmoid only.
    """
    first = len(_SIGNALS)
    shares = values[first : first + len(_SATURATIONS)]
    return Readings(**dict(zip(_SATURATIONS, shares, strict=True)))


def _saturation(logits: Tensor) -> Tensor:
    return (logits.detach().abs() > SATURATED_LOGIT).float().mean()


def _standard_deviation(mean: float, mean_square: float) -> float:
    variance = mean_square - mean * mean
    # Rounding can take a tiny variance below zero; NaN must stay NaN.
    return variance**0.5 if not variance < 0 else 0.0
