"""Bugs in what the networks are given: the same again, images of other values, another condition;
and in which D is asked in which part, and what of its answers reaches G."""

from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor

from counterpoise.anyloop.network_hooks import (
    FAKE,
    REAL,
    DCall,
    FakePlace,
    GCall,
    same_memory,
    scale_of,
)
from counterpoise.anyloop.observed_turn import (
    SAMPLES,
    ObservedTurn,
    Symptom,
    is_same,
    sample_of,
)
from counterpoise.game.r1 import mixes_images

# How far beyond G's bounds real images are, as a share of what lies between the bounds.
BEYOND = 0.1
# So many of G's values are where no real one is.
SHARE = 0.05
# Fewer values say nothing.
VALUES = 64
# How far two conditions, or images, correlate at least, one of which was made of the other.
RELATED = 0.5
# How far an image is from all that G made at least, if none is it: a share of its deviation.
CHANGED = 0.03


def same_noise(turn: ObservedTurn) -> Iterator[Symptom]:
    """A G is given the same in each turn: all of it, or noise for each image beside other things.
    It may begin with the images of the next turn, so two turns before are looked at."""
    judged = {part: [m for m in turn.g_calls if part in m.judged_in] for part in ("d", "g")}
    judged["g"] = judged["g"] or [made for made in turn.g_calls if made.with_gradient]
    groups = [group for group in judged.values() if group]
    past = turn.past()
    same = [
        group[-1].line
        for group in groups
        if all(any(_is_like(made, old) for old in each.g_calls) for made in group for each in past)
    ]
    if groups and len(past) == 2:
        yield Symptom("same-noise", bool(same), *same[:1])


def _is_like(made: GCall, before: GCall) -> bool:
    if before.g != made.g or not len(before.inputs) == len(made.inputs) > 0:
        return False
    same = [*map(is_same, before.inputs, made.inputs)]
    return all(same) or any(map(all, zip(same, made.varied, strict=True)))


def same_images(turn: ObservedTurn) -> Iterator[Symptom]:
    """A D is given images of the turn before, and no others: some may be replayed."""
    calls = turn.calls("d")
    old = [s for old in turn.past()[:1] for c in old.calls("d") for s in c.samples.values()]
    repeated: dict[str, list[bool]] = {FAKE: [], REAL: []}
    lines: dict[str, str] = {}
    for call in calls:
        for kind, sample in call.samples.items():
            # Known to be G's by how it is pulled alone.
            kind = FAKE if call.kinds == {FAKE} else kind
            again = any(is_same(sample, each) for each in old)
            repeated[kind].append(again and (kind == FAKE or call.shape[0] > 1))
            lines[kind] = call.line
    for kind, same in repeated.items():
        if same:
            yield Symptom(f"same-{kind}", all(same), lines[kind])


def value_ranges(turn: ObservedTurn) -> Iterator[Symptom]:
    """Real images are not where G's can be."""
    calls = turn.calls("d")
    for fake in calls:
        if fake.fake_place is None or fake.g_call is None or fake.g_call.bounds is None:
            continue
        times, plus = fake.fake_place.scale
        low, high = (times * bound + plus for bound in fake.g_call.bounds)
        made = fake.rows_of(fake.images, FAKE)[:, fake.fake_place.channels]
        for real in calls:
            values = _real_values(real, fake, fake.fake_place)
            if values is None or min(values.numel(), made.numel()) < VALUES:
                continue
            least, most = float(values.min()), float(values.max())
            margin, middle = BEYOND * (high - low), (low + high) / 2
            below = float((made < middle).float().mean())
            seen = least < low - margin or most > high + margin
            seen |= least >= middle - 1e-3 and below > SHARE
            detail = f"real ones are in [{least:.2g}, {most:.2g}], G's in [{low:g}, {high:g}]"
            # Each image is changed otherwise: the loop has had them as G can make them.
            is_changed = seen and any(
                low - margin <= float(each.min()) <= float(each.max()) <= high + margin
                and _related(real.images.flatten().detach(), each.flatten()) > RELATED
                and not _is_scaled(real.images.detach(), each)
                for each in _sources(real, turn)
            )
            name = "augmented-one-side" if is_changed else "value-ranges"
            yield Symptom(name, seen, real.line, detail)
            return


def _real_values(real: DCall, fake: DCall, found: FakePlace) -> Tensor | None:
    """The real images of a call, of the channels that G makes."""
    if real.is_between or real.images.shape[2:] != fake.images.shape[2:] or real.images.ndim < 2:
        return None
    if real.from_g or (real.fake_place is not None and real is not fake):
        return None
    return real.rows_of(real.images, REAL)[:, found.channels]


