"""Reading from D's loss which of D's outputs are on real images and which on fake ones.

What a loss reaches of D's answers is its adversarial output, whatever else D returns; which way the
loss pulls it says of which images it is. Where it can be seen that a G made the images, that says
it, and the loss says whether D is trained to score real images above fake ones, as all numbers here
suppose.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from counterpoise.anyloop.graph import walk
from counterpoise.anyloop.hooks import ENGINE
from counterpoise.anyloop.network_hooks import INSIDE, DCall, floats_of
from counterpoise.anyloop.pulls import Pattern, Region


@dataclass(frozen=True)
class AskLikeCall:
    """Asks D again, as a call did: with other images (N, ...), and the same beside them, in the
    type of D's weights, since it is asked without the loop's autocast."""

    call: DCall
    region: Region

    def __call__(self, d: nn.Module, images: Tensor) -> Tensor:
        dtype = next((weight.dtype for weight in d.parameters()), images.dtype)
        arguments = {
            place: images if place == self.region.place else self._beside(value, len(images))
            for place, value in self.call.arguments.items()
        }
        for place, value in arguments.items():
            if isinstance(value, Tensor) and value.is_floating_point():
                arguments[place] = value.to(dtype)
        args = [value for place, value in arguments.items() if isinstance(place, int)]
        options = {place: value for place, value in arguments.items() if isinstance(place, str)}
        return joined([floats_of(d(*args, **options))[each] for each in self.region.tensors])

    def _beside(self, value: Any, count: int) -> Any:
        """What is given beside images, as often as there are any."""
        if not isinstance(value, Tensor):
            return value
        if value.ndim and len(value) == len(self.call.images):
            value = self.region.of(value)
            value = value.repeat(count // len(value), *[1] * (value.ndim - 1))
        return value.detach()


@dataclass
class Side:
    """What D says of one kind of images."""

    outputs: Tensor  # with their graph
    tensors: list[Tensor]  # that they are made of, as D gave them
    images: Tensor | None = None  # detached; None where they are not known
    ask: AskLikeCall | None = None  # None where D cannot be asked about others

    @property
    def alone(self) -> bool:
        """Whether D needs nothing but images."""
        return self.ask is not None and len(self.ask.call.arguments) == 1


def side_of(
    kind: str, calls: Sequence[DCall], pattern: Pattern, given: Tensor | None
) -> Side | None:
    """What D says of a kind of images in calls that are to be read so, None where that cannot be
    seen; `given` is what the loop says that it is."""
    own = [(c, each[kind]) for c, each in zip(calls, pattern, strict=False) if kind in each]
    if given is not None:
        side = Side(given, [given])
    elif own:
        tensors = [call.outputs[number] for call, each in own for number in each.tensors]
        # Those of a call beside each other, those of several calls below.
        parts = [joined([each.of(call.outputs[n]) for n in each.tensors]) for call, each in own]
        alike = [part for part in parts if part.shape[1:] == parts[0].shape[1:]]
        side = Side(alike[0] if len(alike) == 1 else torch.cat(alike), tensors)
    else:
        return None
    if own:
        # The images that the first of the calls was on, and how D is asked as in it.
        call, region = own[0]
        side.images = region.of(call.arguments[region.place]).detach()
        side.ask = None if region.place == INSIDE else AskLikeCall(call, region)
    return side


def note_gradients(
    calls: Sequence[DCall], roots: Sequence[Tensor], weights: Sequence[Tensor | None]
) -> None:
    """These losses are about to be back-propagated, times `weights`: add up, as their `gradients`,
    how they pull the answers of D's calls."""
    given = [(r, w) for r, w in zip(roots, weights, strict=True) if r.grad_fn is not None]
    reached = loss_of(calls, [root for root, _ in given])[0]
    if not reached:
        return
    try:
        with ENGINE.unheard():
            found = torch.autograd.grad(
                [root for root, _ in given],
                [call.outputs[number] for call, number in reached],
                [torch.ones_like(root) if weight is None else weight for root, weight in given],
                retain_graph=True,
                allow_unused=True,
            )
    except RuntimeError:
        return  # a loss that is compiled may run backwards only once
    for (call, number), gradient in zip(reached, found, strict=True):
        if gradient is not None:
            before = call.gradients.get(number)
            call.gradients[number] = gradient if before is None else before + gradient


def loss_of(
    calls: Sequence[DCall], values: Sequence[Tensor]
) -> tuple[list[tuple[DCall, int]], list[Node]]:
    """The answers of calls that values were made of, each a call and the number of its output: not
    what lies behind these, nor what only a penalty on D's gradient was made of. And the operations
    between."""
    made_by: dict[Node, list[tuple[DCall, int]]] = {}
    for call in calls:
        for number, each in enumerate(call.outputs):
            if each.grad_fn is not None:
                made_by.setdefault(each.grad_fn, []).append((call, number))
    stop, answers, between = set(made_by), [], []
    for node in walk([value.grad_fn for value in values if value.grad_fn is not None], stop):
        if node in made_by:
            answers += made_by[node]
            continue
        between.append(node)
        if "BackwardBackward" in node.name():
            stop.add(node)
    return answers, between


def joined(tensors: Sequence[Tensor]) -> Tensor:
    """Several outputs on the same images as one tensor (N, values)."""
    if len(tensors) == 1:
        return tensors[0]
    return torch.cat([each.reshape(len(each), -1) for each in tensors], 1)
