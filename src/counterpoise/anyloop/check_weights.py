"""Bugs of copies of networks: an average of G's weights, and a D that G is trained against."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from types import ModuleType
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import Node

from counterpoise.anyloop.hooks import FRAMES, user_frames, user_line
from counterpoise.anyloop.observed_turn import (
    BackwardPass,
    Networks,
    ObservedTurn,
    Samples,
    Symptom,
)

# What people call an average, and what holds one.
NAMES = re.compile(
    r"ema|av(g|erage)|accum|mean|shadow|slow|smooth|running|swa|polyak|target|(^|_)gs$",
    re.IGNORECASE,
)
# Turns in which it is looked for.
SEARCHES = 2
# Where operations keep the weights that they were computed with.
WEIGHTS = ("_saved_weight", "_saved_mat2", "variable")


class Averages:
    """Looks for weights like G's among the names of the loop, and whether they change."""

    def __init__(self, generators: Sequence[nn.Module]) -> None:
        self._gs = [list(g.parameters()) for g in generators]
        self._searches = 0
        # Averages by name, as they were when they were found, and their Gs.
        self._found: dict[str, tuple[Samples, Samples]] = {}

    @property
    def has_any(self) -> bool:
        """Whether there is an average."""
        return bool(self._found)

    def look(self) -> Iterator[Symptom]:
        """What shows in a turn that is over."""
        for name, (average, its_g) in self._found.items():
            frozen = its_g.has_moved() and not average.has_moved()
            yield Symptom("ema-frozen", frozen, user_line(), f"`{name}`", name)
        if not self._found and self._searches < SEARCHES:
            self._searches += 1
            own = [weight for g in self._gs for weight in g]
            for name, value in _names():
                weights = _others(_weights(value), own) if NAMES.search(name) else []
                for g in self._gs:
                    if weights and _is_like(weights, g):
                        self._found[name] = Samples(weights), Samples(g)


def find_copy(networks: Networks, backward: BackwardPass, nodes: Collection[Node]) -> None:
    """Note weights of a D, and others like them, in a backward pass of G's part."""
    if networks.copy is not None or backward.network == "d":
        return
    saved = [getattr(node, name, None) for node in nodes for name in WEIGHTS]
    of_d = {weight.data_ptr() for weight in networks.weights["d"]}
    backward.uses_d = any(isinstance(w, Tensor) and w.data_ptr() in of_d for w in saved)
    own = [weight for weights in networks.weights.values() for weight in weights]
    weights = _others([each for each in saved if isinstance(each, Tensor)], own)
    for d in networks.ds.values():
        wanted = [p for p in d.parameters() if p.ndim > 1]
        if wanted and _is_like(weights, wanted):
            networks.copy = Samples(weights), backward.line


def copied(turn: ObservedTurn) -> Iterator[Symptom]:
    """G is trained against a copy of D."""
    copy = turn.networks.copy
    if copy and turn.calls("d") and not any(call.has_graph for call in turn.calls("g")):
        yield Symptom("stale-discriminator", not copy[0].has_moved(), copy[1])


def _others(weights: Sequence[Tensor], own: Sequence[Tensor]) -> list[Tensor]:
    """Weights that are not among a network's own, each once."""
    places = {weight.data_ptr() for weight in own}
    others = {w.data_ptr(): w for w in weights if w.data_ptr() not in places}
    return list(others.values())


def _is_like(weights: Sequence[Tensor], network: Sequence[Tensor]) -> bool:
    """Whether there are weights of the sizes of a network's among these."""
    sizes = [Counter(weight.numel() for weight in each) for each in (network, weights)]
    return sizes[0] <= sizes[1]


def _names() -> Iterator[tuple[str, Any]]:
    """What the loop has names for, and the attributes of its objects."""
    for frame in islice(user_frames(), FRAMES):
        yield from frame.f_globals.items()
        for name, value in frame.f_locals.items():
            yield name, value
            if isinstance(value, nn.Module):
                yield from ((f"{name}.{key}", each) for key, each in value.named_children())
            if not isinstance(value, type | Tensor | ModuleType):
                inner = getattr(value, "__dict__", {})
                yield from ((f"{name}.{key}", each) for key, each in inner.items())


def _weights(value: Any) -> list[Tensor]:
    if isinstance(value, nn.Module):
        return list(value.parameters())
    values = value.values() if isinstance(value, Mapping) else value
    if not isinstance(value, Mapping | list | tuple):
        return []
    return [each for each in values if isinstance(each, Tensor)]