def augmented(turn: ObservedTurn) -> Iterator[Symptom]:
    """G's images are augmented where D judges them in its own part, and not in G's, or the other
    way round: in all turns so far, since a loop may augment some batches and leave others."""
    fakes = [call for call in turn.calls("d") if not call.is_between and call.kinds == {FAKE}]
    in_g = [call for call in turn.calls("g") if call.from_g]
    if not (fakes and in_g):
        return
    parts = {"in D's part": fakes, "in its own part": in_g}
    ways = {what: turn.networks.ways[what] for what in parts}
    for what, calls in parts.items():
        ways[what].update({_is_another(call, turn) for call in calls} - {None})
    are, are_not = ([what for what in ways if ways[what] == {way}] for way in (True, False))
    detail = f"G's images {are[0]} are, {are_not[0]} are not" if are and are_not else ""
    yield Symptom("augmented-one-side", bool(detail), fakes[-1].line, detail)


def _is_another(call: DCall, turn: ObservedTurn) -> bool | None:
    """Whether any of a call's images, of G's, is none that a G made in the last turns, clamped at
    most: some may be of a pool. None where these cannot be compared."""
    if call.g_call is not None:
        return False
    made = _made_like(call, turn)
    if not made:
        return True if call.fake_place is not None else None  # of another shape than what G made
    images = _rows(call.images.detach())
    known = torch.cat(list(map(_rows, made))).clamp(images.min(), images.max())
    nearest = torch.cdist(images, known).min(1).values
    return bool((nearest > CHANGED * known.std() * images.shape[1] ** 0.5).any())


def _made_like(call: DCall, turn: ObservedTurn) -> list[Tensor]:
    """What Gs made in the last turns, of the shape of a call's images: a loop may make them before
    it says that D's part begins."""
    made = [made.images for each in [turn, *turn.past()] for made in each.g_calls]
    return [images for images in made if images.shape == call.shape]


def _rows(images: Tensor) -> Tensor:
    """Some values of each image."""
    return torch.stack(list(map(sample_of, images))).float()


def _sources(real: DCall, turn: ObservedTurn) -> list[Tensor]:
    """Of what real images may have been made: what the loop has names for, of their shape, but for
    themselves, and what G was given or has made, or D has judged as G's."""
    turns = [turn, *turn.past()]
    others = [given for each in turns for made in each.g_calls for given in made.inputs]
    others += [sample_of(each) for each in _made_like(real, turn)]
    judged = [call for each in turns for call in each.d_calls if call.kinds == {FAKE}]
    others += [sample for call in judged for sample in call.samples.values()]
    named = [e for e in real.named if not (e.requires_grad or same_memory(e, real.images))]
    return [each for each in named if not any(is_same(sample_of(each), one) for one in others)]


def _is_scaled(images: Tensor, source: Tensor) -> bool:
    """Whether images are others in another range, that of each channel its own."""
    channels = zip(images.unbind(1), source.unbind(1), strict=True)
    return all(scale_of(own, before) for own, before in channels)


def conditions(turn: ObservedTurn) -> Iterator[Symptom]:
    """A D is told another condition of G's images than G was given."""
    reals = [call for call in turn.d_calls if call.fake_place is None]
    for call in turn.d_calls:
        for beside in _beside(call, call.fake_place):
            given = [] if call.g_call is None else call.g_call.inputs
            alike = [one for one in given if (one.shape, one.dtype) == (beside.shape, beside.dtype)]
            if len(beside) in (SAMPLES, call.rows_of(call.images, FAKE).numel()):
                # Images beside images are a condition where it is that of real ones.
                known = [each for real in reals for each in _beside(real, call.fake_place)]
                alike = [one for one in alike if any(is_same(one, each) for each in known)]
            if alike:
                other = not any(_is_related(beside, one) for one in alike)
                yield Symptom("condition-mismatch", other, call.line)


def _beside(call: DCall, found: FakePlace | None) -> list[Tensor]:
    """Samples of what a D is given beside G's images, and beside real ones where G's would be."""
    if found is None:
        return []
    values = [v for place, v in call.arguments.items() if place != call.place]
    if found.channels.stop is not None and call.images.ndim > 1:
        values += [call.images[:, : found.channels.start], call.images[:, found.channels.stop :]]
    start, stop = found.rows
    return [sample_of(v[start:stop]) for v in values if isinstance(v, Tensor) and v.numel()]


