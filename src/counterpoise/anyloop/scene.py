"""What a hand-written loop did in a turn: what its checks look at. `witness.py` notes it."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from counterpoise.anyloop.tap import Call, Made, Phase
from counterpoise.game.game import Game

# Values by which tensors are compared between turns.
SAMPLES = 256
GOLDEN = 0.6180339887498949


class Sight(NamedTuple):
    """Whether a bug shows in a scene in which it could."""

    name: str
    seen: bool
    line: str = ""
    detail: str = ""
    network: str = ""  # "g" or "d", of bugs that either may have


class Networks:
    """Who plays in a game. weights: of "g" and "d", their own ones; `ids` has these' `id`.
    optimizers: each with whose it is. made_at: the user's line where all was given."""

    def __init__(self, generator: nn.Module, game: Game, made_at: str) -> None:
        self.gs = list(generator) if isinstance(generator, nn.ModuleList) else [generator]
        self._players, self.made_at = game.players, made_at
        self.ds = {name: player.network for name, player in game.players.items()}
        self.optimizers = [("g", game.g_optimizer), *(("d", each) for each in game.d_optimizers)]
        self.copy: tuple[Samples, str] | None = None  # of D, that G is trained against; its line
        self.is_relativistic = False  # whether D's hinges compare its answers on real and fake
        self.whole = {"g": generator, "d": nn.ModuleList(self.ds.values())}
        of_d = {id(p): p for p in self.whole["d"].parameters()}
        # A G may have D inside.
        of_g = {id(p): p for p in generator.parameters() if id(p) not in of_d}
        self.weights = {"g": list(of_g.values()), "d": list(of_d.values())}
        self.ids = {"g": of_g.keys(), "d": of_d.keys()}

    def objective_of(self, d: str) -> str:
        """A D's objective, "" while it is not known."""
        objective = self._players[d].objective
        return "" if objective is None else objective.name


@dataclass(eq=False)
class Pass:
    """A backward pass in D's or G's part."""

    part: Phase
    line: str
    calls: list[Call]  # whose answers it reaches, without passing D
    leaves: set[int]  # `id` of the parameters whose gradients it leaves
    roots: Sequence[Tensor]  # what it runs from, and
    outside: Sequence[Node]  # what it runs through before these calls, while it has not run
    operations: set[str]  # of these
    is_stale: bool  # whether it adds to gradients that were stepped with, or the other network left
    is_retained: bool
    factor: float  # the least by which it was multiplied
    is_scaled: bool = False  # whether its loss carries a loss scale

    @property
    def network(self) -> str:
        return self.part.network


@dataclass(eq=False)
class Slope:
    """The gradient of D's answers at images, as a penalty in D's part has it."""

    call: Call
    points: Tensor
    values: Tensor
    node: Node | None  # None without `create_graph`
    line: str
    detail: str
    is_used: bool = False
    pull: Tensor | None = None  # the penalty's own gradient at it


@dataclass
class Scene:
    """D's parts of a turn, and G's. before: the scene before it; without calls' outputs."""

    networks: Networks
    before: "Scene | None" = None
    made: list[Made] = field(default_factory=list)
    asked: list[Call] = field(default_factory=list)
    passes: list[Pass] = field(default_factory=list)
    slopes: list[Slope] = field(default_factory=list)

    def calls(self, network: str) -> list[Call]:
        """The calls of Ds with gradients on in a part."""
        return [each for each in self.asked if each.network == network and each.with_gradient]

    def past(self) -> list["Scene"]:
        """The scenes before it, the latest first."""
        return [] if self.before is None else [self.before, *self.before.past()]

    def passes_of(self, part: Phase) -> list[Pass]:
        return [each for each in self.passes if each.part is part]


class Samples:
    """Some values of weights, by which it is seen whether they have moved."""

    def __init__(self, weights: Sequence[Tensor]) -> None:
        self.weights, self._values = weights, list(map(sample_of, weights))

    def still(self) -> list[Tensor]:
        """The weights that are what they were."""
        pairs = zip(self.weights, self._values, strict=True)
        return [weight for weight, value in pairs if is_same(sample_of(weight), value)]

    def has_moved(self) -> bool:
        return len(self.still()) < len(self.weights)


def sample_of(tensor: Tensor) -> Tensor:
    """Some of a tensor's values, by which it is known again."""
    flat = tensor.detach().flatten()
    return flat[_places(len(flat), flat.device)]


@functools.cache
def _places(length: int, device: torch.device) -> Tensor:
    """Where a tensor of so many values is looked at: spread by the golden ratio, since every n-th
    value may be the border of an image, which is black in all."""
    spread = torch.arange(min(length, SAMPLES), dtype=torch.float64) * GOLDEN % 1
    return (spread * length).long().to(device)


def is_same(one: Tensor, other: Tensor) -> bool:
    """Whether two samples are of the same values."""
    return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)
