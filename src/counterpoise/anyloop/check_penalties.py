"""Bugs in gradient penalties."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from counterpoise.anyloop.scene import Check, Scene, Sight, Slope
from counterpoise.game.r1 import mixes_images

# How far from a straight line between two images a point may be, as a share of their distance.
OFF = 1e-3
# Numbers of a batch that are the same for all its images differ less than this.
ALIKE = 1e-4
# Turns from which it can be told that one norm is of the whole batch.
NORMS = 3


class Penalties(Check):
    """Looks at the gradients of D's answers that D's part takes, and what becomes of them."""

    def __init__(self, discriminators: Mapping[str, nn.Module]) -> None:
        self._ds = discriminators
        self._norms: list[tuple[float, float]] = []  # of a batch, and the factor of its pull

    def look(self, scene: Scene) -> Iterator[Sight]:
        for slope in scene.slopes:
            detail = "" if slope.node is not None else "it is computed without `create_graph`"
            yield Sight("penalty-unused", not slope.is_used, slope.line, detail)
            mixed = mixes_images(self._ds[slope.asked.d])
            yield Sight("batch-norm-in-penalty", slope.is_used and mixed, slope.line)
            epsilon = _epsilon(scene, slope)
            if epsilon is not None:
                yield Sight("penalty-epsilon", bool(epsilon), slope.line, epsilon)
            if slope.pull is not None and len(slope.values) > 1:
                norm = self._norm(slope.values.flatten(1), slope.pull.flatten(1))
                yield Sight("penalty-norm", bool(norm), slope.line, norm)

    def _norm(self, slopes: Tensor, pulls: Tensor) -> str:
        """What is wrong with the norm of a penalty, that pulls slopes like this."""
        squares = (slopes * slopes).sum(1)
        factors = (pulls * slopes).sum(1) / squares.clamp_min(1e-30)
        rest = pulls - factors[:, None] * slopes
        if float(rest.norm()) > 0.05 * float(pulls.norm()):
            # The norm of an image's gradient pulls the gradient along itself.
            return "it is not taken over all values of an image"
        if float(factors.std()) > ALIKE * float(factors.abs().mean()):
            return ""
        self._norms.append((float(squares.sum().sqrt()), float(factors.mean())))
        if len(self._norms) < NORMS or not all(norm > 0 for norm, _ in self._norms):
            return ""
        # The pull of (norm - 1)^2 of one norm of them all; that of R1 is the same in every turn.
        fits = torch.tensor([factor / (1 - 1 / norm) for norm, factor in self._norms])
        pulled = torch.tensor([factor for _, factor in self._norms])
        if fits.std() < 1e-3 * fits.abs().mean() and pulled.std() > 1e-2 * pulled.abs().mean():
            return "it is one of the whole batch"
        return ""


def _epsilon(scene: Scene, slope: Slope) -> str | None:
    """What is wrong with points between real and fake images; "" where nothing is, None where they
    are not."""
    points = slope.points.flatten(1)
    reals = [c.images for c in scene.calls("d") if c.made is None and not c.is_between]
    for real in reals:
        for fake in (made.images for made in scene.made):
            if not (real.numel() == fake.numel() == points.numel() and len(real) == len(points)):
                continue
            way = real.flatten(1) - fake.flatten(1)
            gone = points - fake.flatten(1)
            shares = (gone * way).sum(1) / (way * way).sum(1).clamp_min(1e-12)
            off = float((gone - shares[:, None] * way).norm()) / max(float(way.norm()), 1e-12)
            if off < OFF and bool(((shares > -OFF) & (shares < 1 + OFF)).all()):
                one = len(points) > 2 and float(shares.max() - shares.min()) < ALIKE
                if one and not OFF < float(shares.mean()) < 1 - OFF:
                    return None  # the images themselves
                return "one for the whole batch" if one else ""
            far = way.abs() > 0.1 * float(way.abs().max())
            each = (gone / way)[far]
            if bool(((each > -OFF) & (each < 1 + OFF)).all()):
                return "another for every value of an image"
    return None
