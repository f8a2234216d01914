"""Bugs in what the networks are given: the same again, or images of other values."""

from collections.abc import Iterator

from torch import Tensor

from counterpoise.anyloop.scene import Scene, Sight, is_same
from counterpoise.anyloop.tap import FAKE, REAL, Call, Made

# How far beyond G's bounds real images are, as a share of what lies between the bounds.
BEYOND = 0.1
# So many of G's values are where no real one is.
SHARE = 0.05
# Fewer values say nothing.
VALUES = 64


def same_noise(scene: Scene) -> Iterator[Sight]:
    """A G is given the same in each turn: all of it, or noise for each image beside other things.
    It may begin with the images of the next turn, so two turns before are looked at."""
    judged = {part: [m for m in scene.made if part in m.judged_in] for part in ("d", "g")}
    judged["g"] = judged["g"] or [made for made in scene.made if made.with_gradient]
    groups = [group for group in judged.values() if group]
    past = scene.past()
    same = [
        group
        for group in groups
        if all(any(_is_like(m, old) for old in turn.made) for m in group for turn in past)
    ]
    if groups and len(past) == 2:
        yield Sight("same-noise", bool(same), same[0][-1].line if same else "")


def same_images(scene: Scene) -> Iterator[Sight]:
    """A D is given images of the turn before."""
    calls = scene.calls("d")
    old = [s for turn in scene.past()[:1] for c in turn.calls("d") for s in c.samples.values()]
    for name, kind in (("same-fake", FAKE), ("same-real", REAL)):
        repeated = [
            call
            for call in calls
            for of, sample in call.samples.items()
            if (of if len(call.samples) > 1 or FAKE not in call.kinds else FAKE) == kind
            and any(is_same(sample, each) for each in old)
            and (kind == FAKE or len(call.images) > 1)
        ]
        if calls:
            yield Sight(name, bool(repeated), repeated[-1].line if repeated else "")


def value_ranges(scene: Scene) -> Iterator[Sight]:
    """Real images are not where G's can be."""
    calls = scene.calls("d")
    for fake in calls:
        if fake.found is None or fake.made is None or fake.made.bounds is None:
            continue
        times, plus = fake.found.scale
        low, high = (times * bound + plus for bound in fake.made.bounds)
        made = fake.rows_of(fake.images, FAKE)[:, fake.found.channels]
        for real in calls:
            values = _real_values(real, fake)
            if values is None or min(values.numel(), made.numel()) < VALUES:
                continue
            least, most = float(values.min()), float(values.max())
            margin, middle = BEYOND * (high - low), (low + high) / 2
            below = float((made < middle).float().mean())
            seen = least < low - margin or most > high + margin
            seen |= least >= middle - 1e-3 and below > SHARE
            detail = f"real ones are in [{least:.2g}, {most:.2g}], G's in [{low:g}, {high:g}]"
            yield Sight("value-ranges", seen, real.line, detail)
            return


def _is_like(made: Made, before: Made) -> bool:
    if before.g != made.g or not len(before.inputs) == len(made.inputs) > 0:
        return False
    same = [*map(is_same, before.inputs, made.inputs)]
    return all(same) or any(map(all, zip(same, made.varied, strict=True)))


def _real_values(real: Call, fake: Call) -> Tensor | None:
    """The real images of a call, of the channels that G makes."""
    if real.is_between or real.images.shape[2:] != fake.images.shape[2:] or fake.found is None:
        return None
    if real.images.ndim < 2 or real.from_g or (real.found is not None and real is not fake):
        return None
    return real.rows_of(real.images, REAL)[:, fake.found.channels]