def _is_related(one: Tensor, other: Tensor) -> bool:
    if is_same(one, other) or not one.is_floating_point():
        return is_same(one, other)
    return _related(one, other) > RELATED


def _related(one: Tensor, other: Tensor) -> float:
    """How two tensors of values correlate, 1 where one of them is all the same."""
    pair = torch.stack([one.float(), other.float()])
    return float(torch.corrcoef(pair)[0, 1].nan_to_num(1.0))


def asked(turn: ObservedTurn) -> Iterator[Symptom]:
    """How the Ds are asked in D's part."""
    for d, network in turn.networks.ds.items():
        calls = [call for call in turn.calls("d") if call.d == d]
        if calls:
            frozen = all(call.is_frozen for call in calls)
            yield Symptom("frozen-discriminator", frozen, calls[-1].line, d and f"D '{d}'")
        fakes = [call for call in calls if call.kinds == {FAKE}]
        if fakes and len(fakes) < len(calls) and mixes_images(network):
            yield Symptom("batch-norm-split", True, fakes[0].line)


def places_taken(turn: ObservedTurn) -> Iterator[Symptom]:
    """A D is asked in one part in place of the one that is asked in the other."""
    parts = [[c for c in turn.calls(part) if c.fake_place is not None] for part in ("d", "g")]
    ds = turn.networks.ds
    if len(ds) < 2 or not all(parts):
        return
    in_d, in_g = (
        {g: {c.d for c in calls if c.g_call and c.g_call.g == g} for g in map(id, turn.networks.gs)}
        for calls in parts
    )
    for g in in_d:
        mixed = bool(in_d[g] - in_g[g] and in_g[g] - in_d[g])
        detail = "each part asks another D of the same G's images"
        yield Symptom("wrong-discriminator", mixed, parts[0][-1].line, detail)
    for calls, others in (parts, reversed(parts)):
        own, other = Counter(call.d for call in calls), Counter(call.d for call in others)
        missing = [d for d in ds if d in other and d not in own]
        taken = bool(missing) and max(own.values()) > max(other.values())
        detail = f"D '{missing[0]}'" if missing else ""
        yield Symptom("wrong-discriminator", taken, calls[-1].line, detail)


def without_gradient(turn: ObservedTurn) -> Iterator[Symptom]:
    """What G's loss reaches of Ds' answers on G's images, beside what D's loss does."""
    passes = [each for each in turn.passes if each.network == "g"]
    if not any(turn.networks.ids["g"] & each.leaves for each in passes):
        return
    for d in turn.networks.ds:
        calls = [call for call in turn.d_calls if call.network == "g" and call.d == d]
        fakes = [call for call in calls if FAKE in call.kinds]
        judged = [call for call in turn.calls("d") if call.d == d and call.gradients]
        if judged and not calls and turn.networks.copy is None:
            lost = not any(p.uses_d or d in {c.d for c in p.calls} for p in passes)
            detail = "it is not asked there"
            yield Symptom("adversarial-without-gradient", lost, passes[-1].line, detail)
        is_asked = bool(fakes) or any(call.with_gradient for call in calls)
        if not judged or not is_asked or d in turn.asked_at_output:
            continue
        scores = {number for call in judged for number in call.gradients}
        alike = all(len(call.outputs) == len(judged[0].outputs) for call in calls)
        reached = {number for call in fakes if call.has_graph for number in call.gradients}
        lost = not reached or (alike and not reached & scores)
        yield Symptom("adversarial-without-gradient", lost, (fakes or calls)[-1].line)
        asks_real = any(FAKE not in call.kinds for call in calls)
        features = alike and len(judged[0].outputs) > len(scores)
        objective = turn.networks.objective_of(d)
        if features and asks_real and objective and "relativistic" not in objective:
            unmatched = not lost and reached <= scores
            yield Symptom("feature-matching-without-gradient", unmatched, fakes[-1].line)


def undetached(turn: ObservedTurn) -> Iterator[Symptom]:
    """D's loss runs through G. With a gradient that is reversed on its way (DANN) it shall, and G
    has no loss of its own."""
    through = [each for each in turn.d_stepped if each.leaves & turn.networks.ids["g"]]
    lines = [call.line for each in through for call in each.calls if call.from_g]
    lines += [each.line for each in through]
    if any(each.network == "g" for each in turn.passes):
        yield Symptom("fake-not-detached", bool(lines), *lines[:1])


CHECKS = (
    same_noise,
    same_images,
    value_ranges,
    augmented,
    conditions,
    asked,
    places_taken,
    without_gradient,
    undetached,
)
