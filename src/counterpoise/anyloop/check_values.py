"""Bugs in what the networks are given: the same again, or images of other values."""

from collections.abc import Iterator

from torch import Tensor

from counterpoise.anyloop.scene import Asked, Check, Made, Scene, Sight, is_same

# How far beyond G's bounds real images are, as a share of what lies between the bounds.
BEYOND = 0.1
# So many of G's values are where no real one is.
SHARE = 0.05
# Fewer values say nothing.
VALUES = 64


class Values(Check):
    """Compares what networks are given with what they were given in the turn before."""

    def __init__(self) -> None:
        # What Gs were given in the last two turns: one may begin with the images of the next.
        self._inputs: list[list[Made]] = []
        self._samples: list[Tensor] = []

    def look(self, scene: Scene) -> Iterator[Sight]:
        yield from self._same_noise(scene)
        yield from self._same_images(scene)
        yield from self._ranges(scene)

    def _same_noise(self, scene: Scene) -> Iterator[Sight]:
        judged = {part: [m for m in scene.made if part in m.judged_in] for part in ("d", "g")}
        judged["g"] = judged["g"] or [made for made in scene.made if made.with_gradient]
        groups = [group for group in judged.values() if group]
        same = [group for group in groups if all(map(self._is_repeated, group))]
        if groups and len(self._inputs) == 2:
            yield Sight("same-noise", bool(same), same[0][-1].line if same else "")
        self._inputs = [*self._inputs[-1:], scene.made]

    def _is_repeated(self, made: Made) -> bool:
        """Whether a G was given all of it, or noise for each image beside other things, in both
        turns before."""
        return all(any(_is_like(made, old) for old in turn) for turn in self._inputs)

    def _same_images(self, scene: Scene) -> Iterator[Sight]:
        calls = scene.calls("d")
        if not calls:
            return
        repeated = [c for c in calls if any(is_same(c.sample, old) for old in self._samples)]
        self._samples = [call.sample for call in calls]
        generated = [call for call in calls if call.made is not None]
        # Images that no G was seen to make are fake where nothing else can be.
        fakes = repeated if not generated and len(repeated) < len(calls) else []
        fakes = fakes or [call for call in repeated if call.made is not None]
        reals = [call for call in repeated if call not in fakes and len(call.images) > 1]
        yield Sight("same-fake", bool(fakes), fakes[-1].line if fakes else "")
        yield Sight("same-real", bool(reals), reals[-1].line if reals else "")

    def _ranges(self, scene: Scene) -> Iterator[Sight]:
        calls = scene.calls("d")
        for fake in calls:
            if fake.made is None or fake.made.bounds is None:
                continue
            low, high = (fake.scale[0] * bound + fake.scale[1] for bound in fake.made.bounds)
            made = fake.images[fake.rows, fake.channels]
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


def _real_values(real: Asked, fake: Asked) -> Tensor | None:
    """The real images of a call, of the channels that G makes."""
    if real.is_between or real.images.shape[2:] != fake.images.shape[2:]:
        return None
    if real.images.ndim < 2 or (real.made is not None and real is not fake):
        return None
    return real.real_rows(real.images)[:, fake.channels]
