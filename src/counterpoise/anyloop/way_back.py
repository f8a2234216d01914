"""The way back from D to G's images in G's part: the adversarial gradient is weighed and read."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor
from torch.autograd.graph import Node

from counterpoise.anyloop.graph import nodes_from
from counterpoise.anyloop.hooks import BACKWARD
from counterpoise.anyloop.measure import Measurements
from counterpoise.anyloop.turn import Turn


class WayBack:
    """What flows back to G through D's input, as the action weighs it, noted for the sensors.

    Where nothing is weighed, nothing is put between G and D either: a node there would add up the
    gradients of several terms in another order, and training would not be bitwise what it is
    without. They are read where they leave D instead.
    """

    def __init__(self, measure: Measurements) -> None:
        self._measure = measure
        # The node that made D's input, and which of its outputs that is, while D judges it.
        self._source: tuple[Node, int] | None = None

    def before_d(self, images: Tensor, turn: Turn) -> Tensor:
        """D's input in G's part, before anything is done to it."""
        self._source = None
        if images.grad_fn is None:
            return images
        scale = turn.decided.adversarial_weight_scale
        if scale != 1:
            return self._weighed(images, turn, scale)
        if self._measure.due:
            self._source = images.grad_fn, images.output_nr
        return images

    def after_d(self, outputs: Any) -> None:
        """D has answered."""
        source, self._source = self._source, None
        if source is None:
            return
        roots = [each.grad_fn for each in _tensors(outputs) if each.grad_fn is not None]
        for node in nodes_from(roots, stop={source[0]}):
            for place, edge in enumerate(node.next_functions):
                if edge == source:
                    self._read_at(node, place)

    def _read_at(self, node: Node, place: int) -> None:
        """Note the gradient that leaves a node of D for D's input."""

        def note(leaving: tuple[Tensor | None, ...], _: Any) -> None:
            gradient = leaving[place]
            if gradient is not None:
                self._measure.adversarial_gradient(gradient, 1.0)

        node.register_hook(note)

    def _weighed(self, images: Tensor, turn: Turn, scale: float) -> Tensor:
        """`images` through which only D's gradient flows back, weighed on its way."""
        way = images.view_as(images)

        def weigh(gradient: Tensor) -> Tensor | None:
            if not BACKWARD.running:
                return None  # asked of `autograd.grad`, for a weight of the loop's own
            # `step.adversarial` has weighed the term already.
            weighed = gradient if turn.g_adversarial else gradient * scale
            self._measure.adversarial_gradient(weighed, scale)
            return weighed

        way.register_hook(weigh)  # type: ignore[no-untyped-call]
        return way


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors of an answer, which may be a list or a dictionary of them."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)
