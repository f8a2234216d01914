"""Bugs in what losses ask of D's answers.

How a loss pulls the answers says what it wants of them: the slope of its gradient over the answers
tells labels 0 and 1 from each other, whatever the loss is, and a loss that is saturated from one
that is not.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.autograd.graph import Node

from counterpoise.anyloop.graph import (
    REARRANGING,
    edges_of,
    ends_in_sigmoid,
    ends_of,
    operation,
    walk,
)
from counterpoise.anyloop.read_objective import infer_objective
from counterpoise.anyloop.scene import Networks, Pass, Scene, Sight
from counterpoise.anyloop.tap import FAKE, REAL, Call

# Losses that apply a sigmoid to what they are given.
SQUASHING = {"BinaryCrossEntropyWithLogits", "Softplus", "LogSigmoid", "Sigmoid"}
# What a relativistic or a turned loss does to answers before.
BETWEEN = REARRANGING | {"Neg", "Sub", "Rsub", "Mean"}
SOFTMAX = {"Softmax", "LogSoftmax"}
HINGES = {"Relu", "ClampMin", "Clamp", "Threshold", "Maximum"}
MARGINS = {"Add", "Sub", "Rsub"}
# How well a line fits, where the gradient depends on the answer alone.
LINE = 0.9
# Two labels are the same where they are no further apart, as a share of what there is.
SAME = 0.25


def of_operations(networks: Networks, backward: Pass) -> Iterator[Sight]:
    """What a loss does with D's answers, before it is back-propagated."""
    answers = [(call, call.outputs[number]) for call in backward.calls for number in call.gradients]
    ends = [node for _, answer in answers for node, _ in ends_of(answer)]
    line = backward.calls[0].line if backward.calls else backward.line
    is_hinge = backward.network == "d" and "Log" not in backward.operations
    for node in backward.outside:
        below = next((each for each, _ in edges_of(node)), None)
        if operation(node) in SQUASHING and ends_in_sigmoid(below, BETWEEN):
            yield Sight("sigmoid-before-logits-loss", True, line)
        if operation(node) in SOFTMAX and ends_in_sigmoid(below):
            yield Sight("softmax-twice", True, line)
        # What a hinge takes off its margin; that of a logarithm is kept from 0 alike.
        if is_hinge and below is not None and operation(node) in HINGES:
            if operation(below) in MARGINS and ends_in_sigmoid(below, BETWEEN | MARGINS):
                yield Sight("hinge-on-sigmoid", True, line)
            reached = set(walk([node], set(ends)))
            kinds = [call.kinds for call, answer in answers if answer.grad_fn in reached]
            networks.is_relativistic |= len(set().union(*kinds)) > 1
    objectives = {networks.objective_of(call.d) for call in backward.calls}
    # Codecs of several scales (SoundStream, EnCodec) have it by design.
    is_plain = all(call.from_g and len(call.outputs) == 1 for call in backward.calls)
    is_plain &= not networks.is_relativistic
    if backward.network == "g" and is_plain and objectives == {"hinge"}:
        read = infer_objective(backward.roots, [[answer for _, answer in answers]])
        if read is not None and read.name == "hinge":
            yield Sight("hinge-in-g", True, backward.line)
    for node in [*backward.outside, *ends]:
        if operation(node) in SOFTMAX and _is_over_batch(node):
            yield Sight("softmax-over-batch", True, line)


def labels(scene: Scene) -> Iterator[Sight]:
    """What D's and G's loss want of D's outputs."""
    for d in {call.d for call in scene.asked}:
        for number in range(max(len(call.outputs) for call in scene.asked if call.d == d)):
            yield from _labels(scene, d, number)


def _labels(scene: Scene, d: str, number: int) -> Iterator[Sight]:
    """What D's and G's loss want of one of D's outputs."""
    pulled = [c for c in scene.asked if c.d == d and number in c.gradients]
    pulled = [call for call in pulled if number not in call.classes]
    in_d = [call for call in pulled if call.network == "d"]
    in_g = [call for call in pulled if call.network == "g" and call.found is not None]
    fakes = [call for call in in_d if call.found is not None]
    reals = [call for call in in_d if not call.from_g]
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


def _points(call: Call, number: int, *, fake: bool) -> tuple[Tensor, Tensor]:
    """Answers on one kind of images, and the loss' gradient at them."""
    answers, gradient = call.outputs[number].detach(), call.gradients[number]
    if len(answers) != len(call.images):
        return answers.new_zeros(0), answers.new_zeros(0)
    own = [call.rows_of(each, FAKE if fake else REAL) for each in (answers, gradient)]
    return own[0].double().cpu().flatten(), own[1].double().cpu().flatten()


def _line(x: Tensor, y: Tensor) -> tuple[float, float]:
    """The slope of a line through points, and their correlation."""
    x, y = x - x.mean(), y - y.mean()
    spread = float((x * x).sum() * (y * y).sum()) ** 0.5
    if not spread > 0:
        return 0.0, 0.0
    return float((x * y).sum() / (x * x).sum()), float((x * y).sum()) / spread


def _label(call: Call, number: int, *, fake: bool) -> float | None:
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


def _is_concave(call: Call, number: int) -> bool:
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


def _is_over_batch(node: Node) -> bool:
    """Whether a softmax runs over the first dimension."""
    result = node._saved_result  # type: ignore[attr-defined]
    dimension = int(node._saved_dim)  # type: ignore[attr-defined]
    # Negative numbers are shown as if they had no sign.
    dimension -= 2**64 * (dimension >= 2**63)
    return bool(dimension % max(1, result.ndim) == 0)
