"""Bugs in what losses ask of D's answers.

How a loss pulls the answers says what it wants of them: the slope of its gradient over the answers
tells labels 0 and 1 from each other, whatever the loss is, and a loss that is saturated from one
that is not.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch.autograd.graph import Node

from counterpoise.anyloop.check_optimizers import LINEAR
from counterpoise.anyloop.graph import (
    JOINING,
    REARRANGING,
    edges_of,
    ends_in_sigmoid,
    ends_of,
    operation,
    walk,
)
from counterpoise.anyloop.network_hooks import FAKE, REAL, DCall
from counterpoise.anyloop.observed_turn import BackwardPass, ObservedTurn, Symptom
from counterpoise.anyloop.read_objective import HINGES, infer_objective

# Losses that apply a sigmoid to what they are given.
SQUASHING = {"BinaryCrossEntropyWithLogits", "Softplus", "LogSigmoid", "Sigmoid"}
# What a relativistic or a turned loss does to answers before; and one that knows them by labels.
BETWEEN = REARRANGING | JOINING | {"Neg", "Sub", "Rsub", "Mean"}
SOFTMAX = {"Softmax", "LogSoftmax"}
MARGINS = {"Add", "Sub", "Rsub"}
# How well a line fits, where the gradient depends on the answer alone.
LINE = 0.9
# How much of the gradient a line explains at least.
STEEP = 1e-4
# Two labels are the same where they are no further apart, as a share of what there is.
SAME = 0.25


def of_operations(turn: ObservedTurn, backward: BackwardPass) -> Iterator[Symptom]:
    """What a loss does with D's answers, before it is back-propagated."""
    networks = turn.networks
    answers = [(call, call.outputs[number]) for call, number in backward.answers]
    ends = [node for _, answer in answers for node, _ in ends_of(answer)]
    line = answers[0][0].line if answers else backward.line
    is_hinge = backward.network == "d" and "Log" not in backward.operations
    for node in backward.outside:
        below = next((each for each, _ in edges_of(node)), None)
        if operation(node) in SQUASHING and ends_in_sigmoid(below, BETWEEN):
            yield Symptom("sigmoid-before-logits-loss", True, line)
        if operation(node) in SOFTMAX and ends_in_sigmoid(below, BETWEEN):
            yield Symptom("softmax-twice", True, line)
        # What a hinge takes off its margin; that of a logarithm is kept from 0 alike.
        if is_hinge and below is not None and operation(node) in HINGES | {"Where"}:
            if operation(below) in MARGINS and ends_in_sigmoid(below, BETWEEN | {"Add", "Mul"}):
                yield Symptom("hinge-on-sigmoid", True, line)
            joined = [each for each in backward.outside if operation(each) in JOINING]
            reached = set(walk([node], {*ends, *joined}))
            kinds = [call.kinds for call, answer in answers if answer.grad_fn in reached]
            networks.is_relativistic |= len(set().union(*kinds)) > 1
    if backward.network == "d" and answers and backward.operations <= LINEAR:
        bounded = all(ends_in_sigmoid(answer.grad_fn) for _, answer in answers)
        yield from [Symptom("sigmoid-in-critic", True, line)] * bounded
    # Of several scores, as codecs' of several scales (SoundStream, EnCodec), it is by design.
    asked = {call.d for call, _ in answers if networks.objective_of(call.d) == "hinge"}
    scores = {(c.d, number) for c in turn.calls("d") if c.d in asked for number in c.gradients}
    own = [
        answer
        for (call, n), (_, answer) in zip(backward.answers, answers, strict=True)
        if (call.d, n) in scores and call.from_g
    ]
    of_g = backward.network == "g" and bool(backward.leaves & networks.ids["g"])
    if of_g and len(own) == len(scores) == len(asked) > 0:
        read = infer_objective(backward.roots, [own])
        if read is not None and read.name == "hinge" and not networks.is_relativistic:
            yield Symptom("hinge-in-g", True, backward.line)
    for node in [*backward.outside, *ends]:
        if operation(node) in SOFTMAX and _is_over_batch(node):
            yield Symptom("softmax-over-batch", True, line)


