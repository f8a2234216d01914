"""The bug of an average of G's weights that does not move."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from counterpoise.anyloop.hooks import user_frames, user_line
from counterpoise.anyloop.scene import Samples, Sight

# What people call an average, and what holds one.
NAMES = re.compile(
    r"ema|av(g|erage)|accum|mean|shadow|slow|smooth|running|swa|polyak|target|(^|_)gs$",
    re.IGNORECASE,
)
# Frames of the user's, from the innermost, whose names are looked at.
FRAMES = 6


class Averages:
    """Looks for weights like G's among the names of the loop, and whether they change."""

    def __init__(self, generators: Sequence[nn.Module]) -> None:
        self._gs = [list(g.parameters()) for g in generators]
        self._searches = 2
        # Averages by name, as they were when they were found, and their Gs.
        self._found: dict[str, tuple[Samples, Samples]] = {}

    @property
    def has_any(self) -> bool:
        """Whether there is an average."""
        return bool(self._found)

    def look(self) -> Iterator[Sight]:
        """What shows in a turn that is over."""
        for name, (average, g) in self._found.items():
            frozen = g.has_moved() and not average.has_moved()
            yield Sight("ema-frozen", frozen, user_line(), f"`{name}`", name)
        if not self._found and self._searches:
            self._searches -= 1
            self._search()

    def _search(self) -> None:
        places = {weight.data_ptr() for g in self._gs for weight in g}
        for name, value in _names():
            if not NAMES.search(name):
                continue
            weights = [w for w in _weights(value) if w.data_ptr() not in places]
            shapes = Counter(weight.shape for weight in weights)
            for g in self._gs:
                if Counter(weight.shape for weight in g) <= shapes:
                    self._found[name] = Samples(weights), Samples(g)


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
