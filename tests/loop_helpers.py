"""A small hand-written loop, with and without Balance, for the tests of `anyloop`."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import counterpoise as cp
from counterpoise.anyloop import handle
from counterpoise.json_lines import read_json_lines
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


def bce(logits: Tensor, label: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def update(optimizer: torch.optim.Optimizer, loss: Tensor, **options: Any) -> None:
    """One step of gradient descent; `options` are those of the backward pass."""
    optimizer.zero_grad()
    loss.backward(**options)
    optimizer.step()


class Bare:
    """Stands where Balance does, in a loop that has none."""

    def d_step(self) -> "Bare":
        return self

    g_step = d_step

    def __enter__(self) -> "Bare":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def end_step(self) -> None:
        pass

    def logits(self, **outputs: Tensor) -> None:
        pass

    def loss(self, real: Tensor, fake: Tensor) -> Tensor:
        return real + fake

    def adversarial(self, term: Tensor) -> Tensor:
        return term


class Loop:
    """Networks, optimizers and batches of one small training.

    A turn is `d_part` and `g_part`; a test that needs others gives its own turn to `run`.
    """

    def __init__(
        self, *, sigmoid: bool = False, g: nn.Module | None = None, d: nn.Module | None = None
    ) -> None:
        own_g, own_d = small_networks(sigmoid=sigmoid)
        self.g, self.d = g or own_g, d or own_d
        self.g_optimizer = torch.optim.Adam(self.g.parameters(), 1e-3)
        self.d_optimizer = torch.optim.Adam(self.d.parameters(), 2e-3)
        self.criterion = nn.BCELoss() if sigmoid else nn.BCEWithLogitsLoss()
        self.turns = 0
        # What D said on average on real and on fake images in each turn.
        self.judged: list[tuple[float, float]] = []

    def balance(self, policy: str = "none", **options: Any) -> cp.Balance:
        return cp.Balance(
            self.g, self.d, self.g_optimizer, self.d_optimizer, policy=policy, **options
        )

    def batch(self) -> tuple[Tensor, Tensor]:
        return torch.rand(BATCH, 1, SIZE, SIZE) * 2 - 1, torch.randn(BATCH, 4)

    def images(self) -> tuple[Tensor, Tensor]:
        """Real ones, and G's."""
        real, noise = self.batch()
        return real, self.g(noise)

    def note(self, on_real: Tensor, on_fake: Tensor) -> None:
        self.judged.append((float(on_real.detach().mean()), float(on_fake.detach().mean())))

    def d_loss(self, on_real: Tensor, on_fake: Tensor) -> Tensor:
        on_ones = self.criterion(on_real, torch.ones_like(on_real))
        return on_ones + self.criterion(on_fake, torch.zeros_like(on_fake))

    def d_part(self, real: Tensor, fake: Tensor) -> None:
        on_real, on_fake = self.d(real), self.d(fake.detach())
        self.note(on_real, on_fake)
        update(self.d_optimizer, self.d_loss(on_real, on_fake))

    def g_loss(self, on_fake: Tensor) -> Tensor:
        return self.criterion(on_fake, torch.ones_like(on_fake))

    def g_part(self, fake: Tensor) -> None:
        update(self.g_optimizer, self.g_loss(self.d(fake)))

    def turn(self, balance: cp.Balance | Bare) -> None:
        real, fake = self.images()
        balance.d_step()
        self.d_part(real, fake)
        balance.g_step()
        self.g_part(fake)

    def run(
        self,
        balance: cp.Balance | None,
        steps: int,
        seed: int = 1,
        turn: Callable[..., None] | None = None,
    ) -> None:
        """Turns from a seed on; `turn(loop, balance)` may be another than the usual one."""
        torch.manual_seed(seed)
        watching = Bare() if balance is None else balance
        for _ in range(steps):
            (type(self).turn if turn is None else turn)(self, watching)
            self.turns += 1
        watching.end_step()

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


@pytest.fixture
def scripted(monkeypatch):
    """Makes the Balance of a loop whose policy answers with given actions, and that policy."""

    def make(loop: Loop, *actions: Action, **options: Any) -> tuple[cp.Balance, Scripted]:
        policy = Scripted(*actions)
        monkeypatch.setattr(handle, "build_policy", lambda name, given: policy)
        return loop.balance("none", **options), policy

    return make


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return len(a) == len(b) and all(map(torch.equal, a, b))


def rows_of(run):
    return read_json_lines(run / "signals.jsonl")[0]
