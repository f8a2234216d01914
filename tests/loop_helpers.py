"""A small hand-written loop, with and without Balance, for the tests of `anyloop`."""

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import counterpoise as cp
from counterpoise.anyloop import handle
from counterpoise.records import NO_ACTION, Action, Signals

SIZE = 8
BATCH = 8


def small_networks(seed: int = 0, *, sigmoid: bool = False) -> tuple[nn.Module, nn.Module]:
    """G from noise (N, 4) to images (N, 1, 8, 8), with BatchNorm; D to logits (N, 1)."""
    torch.manual_seed(seed)
    g = nn.Sequential(
        nn.Linear(4, 4 * 16), nn.Unflatten(1, (4, 4, 4)), nn.BatchNorm2d(4), nn.ReLU(),
        nn.ConvTranspose2d(4, 1, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip
    d = nn.Sequential(
        nn.utils.parametrizations.spectral_norm(nn.Conv2d(1, 4, 4, 2, 1)), nn.LeakyReLU(0.2),
        nn.Flatten(), nn.Linear(64, 1), *([nn.Sigmoid()] if sigmoid else []),
    )  # fmt: skip
    return g, d


@dataclass
class Loop:
    """Networks, optimizers and batches of one small training."""

    sigmoid: bool = False
    g: nn.Module = field(init=False)
    d: nn.Module = field(init=False)

    def __post_init__(self) -> None:
        self.g, self.d = small_networks(sigmoid=self.sigmoid)
        self.g_optimizer = torch.optim.Adam(self.g.parameters(), 1e-3)
        self.d_optimizer = torch.optim.Adam(self.d.parameters(), 2e-3)
        self.criterion = nn.BCELoss() if self.sigmoid else nn.BCEWithLogitsLoss()

    def balance(self, policy: str = "none", **options: Any) -> cp.Balance:
        return cp.Balance(
            self.g, self.d, self.g_optimizer, self.d_optimizer, policy=policy, **options
        )

    def batch(self) -> tuple[Tensor, Tensor]:
        return torch.rand(BATCH, 1, SIZE, SIZE) * 2 - 1, torch.randn(BATCH, 4)

    def d_part(self, real: Tensor, fake: Tensor) -> None:
        self.d_optimizer.zero_grad()
        on_real, on_fake = self.d(real), self.d(fake.detach())
        loss_real = self.criterion(on_real, torch.ones_like(on_real))
        loss_fake = self.criterion(on_fake, torch.zeros_like(on_fake))
        (loss_real + loss_fake).backward()
        self.d_optimizer.step()

    def g_part(self, fake: Tensor) -> None:
        self.g_optimizer.zero_grad()
        on_fake = self.d(fake)
        self.criterion(on_fake, torch.ones_like(on_fake)).backward()
        self.g_optimizer.step()

    def turn(self, balance: cp.Balance | None) -> None:
        real, noise = self.batch()
        fake = self.g(noise)
        if balance is not None:
            balance.d_step()
        self.d_part(real, fake)
        if balance is not None:
            balance.g_step()
        self.g_part(fake)

    def run(self, balance: cp.Balance | None, steps: int, seed: int = 1) -> None:
        torch.manual_seed(seed)
        for _ in range(steps):
            self.turn(balance)
        if balance is not None:
            balance.end_step()

    def state(self) -> list[Tensor]:
        """Everything that training changes, copied."""
        tensors = [*self.g.state_dict().values(), *self.d.state_dict().values()]
        for optimizer in (self.g_optimizer, self.d_optimizer):
            for state in optimizer.state_dict()["state"].values():
                tensors += [torch.as_tensor(value) for value in state.values()]
        return [tensor.clone() for tensor in tensors]


class Scripted:
    """A policy that answers with given actions, one per turn, and remembers what it saw."""

    def __init__(self, *actions: Action) -> None:
        self.actions = list(actions)
        self.seen: list[Signals] = []

    def observe(self, signals: Signals) -> Action:
        self.seen.append(signals)
        return self.actions.pop(0) if self.actions else NO_ACTION

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def scripted_balance(
    monkeypatch: pytest.MonkeyPatch, loop: Loop, *actions: Action, **options: Any
) -> tuple[cp.Balance, Scripted]:
    """A Balance whose policy answers with given actions, and that policy."""
    policy = Scripted(*actions)
    monkeypatch.setattr(handle, "build_policy", lambda name, given: policy)
    return loop.balance("none", **options), policy


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return len(a) == len(b) and all(map(torch.equal, a, b))


class Pyramid(nn.Module):
    """A D that answers at two scales."""

    def __init__(self, d):
        super().__init__()
        self.d = d

    def forward(self, images):
        return [self.d(images), self.d(images.flip(-1))]
