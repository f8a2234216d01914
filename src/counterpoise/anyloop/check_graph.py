"""Bugs that graphs show: what does not reach G, who is asked, and what is kept for nothing."""

import gc
import weakref
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping

from torch import Tensor, nn
from torch.autograd.graph import Node

from counterpoise.anyloop.scene import Asked, Check, Pass, Scene, Sight, is_same, sample_of

# Scenes after which nothing of a graph should be left.
KEPT = 3
# Turns in a row in which more and more is left.
GROWING = 4
# Where operations keep the weights that they were computed with.
WEIGHTS = ("_saved_weight", "_saved_mat2", "variable")
# Names under which marks hang on a graph's nodes.
ROOT, RETAINED = "counterpoise root", "counterpoise retained"


class _Mark:
    """Lives as long as the node that it hangs on."""

    is_used = False


def _marks(node: Node) -> dict[str, _Mark]:
    marks: dict[str, _Mark] = node.metadata  # type: ignore[assignment]
    return marks


class Lifetimes(Check):
    """Marks graphs, to see how long they live, and which are run through again."""

    def __init__(self) -> None:
        self._roots: list[tuple[int, str, weakref.ref[_Mark]]] = []  # with their scene and line
        self._scene = self._alive = self._growing = 0
        self._nodes: list[Node] = []
        self._retained: list[tuple[_Mark, str]] = []  # in this scene, and in the one before
        self._before: list[tuple[_Mark, str]] = []

    def begins(self, backward: Pass, nodes: Collection[Node]) -> None:
        for node in nodes:
            if (mark := _marks(node).get(RETAINED)) is not None:
                mark.is_used = True
        if backward.network and backward.outside:
            self._nodes = [node for node in nodes if not hasattr(node, "variable")]
            mark = _marks(backward.outside[0])[ROOT] = _Mark()
            self._roots.append((self._scene, backward.line, weakref.ref(mark)))

    def ran(self, backward: Pass) -> None:
        if backward.is_retained:
            mark = _Mark()
            self._retained.append((mark, backward.line))
            for node in self._nodes:
                _marks(node)[RETAINED] = mark
        self._nodes = []

    def look(self, scene: Scene) -> Iterator[Sight]:
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


class Players(Check):
    """Sees which Ds are asked in which part, and what of their answers reaches G. g_weights: G's;
    uses_real: whether G's loss is of D's answers on real images too, None where that is not
    known."""

    def __init__(
        self,
        g_weights: Collection[Tensor],
        discriminators: Mapping[str, nn.Module],
        uses_real: Callable[[str], bool | None],
    ) -> None:
        self._g_weights = {id(weight) for weight in g_weights}
        self._ds, self._uses_real = discriminators, uses_real
        own = [weight for d in discriminators.values() for weight in d.parameters()]
        self._places = {weight.data_ptr() for weight in [*own, *g_weights]}
        self._copy: tuple[str, list[Tensor]] | None = None  # weights like D's that are not D's
        self._copy_before: list[Tensor] = []

    def begins(self, backward: Pass, nodes: Collection[Node]) -> None:
        if backward.network != "g" or any(each.network == "g" for each in backward.asked):
            return
        found = {}
        for node in nodes:
            for weight in (getattr(node, name, None) for name in WEIGHTS):
                if isinstance(weight, Tensor) and weight.data_ptr() not in self._places:
                    found[weight.data_ptr()] = weight
        sizes = Counter(weight.numel() for weight in found.values())
        for d in self._ds.values():
            wanted = Counter(p.numel() for p in d.parameters() if p.ndim > 1)
            if wanted and wanted <= sizes:
                own = [sample_of(found[key]) for key in sorted(found)]
                self._copy = backward.line, own

    def look(self, scene: Scene) -> Iterator[Sight]:
        in_d, in_g = scene.calls("d"), scene.calls("g")
        for d in {call.d for call in in_d}:
            calls = [call for call in in_d if call.d == d]
            frozen = all(call.is_frozen for call in calls)
            yield Sight("frozen-discriminator", frozen, calls[-1].line, d and f"D '{d}'")
        if self._copy is not None and in_d and not any(call.has_graph for call in in_g):
            line, own = self._copy
            same = len(own) == len(self._copy_before) and all(map(is_same, own, self._copy_before))
            yield Sight("stale-discriminator", same, line)
            self._copy, self._copy_before = None, own
        yield from self._places_taken(in_d, in_g)
        if any(p.network == "g" and self._g_weights & set(p.leaves) for p in scene.passes):
            yield from self._without_gradient(scene)

    def _places_taken(self, in_d: list[Asked], in_g: list[Asked]) -> Iterator[Sight]:
        for calls, others in ((in_d, in_g), (in_g, in_d)):
            own = Counter(call.d for call in calls if call.made is not None)
            other = Counter(call.d for call in others if call.made is not None)
            if own and other and len(self._ds) > 1:
                missing = [d for d in self._ds if d in other and d not in own]
                taken = bool(missing) and max(own.values()) > max(other.values())
                detail = f"D '{missing[0]}'" if missing else ""
                yield Sight("wrong-discriminator", taken, calls[-1].line, detail)

    def _without_gradient(self, scene: Scene) -> Iterator[Sight]:
        """What G's loss reaches of Ds' answers on G's images, beside what D's loss does."""
        for d in self._ds:
            calls = [call for call in scene.asked if call.network == "g" and call.d == d]
            fakes = [call for call in calls if call.made is not None]
            judged = [call for call in scene.calls("d") if call.d == d and call.pulls]
            if not fakes or not judged:
                continue
            scores = {number for call in judged for number in call.pulls}
            alike = all(len(call.outputs) == len(judged[0].outputs) for call in calls)
            reached = {number for call in fakes if call.has_graph for number in call.pulls}
            lost = not reached or (alike and not reached & scores)
            yield Sight("adversarial-without-gradient", lost, fakes[-1].line)
            asks_real = any(call.made is None for call in calls)
            features = alike and len(judged[0].outputs) > len(scores)
            if features and asks_real and self._uses_real(d) is False:
                unmatched = not lost and reached <= scores
                yield Sight("feature-matching-without-gradient", unmatched, fakes[-1].line)
