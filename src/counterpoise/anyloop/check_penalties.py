"""Bugs in gradient penalties."""

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from counterpoise.anyloop.scene import Scene, Sight, Slope
from counterpoise.anyloop.tap import FAKE, REAL
from counterpoise.game.r1 import mixes_images

# How far from a straight line between two images a point may be, as a share of their distance.
OFF = 1e-3
# Numbers of a batch that are the same for all its images differ less than this.
ALIKE = 1e-4
# Turns from which it can be told that one norm is of the whole batch.
NORMS = 3


def penalties(scene: Scene) -> Iterator[Sight]:
    """The gradients of D's answers that D's part takes, and what becomes of them."""
    for slope in scene.slopes:
        detail = "it is computed without `create_graph`" if slope.node is None else ""
        yield Sight("penalty-unused", not slope.is_used, slope.line, detail)
        mixed = mixes_images(scene.networks.ds[slope.call.d])
        yield Sight("batch-norm-in-penalty", slope.is_used and mixed, slope.line)
        epsilon = _epsilon(scene, slope)
        if epsilon is not None:
            yield Sight("penalty-epsilon", bool(epsilon), slope.line, epsilon)
        if slope.pull is not None and len(slope.values) > 1:
            past = [each for turn in scene.past() for each in turn.slopes]
            norm = _norm([slope, *(each for each in past if each.pull is not None)])
            yield Sight("penalty-norm", bool(norm), slope.line, norm)


def _norm(slopes: Sequence[Slope]) -> str:
    """What is wrong with the norm of a penalty, the latest first."""
    norms, pulled = [], []
    for each in slopes:
        slope, pull = each.values.flatten(1), each.pull.flatten(1)  # type: ignore[union-attr]
        squares = (slope * slope).sum(1)
        factors = (pull * slope).sum(1) / squares.clamp_min(1e-30)
        norms.append(squares.sum().sqrt())
        pulled.append(factors.mean())
        if each is not slopes[0]:
            continue
        if float((pull - factors[:, None] * slope).norm() / pull.norm()) > 0.05:
            # The norm of an image's gradient pulls the gradient along itself.
            return "it is not taken over all values of an image"
        if float(factors.std()) > ALIKE * float(factors.abs().mean()) or len(slopes) < NORMS:
            return ""
    # The pull of (norm - 1)^2 of one norm of them all; that of R1 is the same in every turn.
    factor = torch.stack(pulled)
    fits = factor / (1 - 1 / torch.stack(norms))
    if fits.std() < 1e-3 * fits.abs().mean() and factor.std() > 1e-2 * factor.abs().mean():
        return "it is one of the whole batch"
    return ""


def _epsilon(scene: Scene, slope: Slope) -> str | None:
    """What is wrong with points between real and fake images; "" where nothing is, None where they
    are not."""
    points = slope.points.flatten(1)
    calls = [call for call in scene.calls("d") if not call.is_between]
    reals = [call.rows_of(call.images, REAL) for call in calls if not call.from_g]
    fakes = [call.rows_of(call.images, FAKE) for call in calls if call.found is not None]
    fakes += [made.images for made in scene.made]
    for real, fake in itertools.product(reals, fakes):
        if not (real.numel() == fake.numel() == points.numel() and len(real) == len(points)):
            continue
        way, gone = real.flatten(1) - fake.flatten(1), points - fake.flatten(1)
        shares = (gone * way).sum(1) / (way * way).sum(1).clamp_min(1e-12)
        off = float((gone - shares[:, None] * way).norm()) / max(float(way.norm()), 1e-12)
        if off < OFF and _are_shares(shares):
            one = len(points) > 2 and float(shares.max() - shares.min()) < ALIKE
            if one and not OFF < float(shares.mean()) < 1 - OFF:
                return None  # the images themselves
            return "one for the whole batch" if one else ""
        if _are_shares((gone / way)[way.abs() > 0.1 * float(way.abs().max())]):
            return "another for every value of an image"
    return None


def _are_shares(values: Tensor) -> bool:
    return bool(((values > -OFF) & (values < 1 + OFF)).all())
