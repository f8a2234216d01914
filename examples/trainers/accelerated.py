"""accelerate: networks and optimizers as `accelerator.prepare` returns them.

`Accelerator` here does what accelerate's does on one device: optimizers behind a wrapper.
"""

from typing import Any

import torch
from torch import Tensor, nn

import counterpoise as cp  # +
from parts import NOISE, adam, batches, bce, discriminator, generator


class AcceleratedOptimizer(torch.optim.Optimizer):
    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self.defaults, self.state = optimizer.defaults, optimizer.state

    @property
    def param_groups(self) -> Any:
        return self.optimizer.param_groups

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.optimizer.zero_grad(set_to_none)

    def step(self, closure: Any = None) -> None:
        self.optimizer.step(closure)


class Accelerator:
    def prepare(self, *objects: Any) -> list[Any]:
        wrapped = torch.optim.Optimizer
        return [AcceleratedOptimizer(o) if isinstance(o, wrapped) else o for o in objects]

    def backward(self, loss: Tensor) -> None:
        loss.backward()


def train(turns: int) -> list[nn.Module]:
    accelerator = Accelerator()
    g, d = generator(), discriminator()
    g, d, g_optimizer, d_optimizer = accelerator.prepare(g, d, adam(g), adam(d))
    balance = cp.Balance(g, d, g_optimizer, d_optimizer, policy="auto")  # +
    for real in batches(turns):
        fake = g(torch.randn(len(real), NOISE))
        balance.d_step()  # +
        d_loss = bce(d(real), 1.0) + bce(d(fake.detach()), 0.0)
        accelerator.backward(d_loss)
        d_optimizer.step()
        d_optimizer.zero_grad()
        balance.g_step()  # +
        d.requires_grad_(False)
        accelerator.backward(bce(d(fake), 1.0))
        d.requires_grad_(True)
        g_optimizer.step()
        g_optimizer.zero_grad()
    return [g, d]
