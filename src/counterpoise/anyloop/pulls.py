"""Which of D's outputs are on which images, by how D's loss pulls them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

import torch
from torch import Tensor

from counterpoise.anyloop.tap import FAKE, REAL, Call

WHOLE = 0.0, 1.0
# How far the pulls on two kinds of images are apart at least: 1 is all up, -1 all down.
APART, ALIKE = 0.5, 1e-3

Rows = tuple[float, float]


@dataclass(frozen=True, order=True)
class Score:
    """One of the tensors that D answered with, or some rows of it, as shares of their number."""

    call: int  # its number in D's part
    tensor: int
    rows: Rows = WHOLE

    def of(self, values: Tensor) -> Tensor:
        """Its rows of a tensor."""
        if self.rows == WHOLE:
            return values
        start, stop = (round(share * len(values)) for share in self.rows)
        return values[start:stop]


# The scores on each kind of images, REAL and FAKE.
Pattern = dict[str, tuple[Score, ...]]


class Pull(NamedTuple):
    """How D's loss pulls a tensor: of its first half of rows, and of the second, the sum of what
    it would be changed by, and the sum of the sizes of that."""

    first: float
    first_size: float
    second: float
    second_size: float

    @property
    def size(self) -> float:
        return self.first_size + self.second_size

    @property
    def net(self) -> float:
        return self.first + self.second


def pull_of(gradient: Tensor) -> Tensor:
    """The numbers of a `Pull` (4,), of a loss' gradient at a tensor (N, ...)."""
    flat = -gradient.float().reshape(len(gradient), -1)
    halves = flat[: len(flat) // 2], flat[len(flat) // 2 :]
    return torch.stack([each for half in halves for each in (half.sum(), half.abs().sum())])


def by_pulls(calls: Sequence[Call], pulls: Mapping[tuple[int, int], Pull]) -> Pattern:
    """How a part is to be read by how the loss pulls D's answers: calls, and tensors of them."""
    ways: dict[int, dict[int, float]] = {}
    # Against the most that a call's is pulled: least squares pull what is 0 already by chance.
    for (number, tensor), pull in pulls.items():
        most = max(other.size for (_, of), other in pulls.items() if of == tensor)
        ways.setdefault(tensor, {})[number] = pull.net / most
    # What is pulled alike in all calls is no score: a class, or what D makes of its own features.
    scores = {tensor: own for tensor, own in ways.items() if _spread(own.values()) > APART}
    if not scores and 0 < sum(call.from_g for call in calls) < len(calls):
        # Both may be pulled up, where D says less than 0 of fake images that shall be 0.
        # What is pulled quite alike is a loss that D makes itself.
        scores = {
            tensor: own
            for tensor, own in ways.items()
            if min(map(abs, own.values())) > APART and _spread(own.values()) > ALIKE
        }
    if scores:
        numbers = {number for own in scores.values() for number in own}
        way = {n: fmean([own[n] for own in scores.values() if n in own]) for n in numbers}
        kinds = _kinds_of_calls(calls, way)
        return {
            kind: tuple(Score(n, t) for n in sorted(own) for t in sorted(scores) if n in scores[t])
            for kind, own in kinds.items()
        }
    found: dict[str, list[Score]] = {REAL: [], FAKE: []}
    for call in calls:
        own = {tensor: pull for (number, tensor), pull in pulls.items() if number == call.number}
        most = max((pull.size for pull in own.values()), default=1.0)
        own_ways = {tensor: pull.net / most for tensor, pull in own.items()}
        if call.twin() is not None and _spread(own_ways.values()) > APART:
            middle = (max(own_ways.values()) + min(own_ways.values())) / 2
            for tensor, way_of in own_ways.items():
                found[REAL if way_of > middle else FAKE].append(Score(call.number, tensor))
            continue
        for tensor, pull in own.items():
            for kind, rows in _rows_of(call, pull).items():
                found[kind].append(Score(call.number, tensor, rows))
    return {kind: tuple(own) for kind, own in found.items()} if all(found.values()) else {}


def _kinds_of_calls(calls: Sequence[Call], way: Mapping[int, float]) -> dict[str, set[int]]:
    """The numbers of the calls on each kind of images, by how each is pulled: what a G made is
    fake, and real is what is pulled another way; where nothing is known of that, up is real."""
    made = {number for number in way if calls[number].from_g}
    rest = way.keys() - made
    if made and rest:
        level = fmean([way[number] for number in made])
        real = {number for number in rest if abs(way[number] - level) > APART} or set(rest)
        # As many of each: what a loop changes before D sees it is not always known again.
        others = sorted(rest - real)[: max(0, len(real) - len(made))]
        return {REAL: real, FAKE: made | set(others)}
    middle = (max(way.values()) + min(way.values())) / 2
    return {
        REAL: {number for number in way if way[number] > middle},
        FAKE: {number for number in way if way[number] <= middle},
    }


def _rows_of(call: Call, pull: Pull) -> dict[str, Rows]:
    """Which rows of a call are of each kind; nothing where it is on one kind."""
    most = max(pull.first_size, pull.second_size)
    first, second = pull.first / most, pull.second / most
    if abs(first - second) <= APART or max(first, second) <= APART or call.from_g:
        return {}
    rows: tuple[Rows, Rows] = (0.0, 0.5), (0.5, 1.0)
    if call.found is not None:
        start, stop = (row / len(call.images) for row in call.found.rows)
        return {FAKE: (start, stop), REAL: (stop, 1.0) if start == 0 else (0.0, start)}
    return dict(zip((REAL, FAKE) if first > second else (FAKE, REAL), rows, strict=True))


def by_place_alone(calls: Sequence[Call]) -> Pattern:
    """Where the loss says nothing: of D's that answer with one tensor, what a G made is fake, and
    the first call on anything else is real, a second one fake."""
    single = [call for call in calls if len(call.outputs) == 1]
    fake = [call for call in single if call.from_g] or [c for c in single if not c.from_g][1:]
    real = [call for call in single if not call.from_g]
    if not real or not fake:
        return {}
    return {REAL: (Score(real[0].number, 0),), FAKE: (Score(fake[0].number, 0),)}


def _spread(values: Iterable[float]) -> float:
    numbers = list(values)
    return max(numbers) - min(numbers) if numbers else 0.0
