"""Bugs that show in how long graphs live: what is kept for ever, and what is kept for nothing."""

import gc
import weakref
from collections.abc import Collection, Iterator

from torch.autograd.graph import Node

from counterpoise.anyloop.scene import Pass, Sight

# Scenes after which nothing of a graph should be left.
KEPT = 3
# Turns in a row in which more and more is left.
GROWING = 4
# Names under which marks hang on a graph's nodes.
ROOT, RETAINED = "counterpoise root", "counterpoise retained"


class _Mark:
    """Lives as long as the node that it hangs on."""

    is_used = False


def _marks(node: Node) -> dict[str, _Mark]:
    marks: dict[str, _Mark] = node.metadata  # type: ignore[assignment]
    return marks


class Lifetimes:
    """Marks graphs, to see how long they live, and which are run through again."""

    def __init__(self) -> None:
        self._roots: list[tuple[int, str, weakref.ref[_Mark]]] = []  # with their scene and line
        self._scene = self._alive = self._growing = 0
        self._nodes: list[Node] = []
        self._retained: list[tuple[_Mark, str]] = []  # in this scene, and in the one before
        self._before: list[tuple[_Mark, str]] = []

    def begins(self, backward: Pass | None, nodes: Collection[Node]) -> None:
        """A backward pass is about to run through these nodes; None: one for gradients alone."""
        for node in nodes:
            if (mark := _marks(node).get(RETAINED)) is not None:
                mark.is_used = True
        if backward is not None and backward.outside:
            self._nodes = [node for node in nodes if not hasattr(node, "variable")]
            mark = _marks(backward.outside[0])[ROOT] = _Mark()
            self._roots.append((self._scene, backward.line, weakref.ref(mark)))

    def ran(self, backward: Pass) -> None:
        """It has run."""
        if backward.is_retained:
            mark = _Mark()
            self._retained.append((mark, backward.line))
            for node in self._nodes:
                _marks(node)[RETAINED] = mark
        self._nodes = []

    def look(self) -> Iterator[Sight]:
        """What shows in a turn that is over."""
        self._scene += 1
        self._roots = [each for each in self._roots if each[2]() is not None]
        old = self._scene - KEPT
        kept = {number: line for number, line, _ in self._roots if number <= old}
        self._growing = self._growing + 1 if len(kept) > max(1, self._alive) else 0
        self._alive = len(kept)
        if self._growing == GROWING:
            gc.collect()  # What waits for it is not kept by the loop.
            alive = [line for number, line, mark in self._roots if number <= old and mark()]
            yield Sight("memory-grows", len(alive) >= len(kept), next(iter(alive), ""))
            self._growing = 0
        if self._before:
            lines = [line for mark, line in self._before if not mark.is_used]
            yield Sight("needless-retain-graph", bool(lines), lines[0] if lines else "")
        self._before, self._retained = self._retained, []
