"""Which of D's outputs are on which images, by how D's loss pulls them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

import torch
from torch import Tensor

from counterpoise.anyloop.network_hooks import FAKE, REAL, DCall, Place

WHOLE = 0.0, 1.0
# How far the pulls on two kinds of images are apart at least: 1 is all up, -1 all down.
APART, ALIKE = 0.5, 1e-3


class Region(NamedTuple):
    """What of a D's call is on one kind of images: tensors of its answer, the place of the images
    among its arguments, and which rows of both, as shares of their number."""

    tensors: tuple[int, ...]
    place: Place
    rows: tuple[float, float] = WHOLE

    def of(self, values: Tensor) -> Tensor:
        """Its rows of a tensor."""
        if self.rows == WHOLE:
            return values
        start, stop = (round(share * len(values)) for share in self.rows)
        return values[start:stop]


# Of each of D's calls in its part, what is on which kind of images, REAL or FAKE.
Pattern = tuple[dict[str, Region], ...]


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
    def most_of_a_half(self) -> float:
        return max(self.first_size, self.second_size)

    @property
    def net(self) -> float:
        return self.first + self.second


def pull_of(gradient: Tensor) -> Tensor:
    """The numbers of a `Pull` (4,), of a loss' gradient at a tensor (N, ...)."""
    flat = -gradient.float().reshape(len(gradient), -1)
    halves = flat[: len(flat) // 2], flat[len(flat) // 2 :]
    return torch.stack([each for half in halves for each in (half.sum(), half.abs().sum())])


def by_pulls(calls: Sequence[DCall], pulls: Mapping[tuple[int, int], Pull]) -> Pattern:
    """How a part is to be read by how the loss pulls D's answers: calls, and tensors of them.
    Nothing where two kinds of images cannot be told apart."""
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
    if not scores:
        return _complete([_in_one_call(call, pulls) for call in calls])
    numbers = {number for own in scores.values() for number in own}
    way = {n: fmean([own[n] for own in scores.values() if n in own]) for n in numbers}
    kinds = _kinds(way, {number for number in way if calls[number].from_g})
    tensors = [[t for t in sorted(scores) if number in scores[t]] for number in range(len(calls))]
    return _complete(
        [regions_of(c, {kinds[n]: tensors[n]} if n in kinds else {}) for n, c in enumerate(calls)]
    )


def _kinds(way: Mapping[int, float], made: Collection[int] = ()) -> dict[int, str]:
    """On which images is what is pulled so: what a G `made` is fake, and real is what is pulled
    another way; where nothing is known of that, up is real."""
    rest = way.keys() - made
    if not made or not rest:
        middle = (max(way.values()) + min(way.values())) / 2
        return {each: REAL if way[each] > middle else FAKE for each in way}
    level = fmean([way[each] for each in made])
    real = {each for each in rest if abs(way[each] - level) > APART} or set(rest)
    # As many of each: what a loop changes before D sees it is not always known again.
    others = sorted(rest - real)[: max(0, len(real) - len(made))]
    return dict.fromkeys(real, REAL) | dict.fromkeys([*made, *others], FAKE)


def _in_one_call(call: DCall, pulls: Mapping[tuple[int, int], Pull]) -> dict[str, Region]:
    """What of a call is on each kind, where it is on both: images in two places, each with tensors
    of the answer; or rows of one batch."""
    own = {tensor: pull for (number, tensor), pull in pulls.items() if number == call.number}
    most = max((pull.size for pull in own.values()), default=1.0)
    way = {tensor: pull.net / most for tensor, pull in own.items()}
    if call.twin() is not None and _spread(way.values()) > APART:
        kinds = _kinds(way)
        return regions_of(call, {k: [t for t in way if kinds[t] == k] for k in (REAL, FAKE)})
    halves = {t: (p.first / p.most_of_a_half, p.second / p.most_of_a_half) for t, p in own.items()}
    apart = [t for t, (a, b) in halves.items() if abs(a - b) > APART and max(a, b) > APART]
    if not apart or call.from_g:
        return {}
    first, second = halves[apart[0]]
    rows = {REAL: (0.0, 0.5), FAKE: (0.5, 1.0)}
    if call.fake_place is not None:
        start, stop = (row / len(call.images) for row in call.fake_place.rows)
        rows = {FAKE: (start, stop), REAL: (stop, 1.0) if start == 0 else (0.0, start)}
    elif first < second:
        rows = {FAKE: rows[REAL], REAL: rows[FAKE]}
    return {kind: Region(tuple(apart), call.place, own) for kind, own in rows.items()}


def regions_of(call: DCall, tensors: Mapping[str, Sequence[int]]) -> dict[str, Region]:
    """The regions of a call that has these tensors of its answer on whole batches of each kind."""
    places, twin = dict.fromkeys((REAL, FAKE), call.place), call.twin()
    if len(tensors) == 2 and twin is not None:
        places[FAKE if call.fake_place is None else REAL] = twin
    return {kind: Region(tuple(own), places[kind]) for kind, own in tensors.items()}


def by_name(calls: Sequence[DCall], named: Mapping[str, Collection[tuple[DCall, int]]]) -> Pattern:
    """Where the loop says which answers, by calls and tensors of them, are on which images; nothing
    where these are not told apart by that: rows of one answer, say."""
    sets = [set(named.get(kind, ())) for kind in (REAL, FAKE)]
    if set.intersection(*sets):
        return ()
    own = [{k: sorted(n for c, n in named[k] if c is call) for k in named} for call in calls]
    return _complete(
        [regions_of(c, {k: t for k, t in o.items() if t}) for c, o in zip(calls, own, strict=True)]
    )


def by_place_alone(calls: Sequence[DCall]) -> Pattern:
    """Where the loss says nothing: of D's that answer with one tensor, what a G made is fake, and
    the first call on anything else is real, a second one fake."""
    single = [call for call in calls if len(call.outputs) == 1]
    real = [call for call in single if not call.from_g]
    fake = [call for call in single if call.from_g] or real[1:]
    firsts = {each[0].number: kind for kind, each in ((REAL, real), (FAKE, fake)) if each}
    return _complete(
        [regions_of(c, {k: [0]} if (k := firsts.get(c.number)) else {}) for c in calls]
    )


def _complete(pattern: Sequence[dict[str, Region]]) -> Pattern:
    """A pattern that has both kinds, or none."""
    return tuple(pattern) if len(set().union(*pattern)) == 2 else ()


def _spread(values: Iterable[float]) -> float:
    numbers = list(values)
    return max(numbers) - min(numbers) if numbers else 0.0
