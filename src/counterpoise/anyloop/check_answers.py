"""Bugs in who is asked of what: which D, in which part, of images made of what, and what of its
answers reaches G."""

from collections import Counter
from collections.abc import Collection, Iterator

import torch
from torch import Tensor
from torch.autograd.graph import Node

from counterpoise.anyloop.scene import (
    SAMPLES,
    Networks,
    Pass,
    Samples,
    Scene,
    Sight,
    is_same,
    sample_of,
)
from counterpoise.anyloop.tap import FAKE, Call, Found
from counterpoise.game.r1 import mixes_images

# Where operations keep the weights that they were computed with.
# How far two conditions correlate at least, one of which was made of the other.
RELATED = 0.5
WEIGHTS = ("_saved_weight", "_saved_mat2", "variable")


def find_copy(networks: Networks, backward: Pass, nodes: Collection[Node]) -> None:
    """Note weights like a D's, that are not a D's, in a backward pass of G's part."""
    if networks.copy is not None or backward.network == "d":
        return
    places = {weight.data_ptr() for own in networks.weights.values() for weight in own}
    found = {}
    for node in nodes:
        for weight in (getattr(node, name, None) for name in WEIGHTS):
            if isinstance(weight, Tensor) and weight.data_ptr() not in places:
                found[weight.data_ptr()] = weight
    sizes = Counter(weight.numel() for weight in found.values())
    for d in networks.ds.values():
        wanted = Counter(p.numel() for p in d.parameters() if p.ndim > 1)
        if wanted and wanted <= sizes:
            networks.copy = Samples(list(found.values())), backward.line


def asked(scene: Scene) -> Iterator[Sight]:
    """How the Ds are asked in D's part."""
    in_d, copy = scene.calls("d"), scene.networks.copy
    for d in {call.d for call in in_d}:
        calls = [call for call in in_d if call.d == d]
        frozen = all(call.is_frozen for call in calls)
        yield Sight("frozen-discriminator", frozen, calls[-1].line, d and f"D '{d}'")
        fakes = [call for call in calls if call.kinds == {FAKE}]
        if fakes and len(fakes) < len(calls) and mixes_images(scene.networks.ds[d]):
            yield Sight("batch-norm-split", True, fakes[0].line)
    if copy is not None and in_d and not any(call.has_graph for call in scene.calls("g")):
        yield Sight("stale-discriminator", not copy[0].has_moved(), copy[1])


def places_taken(scene: Scene) -> Iterator[Sight]:
    """A D is asked in one part in place of the one that is asked in the other."""
    parts = [[c for c in scene.calls(part) if c.found is not None] for part in ("d", "g")]
    ds = scene.networks.ds
    if len(ds) < 2 or not all(parts):
        return
    pairs = [{(c.made.g, c.d) for c in calls if c.made is not None} for calls in parts]
    of_g = [{g: {d for one, d in own if one == g} for g, _ in own} for own in pairs]
    for g in of_g[0].keys() & of_g[1].keys():
        mixed = bool(of_g[0][g] - of_g[1][g] and of_g[1][g] - of_g[0][g])
        detail = "each part asks another D of the same G's images"
        yield Sight("wrong-discriminator", mixed, parts[0][-1].line, detail)
    for calls, others in (parts, reversed(parts)):
        own, other = Counter(call.d for call in calls), Counter(call.d for call in others)
        missing = [d for d in ds if d in other and d not in own]
        taken = bool(missing) and max(own.values()) > max(other.values())
        detail = f"D '{missing[0]}'" if missing else ""
        yield Sight("wrong-discriminator", taken, calls[-1].line, detail)


def without_gradient(scene: Scene) -> Iterator[Sight]:
    """What G's loss reaches of Ds' answers on G's images, beside what D's loss does."""
    if not any(p.network == "g" and scene.networks.ids["g"] & p.leaves for p in scene.passes):
        return
    for d in scene.networks.ds:
        calls = [call for call in scene.asked if call.network == "g" and call.d == d]
        fakes = [call for call in calls if FAKE in call.kinds]
        judged = [call for call in scene.calls("d") if call.d == d and call.gradients]
        if not judged or not (fakes or any(call.with_gradient for call in calls)):
            continue
        scores = {number for call in judged for number in call.gradients}
        alike = all(len(call.outputs) == len(judged[0].outputs) for call in calls)
        reached = {number for call in fakes if call.has_graph for number in call.gradients}
        lost = not reached or (alike and not reached & scores)
        yield Sight("adversarial-without-gradient", lost, (fakes or calls)[-1].line)
        asks_real = any(FAKE not in call.kinds for call in calls)
        features = alike and len(judged[0].outputs) > len(scores)
        objective = scene.networks.objective_of(d)
        if features and asks_real and objective and "relativistic" not in objective:
            unmatched = not lost and reached <= scores
            yield Sight("feature-matching-without-gradient", unmatched, fakes[-1].line)


def conditions(scene: Scene) -> Iterator[Sight]:
    """A D is told another condition of G's images than G was given."""
    reals = [call for call in scene.asked if call.found is None]
    for call in scene.asked:
        for beside in _beside(call, call.found):
            given = [] if call.made is None else call.made.inputs
            alike = [one for one in given if (one.shape, one.dtype) == (beside.shape, beside.dtype)]
            if len(beside) == SAMPLES:
                # Images beside images are a condition where it is that of real ones.
                known = [each for real in reals for each in _beside(real, call.found)]
                alike = [one for one in alike if any(is_same(one, each) for each in known)]
            if alike:
                other = not any(_is_related(beside, one) for one in alike)
                yield Sight("condition-mismatch", other, call.line)


def _beside(call: Call, found: Found | None) -> list[Tensor]:
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
    return bool(torch.corrcoef(torch.stack([one, other]).float())[0, 1].nan_to_num(1.0) > RELATED)


def augmented(scene: Scene) -> Iterator[Sight]:
    """D's part judges G's images as they are, and G's part others that were made of such."""
    in_d = [call for call in scene.calls("d") if call.from_g]
    in_g = [call for call in scene.calls("g") if call.from_g]
    if in_d and in_g:
        plain = all(call.made is not None for call in in_d)
        changed = all(call.made is None for call in in_g)
        yield Sight("augmented-one-side", plain and changed, in_d[-1].line)
