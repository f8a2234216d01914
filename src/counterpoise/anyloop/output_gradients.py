"""The gradients at G's output in G's part: what comes back through each D is weighed and read."""

from typing import Any

from torch import Tensor
from torch.autograd.graph import Node

from counterpoise.anyloop.graph import walk
from counterpoise.anyloop.hooks import BACKWARD
from counterpoise.anyloop.tap import tensors_of
from counterpoise.game.sensing import Sensors
from counterpoise.game.turn import Turn


class OutputGradients:
    """What flows back to G, through each D and in all.

    Where nothing is weighed, nothing is put between G and D either: a node there would add up the
    gradients of several terms in another order, and training would not be bitwise what it is
    without. They are read where they leave D instead.
    """

    def __init__(self, sensors: Sensors) -> None:
        self._sensors = sensors
        self.in_g_part = False
        # The node that made a D's input, and which of its outputs that is, while D judges it.
        self._source: tuple[Node, int] | None = None
        self.forget()

    def forget(self) -> None:
        """A turn begins."""
        # Summed over the passes of the turn: each D's share with its scale, and all of it.
        self._adversarial: dict[str, tuple[Tensor, float]] = {}
        self._total: Tensor | None = None
        # Whether all are of one shape: not where D's input is more than G's output (a condition
        # beside it), nor where batches of several sizes were judged.
        self._comparable = True

    def read(self) -> None:
        """A turn ends: give what was seen to the sensors."""
        if self._total is not None and self._comparable:
            for d, (adversarial, scale) in self._adversarial.items():
                self._sensors.read_output(d, adversarial, self._total - adversarial, scale)
        self.forget()

    def after_g(self, images: Tensor) -> None:
        """G has made images (N, ...) with a graph: note what gradient comes back to them."""
        # A loop may make its images before it says that the next turn begins.
        if not (self._sensors.due or self._sensors.due_next):
            return

        def note(gradient: Tensor) -> None:
            # With a gradient that a loop asks `autograd.grad` for, it trains nothing.
            if self.in_g_part and self._sensors.due and BACKWARD.running:
                self._total = self._sum(self._total, gradient)

        images.register_hook(note)  # type: ignore[no-untyped-call]

    def before_d(self, images: Tensor, d: str, turn: Turn) -> Tensor:
        """A D's input in G's part, before anything is done to it."""
        self._source = None
        if images.grad_fn is None:
            return images
        scale = turn.of(d).asked.adversarial_weight_scale
        if scale != 1:
            return self._weighed(images, d, turn, scale)
        if self._sensors.due:
            self._source = images.grad_fn, images.output_nr
        return images

    def after_d(self, d: str, outputs: Any) -> None:
        """A D has answered."""
        source, self._source = self._source, None
        if source is None:
            return
        roots = [each.grad_fn for each in tensors_of(outputs) if each.grad_fn is not None]
        for node in walk(roots, stop={source[0]}):
            for place, edge in enumerate(node.next_functions):
                if edge == source:
                    self._read_at(node, place, d)

    def _read_at(self, node: Node, place: int, d: str) -> None:
        """Note the gradient that leaves a node of a D for its input."""

        def note(leaving: tuple[Tensor | None, ...], _: Any) -> None:
            gradient = leaving[place]
            if gradient is not None:
                self._add(d, gradient, 1.0)

        node.register_hook(note)

    def _weighed(self, images: Tensor, d: str, turn: Turn, scale: float) -> Tensor:
        """`images` through which only D's gradient flows back, weighed on its way."""
        way = images.view_as(images)

        def weigh(gradient: Tensor) -> Tensor | None:
            if not BACKWARD.running:
                return None  # asked of `autograd.grad`, for a weight of the loop's own
            # `part.adversarial` has weighed the term already.
            weighed = gradient if d in turn.adversarial else gradient * scale
            self._add(d, weighed, scale)
            return weighed

        way.register_hook(weigh)  # type: ignore[no-untyped-call]
        return way

    def _add(self, d: str, gradient: Tensor, scale: float) -> None:
        """A gradient that came back to a D's input, with the policy's scale in it."""
        if self._sensors.due and BACKWARD.running:
            before = self._adversarial.get(d, (None, scale))[0]
            self._adversarial[d] = self._sum(before, gradient), scale

    def _sum(self, sum_so_far: Tensor | None, gradient: Tensor) -> Tensor:
        gradient = gradient.detach().float()
        others = [each for each, _ in self._adversarial.values()]
        if self._total is not None:
            others.append(self._total)
        if any(each.shape != gradient.shape for each in others):
            self._comparable = False
            return gradient
        return gradient if sum_so_far is None else sum_so_far + gradient
