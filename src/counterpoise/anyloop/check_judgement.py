"""Bugs in what losses ask of D's answers.

How a loss pulls the answers says what it wants of them: the slope of its gradient over the answers
tells labels 0 and 1 from each other, whatever the loss is, and a loss that is saturated from one
that is not.
"""

import math
from collections.abc import Collection, Iterator

import torch
from torch import Tensor
from torch.autograd.graph import Node

from counterpoise.anyloop.graph import REARRANGING, edges_of, ends_in_sigmoid, ends_of, operation
from counterpoise.anyloop.scene import Asked, Check, Pass, Scene, Sight

# Losses that apply a sigmoid to what they are given.
SQUASHING = {"BinaryCrossEntropyWithLogits", "Softplus", "LogSigmoid", "Sigmoid"}
# What a relativistic or a turned loss does to answers before.
BETWEEN = REARRANGING | {"Neg", "Sub", "Rsub", "Mean"}
SOFTMAX = {"Softmax", "LogSoftmax"}
# How well a line fits, where the gradient depends on the answer alone.
LINE = 0.9
# Two labels are the same where they are no further apart, as a share of what there is.
SAME = 0.25


class Judgement(Check):
    """Reads the labels of losses from how they pull D's answers."""

    def __init__(self) -> None:
        self._squashed = self._over_batch = ""

    def begins(self, backward: Pass, nodes: Collection[Node]) -> None:
        ends = [
            node
            for asked in backward.asked
            for number in asked.pulls
            for node, _ in ends_of(asked.outputs[number])
        ]
        line = backward.asked[0].line if backward.asked else backward.line
        for node in backward.outside:
            if operation(node) in SQUASHING and _is_squashed(node):
                self._squashed = self._squashed or line
        for node in [*backward.outside, *ends]:
            if operation(node) in SOFTMAX and _is_over_batch(node):
                self._over_batch = self._over_batch or line

    def look(self, scene: Scene) -> Iterator[Sight]:
        if scene.passes:
            yield Sight("sigmoid-before-logits-loss", bool(self._squashed), self._squashed)
            yield Sight("softmax-over-batch", bool(self._over_batch), self._over_batch)
        self._squashed = self._over_batch = ""
        for d in {call.d for call in scene.asked}:
            for number in range(max(len(call.outputs) for call in scene.asked if call.d == d)):
                yield from _labels(scene, d, number)


def _labels(scene: Scene, d: str, number: int) -> Iterator[Sight]:
    """What D's and G's loss want of one of D's outputs."""
    pulled = [c for c in scene.asked if c.d == d and c.pulls.get(number) is not None]
    pulled = [call for call in pulled if number not in call.classes]
    in_d = [call for call in pulled if call.network == "d"]
    in_g = [call for call in pulled if call.network == "g" and call.made is not None]
    fakes = [call for call in in_d if call.made is not None]
    reals = [call for call in in_d if call.made is None or call.has_both]
    asks_g = _one([_label(call, number, fake=True) for call in in_g])
    asks_fake = _one([_label(call, number, fake=True) for call in fakes])
    asks_real = _one([_label(call, number, fake=False) for call in reals])
    if in_g:
        concave = [_is_concave(call, number) for call in in_g]
        yield Sight("saturating-loss", all(concave), in_g[-1].line)
    if asks_fake is None or asks_real is None:
        return
    labels = asks_real, asks_fake
    # A D that answers with its own loss has all of that brought down: it is never below 0.
    own = all(bool((call.outputs[number] >= 0).all()) for call in in_d)
    same = _is_same(*labels, (*labels, 0.0)) and not (own and asks_real == -math.inf)
    yield Sight("fake-labelled-real", same, fakes[-1].line)
    if asks_g is None:
        return
    helps = not same and _is_same(asks_g, asks_fake, labels)
    yield Sight("labels-swapped", helps and asks_fake > asks_real, fakes[-1].line)
    yield Sight("g-helps-d", helps and asks_fake < asks_real, in_g[-1].line)


def _points(call: Asked, number: int, *, fake: bool) -> tuple[Tensor, Tensor]:
    """Answers on one kind of images, and the loss' gradient at them."""
    answers, gradient = call.outputs[number].detach(), call.pulls[number]
    assert gradient is not None
    if len(answers) != len(call.images):
        return answers.new_zeros(0), answers.new_zeros(0)
    if call.made is not None and call.has_both:
        pairs = [call.real_rows(answers), call.real_rows(gradient)]
        if fake:
            pairs = [answers[call.rows], gradient[call.rows]]
        answers, gradient = pairs
    return answers.double().cpu().flatten(), gradient.double().cpu().flatten()


def _line(x: Tensor, y: Tensor) -> tuple[float, float]:
    """The slope of a line through points, and their correlation."""
    x, y = x - x.mean(), y - y.mean()
    spread = float((x * x).sum() * (y * y).sum()) ** 0.5
    if not spread > 0:
        return 0.0, 0.0
    return float((x * y).sum() / (x * x).sum()), float((x * y).sum()) / spread


def _label(call: Asked, number: int, *, fake: bool) -> float | None:
    """The answer that a loss asks for: where the line of its gradient is 0, or beyond all."""
    answers, gradient = _points(call, number, fake=fake)
    if not bool(gradient.any()) or not bool(torch.isfinite(gradient).all()):
        return None
    slope, fit = _line(answers, gradient)
    if fit > LINE and slope * float(answers.std(correction=0)) > 1e-4 * float(
        gradient.abs().mean()
    ):
        return float(answers.mean() - gradient.mean() / slope)
    mean = float(gradient.mean())
    one_way = abs(mean) > LINE * float(gradient.abs().mean())
    return math.copysign(math.inf, -mean) if one_way else None


def _is_concave(call: Asked, number: int) -> bool:
    """Whether a loss pulls the less, the further an answer is from what it asks for."""
    answers, gradient = _points(call, number, fake=True)
    slope, fit = _line(answers, gradient)
    least = 1e-4 * float(gradient.abs().mean())
    return fit < -LINE and -slope * float(answers.std(correction=0)) > least


def _is_same(one: float, other: float, scale: tuple[float, ...]) -> bool:
    if math.isinf(one) or math.isinf(other):
        return one == other
    finite = [each for each in scale if math.isfinite(each)]
    return abs(one - other) <= SAME * (max(finite) - min(finite) if len(finite) > 1 else 1.0)


def _one(labels: list[float | None]) -> float | None:
    """The label that all agree on."""
    known = [label for label in labels if label is not None]
    if not known or len(known) < len(labels):
        return None
    first = known[0]
    return (
        first if all(_is_same(first, each, (0.0, max(1.0, abs(first)))) for each in known) else None
    )


def _is_squashed(node: Node) -> bool:
    below = next((each for each, _ in edges_of(node)), None)
    return ends_in_sigmoid(below, BETWEEN)


def _is_over_batch(node: Node) -> bool:
    """Whether a softmax runs over the first dimension."""
    result = node._saved_result  # type: ignore[attr-defined]
    dimension = int(node._saved_dim)  # type: ignore[attr-defined]
    # Negative numbers are shown as if they had no sign.
    dimension -= 2**64 * (dimension >= 2**63)
    return bool(dimension % max(1, result.ndim) == 0)
