"""What a hand-written loop did in a turn: what its checks look at. `witness.py` notes it."""

import functools
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import Node

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


@dataclass(eq=False)
class Made:
    """A call of a G."""

    g: int  # its number
    images: Tensor
    inputs: list[Tensor]  # samples of them
    varied: list[bool]  # whether an input differs between the images
    with_gradient: bool
    line: str
    bounds: tuple[float, float] | None  # of the values that G can make
    judged_in: set[str] = field(default_factory=set)  # the parts in which a D was asked of them


@dataclass(eq=False)
class Asked:
    """A call of a D in D's or G's part (`network`)."""

    network: str
    d: str
    images: Tensor
    sample: Tensor
    outputs: list[Tensor]  # with their graph
    with_gradient: bool
    is_frozen: bool
    has_graph: bool  # whether its input has one
    line: str
    made: Made | None = None  # what G made of the images, if any: these rows and channels of them,
    rows: slice = field(default_factory=lambda: slice(0, 0))
    channels: slice = field(default_factory=lambda: slice(None))
    scale: tuple[float, float] = (1.0, 0.0)  # times this, plus that
    # By an output's number, of those that a loss reaches without passing D: the gradient there.
    pulls: dict[int, Tensor | None] = field(default_factory=dict)
    # Outputs that are classes of an image.
    classes: set[int] = field(default_factory=set)
    is_between: bool = False  # its images are asked for a penalty's gradient

    @property
    def has_both(self) -> bool:
        """Whether there are real images beside what G made."""
        return bool(self.rows.stop - self.rows.start < len(self.images))

    def real_rows(self, values: Tensor) -> Tensor:
        """Those of a tensor that are not of what G made."""
        return torch.cat([values[: self.rows.start], values[self.rows.stop :]])


@dataclass(eq=False)
class Pass:
    """A backward pass in D's or G's part."""

    network: str
    leaves: Collection[int]  # `id` of the parameters whose gradients it leaves
    asked: list[Asked]  # whose answers it reaches, without passing D
    outside: list[Node]  # what it runs through before these
    operations: set[str]  # of these
    line: str
    is_retained: bool = False
    factor: float = 1.0  # the least by which it was multiplied


@dataclass(eq=False)
class Slope:
    """The gradient of D's answers at images, as a penalty in D's part has it."""

    asked: Asked
    points: Tensor
    values: Tensor
    node: Node | None  # None without `create_graph`
    line: str
    is_used: bool = False
    pull: Tensor | None = None  # the penalty's own gradient at it


@dataclass
class Scene:
    """D's parts of a turn, and G's."""

    made: list[Made] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    passes: list[Pass] = field(default_factory=list)
    slopes: list[Slope] = field(default_factory=list)

    def calls(self, network: str) -> list[Asked]:
        """The calls of Ds with gradients on in a part."""
        return [each for each in self.asked if each.network == network and each.with_gradient]


class Check:
    """Looks for bugs. Whatever it raises ends the check, not the loop."""

    def begins(self, backward: Pass, nodes: Collection[Node]) -> None:
        """A backward pass is about to run through these nodes."""

    def ran(self, backward: Pass) -> None:
        """It has run."""

    def look(self, scene: Scene) -> Iterator[Sight]:
        """What shows in a turn that is over."""
        yield from ()

    def close(self) -> None:
        """Let go of everything."""


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
