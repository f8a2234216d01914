"""Bugs that show in how long graphs live: what is kept for ever, and what is kept for nothing."""

import gc
import weakref
from collections.abc import Collection, Iterator

from torch.autograd.graph import Node

from counterpoise.anyloop.graph import marks
from counterpoise.anyloop.observed_turn import BackwardPass, Symptom

# Turns after which nothing of a graph should be left.
KEPT = 3
# Turns in a row in which more and more is left.
GROWING = 3
# Names under which marks hang on a graph's nodes.
ROOT, RETAINED = "counterpoise root", "counterpoise retained"


class _Mark:
    """Lives as long as the node that it hangs on."""

    is_used = False


class Lifetimes:
    """Marks graphs, to see how long they live, and which are run through again."""

    def __init__(self) -> None:
        self._roots: list[tuple[int, str, weakref.ref[_Mark]]] = []  # with their turn and line
        self._turn = self._alive = self._growing = 0
        self._retained: list[tuple[_Mark, str]] = []  # in this turn, and in the one before
        self._before: list[tuple[_Mark, str]] = []

    def follow(self, node: Node | None, line: str) -> None:
        """See how long what a node has made is kept."""
        if node is not None and ROOT not in marks(node):
            mark = marks(node)[ROOT] = _Mark()
            self._roots.append((self._turn, line, weakref.ref(mark)))

    def begins(self, nodes: Collection[Node], backward: BackwardPass | None = None) -> None:
        """A backward pass, or one for gradients alone, is about to run through these nodes."""
        for node in nodes:
            if (used := marks(node).get(RETAINED)) is not None:
                used.is_used = True
        if backward is None or not backward.outside:
            return
        # A loop may keep the loss, what D said, or what it was asked about.
        said = [call.outputs[number].grad_fn for call, number in backward.answers]
        judged = [call.images.grad_fn for call in backward.calls]
        for kept in {backward.outside[0], *said, *judged} & set(nodes):
            self.follow(kept, backward.line)
        if backward.is_retained:
            self._retained.append((_Mark(), backward.line))
            for node in nodes:
                if not hasattr(node, "variable"):
                    marks(node)[RETAINED] = self._retained[-1][0]

    def look(self) -> Iterator[Symptom]:
        """What shows in a turn that is over."""
        self._turn += 1
        kept = self._kept()
        # It may be kept in some turns only.
        self._growing = (self._growing + (len(kept) > max(1, self._alive))) * (
            len(kept) >= self._alive
        )
        self._alive = len(kept)
        if self._growing == GROWING:
            gc.collect()  # What waits for it is not kept by the loop.
            alive = self._kept()
            yield Symptom("memory-grows", len(alive) >= len(kept), next(iter(alive.values()), ""))
            self._growing = 0
        if self._before:
            lines = [line for mark, line in self._before if not mark.is_used]
            yield Symptom("needless-retain-graph", bool(lines), lines[0] if lines else "")
        self._before, self._retained = self._retained, []

    def _kept(self) -> dict[int, str]:
        """Turns of which graphs are left that should not be, each with a line."""
        self._roots = [each for each in self._roots if each[2]() is not None]
        return {turn: line for turn, line, _ in self._roots if turn <= self._turn - KEPT}
