"""What every training of the study has in common: how it is called, and how it is measured."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import counterpoise as cp

Measures = dict[str, float]

# After which shares of the turns a training is measured: one moment of a GAN tells little.
MARKS = (0.85, 1.0)


@dataclass(frozen=True)
class Trial:
    """One training. `data` is the folder of photographs and weights; `turns` None: the game's."""

    policy: str
    seed: int
    data: Path
    turns: int | None = None


class Course:
    """The turns of a training, of which G is measured on the way without changing it."""

    def __init__(
        self, turns: int, balance: cp.Balance, g: nn.Module, measure: Callable[[], Measures]
    ) -> None:
        self._turns, self._balance, self._g, self._measure = turns, balance, g, measure
        self._found: list[Measures] = []

    def turns(self) -> Iterator[int]:
        """Number the turns, from 1; measure after those of `MARKS`; close Balance after the last.

        To measure, G is in evaluation mode, without gradients.
        """
        marks = {round(self._turns * mark) for mark in MARKS}
        for turn in range(1, self._turns + 1):
            yield turn
            if turn in marks:
                state = torch.get_rng_state()
                self._g.eval()
                with torch.no_grad():
                    self._found.append(self._measure())
                self._g.train()
                torch.set_rng_state(state)
        self._balance.close()

    def measures(self) -> Measures:
        """Each measure's mean over the marks."""
        count = len(self._found)
        return {name: sum(row[name] for row in self._found) / count for name in self._found[0]}


def bce(logits: Tensor, label: float) -> Tensor:
    """Binary cross-entropy against one label for all."""
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def adam(
    networks: nn.Module | list[nn.Module],
    learning_rate: float,
    betas: tuple[float, float] = (0.5, 0.999),
) -> torch.optim.Adam:
    """One optimizer for one network or several."""
    parameters = nn.ModuleList(networks if isinstance(networks, list) else [networks]).parameters()
    return torch.optim.Adam(parameters, learning_rate, betas=betas)
