"""Asking a discriminator about images beside its training: what it is without its wrappings."""

import inspect
import sys
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from counterpoise.game.objective import GameObjective


class _InLogits(nn.Module):
    """A D that ends in a sigmoid, answering in logits."""

    def __init__(self, d: nn.Module, objective: GameObjective) -> None:
        super().__init__()
        self.d, self._objective = d, objective

    def forward(self, images: Tensor) -> Tensor:
        return self._objective.logits(self.d(images))


def answering_in_logits(d: nn.Module, objective: GameObjective) -> nn.Module:
    """D without what several processes need around it, and uncompiled, its answers (N, ...) as
    logits."""
    if isinstance(d, nn.parallel.DistributedDataParallel | nn.DataParallel):
        d = d.module
    for name in ("lightning_fabric", "lightning.fabric"):  # one is a copy of the other
        fabric = sys.modules.get(name)
        if fabric is not None and fabric.is_wrapped(d):
            d = d.module  # type: ignore[assignment]
    d = getattr(d, "_orig_mod", d)
    wrapped = _InLogits(d, objective)
    wrapped.training = d.training
    return wrapped


def float_type(network: nn.Module) -> torch.dtype:
    """The type that a network computes in."""
    types = (p.dtype for p in network.parameters() if p.is_floating_point())
    return next(types, torch.float32)


def value_range(real: Tensor) -> tuple[float, float] | None:
    """The range that real images are stored in, where it is one of the usual ones."""
    low, high = float(real.min()), float(real.max())
    usual = [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)]
    return next(((a, b) for a, b in usual if a <= low and high <= b), None)


def fresh_optimizer(
    optimizer: torch.optim.Optimizer, parameters: Iterable[Tensor]
) -> torch.optim.Optimizer:
    """A new optimizer of the same kind, with the options and learning rate of a game's."""
    known = inspect.signature(type(optimizer).__init__).parameters
    options = {key: value for key, value in optimizer.defaults.items() if key in known}
    options["lr"] = float(optimizer.param_groups[0]["lr"])
    return type(optimizer)(parameters, **options)