def _is_over_batch(node: Node) -> bool:
    """Whether a softmax runs over the first dimension."""
    result = node._saved_result  # type: ignore[attr-defined]
    dimension = int(node._saved_dim)  # type: ignore[attr-defined]
    # Negative numbers are shown as if they had no sign.
    dimension -= 2**64 * (dimension >= 2**63)
    return bool(dimension % max(1, result.ndim) == 0)


class Target(NamedTuple):
    """What a loss asks of answers: the one where its gradient is 0, or beyond all (None where that
    cannot be told); and whether it pulls the less, the further an answer is from that."""

    label: float | None
    is_concave: bool = False


def labels(turn: ObservedTurn) -> Iterator[Symptom]:
    """What D's and G's loss want of D's outputs."""
    for d in turn.networks.ds:
        for number in range(max((len(c.outputs) for c in turn.d_calls if c.d == d), default=0)):
            yield from _labels(turn, d, number)


def _labels(turn: ObservedTurn, d: str, number: int) -> Iterator[Symptom]:
    """What D's and G's loss want of one of D's outputs."""
    pulled = [c for c in turn.d_calls if c.d == d and number in c.gradients]
    pulled = [call for call in pulled if number not in call.classes]
    in_d = [call for call in pulled if call.network == "d"]
    in_g = [call for call in pulled if call.network == "g" and call.fake_place is not None]
    fakes = [call for call in in_d if call.fake_place is not None]
    reals = [call for call in in_d if not call.from_g]
    targets = [_target(call, number, FAKE) for call in in_g]
    if in_g:
        concave = all(target.is_concave for target in targets)
        yield Symptom("saturating-loss", concave, in_g[-1].line)
    asks_g = _one(targets)
    asks_fake = _one([_target(call, number, FAKE) for call in fakes])
    asks_real = _one([_target(call, number, REAL) for call in reals])
    if asks_fake is None or asks_real is None:
        return
    labels = asks_real, asks_fake
    # A D that answers with its own loss has all of that brought down: it is never below 0.
    own = all(bool((call.outputs[number] >= 0).all()) for call in in_d)
    same = _is_same(*labels, (*labels, 0.0)) and not (own and asks_real == -math.inf)
    yield Symptom("fake-labelled-real", same, fakes[-1].line)
    if asks_g is None:
        return
    helps = not same and _is_same(asks_g, asks_fake, labels)
    yield Symptom("labels-swapped", helps and asks_fake > asks_real, fakes[-1].line)
    yield Symptom("g-helps-d", helps and asks_fake < asks_real, in_g[-1].line)


def _target(call: DCall, number: int, kind: str) -> Target:
    """What a loss asks of a call's answers on one kind of images."""
    answers, gradient = call.outputs[number].detach(), call.gradients[number]
    if len(answers) != len(call.images):
        return Target(None)
    own = [call.rows_of(each, kind).cpu().double().flatten() for each in (answers, gradient)]
    x, y = own[0] - own[0].mean(), own[1] - own[1].mean()
    mean, size = float(own[1].mean()), float(own[1].abs().mean())
    if not 0 < size < math.inf:
        return Target(None)
    square, product = float((x * x).sum()), float((x * y).sum())
    is_line = abs(product) > LINE * (square * float((y * y).sum())) ** 0.5
    is_line &= abs(product) > STEEP * size * (square * len(x)) ** 0.5
    if is_line and product > 0:
        return Target(float(own[0].mean()) - mean * square / product)
    one_way = abs(mean) > LINE * size
    return Target(math.copysign(math.inf, -mean) if one_way else None, is_line)


def _is_same(one: float, other: float, scale: tuple[float, ...]) -> bool:
    if math.isinf(one) or math.isinf(other):
        return one == other
    finite = [each for each in scale if math.isfinite(each)]
    return abs(one - other) <= SAME * (max(finite) - min(finite) if len(finite) > 1 else 1.0)


def _one(targets: Sequence[Target]) -> float | None:
    """The label that all agree on."""
    labels = [target.label for target in targets]
    first = labels[0] if labels else None
    if first is None or not all(
        each is not None and _is_same(first, each, (0.0, max(1.0, abs(first)))) for each in labels
    ):
        return None
    return first
