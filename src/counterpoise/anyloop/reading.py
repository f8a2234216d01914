"""Reading from D's loss which of D's outputs are on real images and which on fake ones.

What a loss reaches of D's answers is its adversarial output, whatever else D returns; which way the
loss pulls it says of which images it is. Where it can be seen that a G made the images, that says
it, and the loss says whether D is trained to score real images above fake ones, as all numbers here
suppose.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from counterpoise.anyloop.graph import walk
from counterpoise.anyloop.hooks import ENGINE
from counterpoise.anyloop.pulls import (
    WHOLE,
    Pattern,
    Pull,
    Score,
    by_place_alone,
    by_pulls,
    pull_of,
)
from counterpoise.anyloop.tap import FAKE, INSIDE, REAL, Call, Place, floats_of
from counterpoise.game.processes import Numbers
from counterpoise.records import Signals

# So many turns in a row must say that D is, or is not, trained to score real above fake.
TURNS = 10
# Turns in which a loop must be read alike to be known; after so many, it is read no more.
AGREEING, READ_TURNS = 3, 200

REVERSED = (
    "D's loss pulls D's outputs down on real images and up on fake ones: label real images 1 and "
    "fake ones 0 (a loss without labels: turn its sign); or, if the loop does, say "
    "step.logits(real=..., fake=...) in D's part, since the two were taken for each other. Until "
    "then D's numbers are reversed, and the policy is not asked"
)


@dataclass(frozen=True)
class Ask:
    """Asks D again, as a call did: with other images (N, ...), and the same beside them, in the
    type of D's weights, since it is asked without the loop's autocast."""

    call: Call
    place: Place
    tensors: tuple[int, ...]

    def __call__(self, d: nn.Module, images: Tensor) -> Tensor:
        dtype = next((weight.dtype for weight in d.parameters()), images.dtype)
        arguments = {
            place: images if place == self.place else self._beside(value, len(images))
            for place, value in self.call.arguments.items()
        }
        for place, value in arguments.items():
            if isinstance(value, Tensor) and value.is_floating_point():
                arguments[place] = value.to(dtype)
        args = [value for place, value in arguments.items() if isinstance(place, int)]
        options = {place: value for place, value in arguments.items() if isinstance(place, str)}
        return joined([floats_of(d(*args, **options))[each] for each in self.tensors])

    def _beside(self, value: Any, count: int) -> Any:
        """What is given beside images, as often as there are any."""
        if not isinstance(value, Tensor):
            return value
        times = count // len(self.call.images)
        if value.ndim and len(value) == len(self.call.images) and times > 1:
            value = value.repeat(times, *[1] * (value.ndim - 1))
        return value.detach()


@dataclass
class Side:
    """What D says of one kind of images."""

    outputs: Tensor  # with their graph
    tensors: list[Tensor]  # that they are made of, as D gave them
    images: Tensor | None = None  # detached; None where they are not known
    ask: Ask | None = None  # None where D cannot be asked about others

    @property
    def alone(self) -> bool:
        """Whether D needs nothing but images."""
        return self.ask is not None and len(self.ask.call.arguments) == 1


class Reader:
    """Reads one D's parts of the loop. What was read alike in a few turns holds for all others."""

    def __init__(self) -> None:
        # By the number of D's calls in its part: how it was read, and how often.
        self._patterns: dict[int, tuple[Pattern, int]] = {}
        self._latest: Pattern = {}
        self._agreed = -1  # the most calls that a part had which was read alike in several turns
        self._turns = 0
        # Rows of a call on both kinds of images, 0 where each kind has calls of its own.
        self._rows_of_both = 0
        # 1 where D's loss drives real above fake, -1 the other way round, 0 while it is not known.
        self.direction = 0
        self._in_a_row = 0  # turns that agree; negative where they say that it is reversed
        # Whether D's loss was seen to pull on anything.
        self.has_begun = False
        # Turns in a row in which it could not be seen which output is which.
        self.unread_turns = 0

    def is_known(self, calls: int = 0) -> bool:
        """Whether nothing is to be read any more, in a part with so many calls of D."""
        return self._turns >= READ_TURNS or (bool(self.direction) and calls <= self._agreed)

    def kinds_of(self, call: Call, network: str, before: Collection[Call]) -> set[str]:
        """On which kinds of images a call is, as far as can be said before D has answered;
        `before`: D's calls before it in the part."""
        if network == "g":
            return {REAL if call.found is None else FAKE} | self._in_one_call(call)
        if self._latest:
            return {k for k, own in self._latest.items() if any(s.call == call.number for s in own)}
        kind = FAKE if call.from_g else REAL
        return set() if any(kind in each.kinds for each in before) else {kind}

    def _in_one_call(self, call: Call) -> set[str]:
        """Both kinds, for a call in G's part on as many images as one on both in D's."""
        return {REAL, FAKE} if len(call.images) == self._rows_of_both else set()

    def places_of(self, call: Call) -> dict[str, Place]:
        """Where the images of each kind are, among the arguments of a call."""
        if len(call.kinds) < 2 or any(s.rows != WHOLE for s in self._latest.get(REAL, ())):
            return dict.fromkeys(sorted(call.kinds, reverse=True), call.place)
        found = {kind: call.place_of(kind) for kind in call.kinds}
        return {kind: place for kind, place in found.items() if place is not None}

    def fake_in_g(self, call: Call) -> list[Tensor]:
        """D's scores of G's images among its answers in G's part, as D gave them."""
        numbers = {each.tensor for each in self._latest.get(FAKE, ())}
        return [each for number, each in enumerate(call.outputs) if number in numbers]

    def outputs_in_g(self, call: Call) -> Tensor | None:
        """These as one tensor, of G's images alone."""
        scores, tensors = self._latest.get(FAKE, ()), self.fake_in_g(call)
        if tensors and len(call.images) == self._rows_of_both:
            tensors = [scores[0].of(each) for each in tensors]
        return joined(tensors) if tensors else None

    def _read(self, calls: Sequence[Call], *, by_place: bool) -> Pattern:
        """How a part with these calls of D is to be read; what cannot be seen is missing.

        `by_place`: where the loss says nothing, the first call is on real images.
        """
        pulled = self._read_pulls(calls) if any(call.gradients for call in calls) else 0
        pattern = self._patterns.get(len(calls), ({}, 0))[0]
        # A loss of one half says nothing of the other, but what a G made may be seen.
        is_seen = pulled == 1 and 0 < sum(call.from_g for call in calls) < len(calls)
        if not pattern and (is_seen or (by_place and not pulled)):
            return by_place_alone(calls)
        return pattern

    def _read_pulls(self, calls: Sequence[Call]) -> int:
        """Note how D's answers were pulled; of how many calls."""
        keys = [(call.number, number) for call in calls for number in sorted(call.gradients)]
        tensors = {key: pull_of(calls[key[0]].gradients[key[1]]) for key in keys}
        numbers = Numbers(tensors, tensors[keys[0]].device).get()
        pulls = {key: pull for key in keys if (pull := Pull(*numbers[key].tolist())).size > 0}
        self.has_begun |= bool(pulls)
        pattern = by_pulls(calls, pulls)
        if pattern:
            known, times = self._patterns.get(len(calls), ({}, 0))
            times = times + 1 if pattern == known else 1
            self._patterns[len(calls)] = pattern, times
            if times >= AGREEING:
                self._agreed = max(self._agreed, len(calls))
        return len({number for number, _ in pulls})

    def sides(
        self, calls: Sequence[Call], given: Mapping[str, Tensor], *, by_place: bool
    ) -> dict[str, Side]:
        """What D says of each kind of images; of a kind that cannot be seen, nothing. `given` is
        what the loop says that it is; `by_place`: where D's loss says nothing, the first call is on
        real images."""
        pattern = self._read(calls, by_place=by_place)
        matched = {
            kind: tuple(sorted(Score(c.number, number) for c, number in loss_of(calls, [out])[0]))
            for kind, out in given.items()
        }
        if matched and not set(matched.get(REAL, ())) & set(matched.get(FAKE, ())):
            pattern = pattern | matched
        if pattern != self._latest and all(pattern.get(kind) for kind in (REAL, FAKE)):
            self._latest = pattern
            for call in calls:
                call.kinds = self.kinds_of(call, "d", ())
                if len(call.kinds) == 2:
                    self._rows_of_both = len(call.images)
        sides = {}
        for kind in (REAL, FAKE):
            scores = pattern.get(kind, ())
            if kind in given:
                sides[kind] = Side(given[kind], [given[kind]])
            elif scores:
                tensors = [calls[score.call].outputs[score.tensor] for score in scores]
                sides[kind] = Side(_joined_calls(calls, scores), tensors)
            if scores:
                # The images that the first of the calls was on, and how D is asked as in it.
                call = calls[scores[0].call]
                place = self.places_of(call).get(kind, call.place)
                sides[kind].images = scores[0].of(call.arguments[place]).detach()
                own = tuple(score.tensor for score in scores if score.call == call.number)
                sides[kind].ask = None if place == INSIDE else Ask(call, place, own)
        return sides

    def end(self, calls: Sequence[Call], signals: Signals) -> None:
        """D's part is over, in a turn with these signals.

        Labels that are neither 0 nor 1 pull back what is beyond them, so only turns count in which
        D's loss drives real and fake further apart.
        """
        self._turns += 1
        pull = dict.fromkeys((REAL, FAKE), 0.0)
        for kind, scores in self._latest.items():
            for score in scores:
                own = calls[score.call].gradients if score.call < len(calls) else {}
                if score.tensor in own:
                    first, _, second, _ = pull_of(own[score.tensor]).tolist()
                    pull[kind] += first * (score.rows[0] < 0.5) + second * (score.rows[1] > 0.5)
        if not all(pull.values()):
            return
        apart = signals.real_logit_mean - signals.fake_logit_mean
        way = 0
        if pull[REAL] * pull[FAKE] < 0 and pull[REAL] * apart > 0:
            way = 1 if apart > 0 else -1
        self._in_a_row = way + self._in_a_row * (way * self._in_a_row > 0)
        if abs(self._in_a_row) == TURNS:
            self.direction = way


def note_gradients(
    calls: Sequence[Call], roots: Sequence[Tensor], weights: Sequence[Tensor | None]
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
    calls: Sequence[Call], values: Sequence[Tensor]
) -> tuple[list[tuple[Call, int]], list[Node]]:
    """The answers of calls that values were made of, each a call and the number of its output: not
    what lies behind these, nor what only a penalty on D's gradient was made of. And the operations
    between."""
    made_by: dict[Node, list[tuple[Call, int]]] = {}
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


def _joined_calls(calls: Sequence[Call], scores: Sequence[Score]) -> Tensor:
    """Scores as one tensor: those of a call beside each other, those of several calls below."""
    by_call: dict[int, list[Tensor]] = {}
    for score in scores:
        by_call.setdefault(score.call, []).append(score.of(calls[score.call].outputs[score.tensor]))
    parts = [joined(own) for own in by_call.values()]
    alike = [part for part in parts if part.shape[1:] == parts[0].shape[1:]]
    return alike[0] if len(alike) == 1 else torch.cat(alike)


def joined(tensors: Sequence[Tensor]) -> Tensor:
    """Several outputs on the same images as one tensor (N, values)."""
    if len(tensors) == 1:
        return tensors[0]
    return torch.cat([each.reshape(len(each), -1) for each in tensors], 1)
