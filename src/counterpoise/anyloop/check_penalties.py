"""Bugs in gradient penalties."""

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor

from counterpoise.anyloop.network_hooks import FAKE, REAL
from counterpoise.anyloop.observed_turn import ObservedTurn, PenaltyGradient, Symptom
from counterpoise.game.r1 import mixes_images

# How far from a straight line between two images a point may be, as a share of their distance.
OFF = 1e-3
# Numbers of a batch that are the same for all its images differ less than this.
ALIKE = 1e-4
# Penalties from which it can be told that one norm is of the whole batch.
NORMS = 3


def penalties(turn: ObservedTurn) -> Iterator[Symptom]:
    """The gradients of D's answers that D's part takes, and what becomes of them."""
    for penalty in turn.penalty_gradients:
        detail = "it is computed without `create_graph`" if penalty.node is None else ""
        yield Symptom("penalty-unused", not penalty.is_used, penalty.line, detail)
        mixed = mixes_images(turn.networks.ds[penalty.call.d])
        yield Symptom("batch-norm-in-penalty", penalty.is_used and mixed, penalty.line)
        centred, norm = False, ""
        if penalty.pull is not None and len(penalty.values) > 1:
            norms, factors, along = _pulled(penalty)
            centred = along and _centres_on_one(norms, factors)
            norm = _norm(turn, norms, factors, along)
            weights = factors / (1 - 1 / norms) if centred else factors
            known = along and float(weights.std()) < ALIKE * float(weights.abs().mean()) + centred
            yield Symptom("penalty-sign", known and bool((weights < 0).all()), penalty.line)
            yield Symptom("penalty-norm", bool(norm), penalty.line, norm)
        epsilon = _epsilon(turn, penalty, centred)
        if epsilon is not None:
            yield Symptom("penalty-epsilon", bool(epsilon), penalty.line, epsilon)


def _pulled(penalty: PenaltyGradient) -> tuple[Tensor, Tensor, bool]:
    """The norm of each image's gradient (N,), by how much of it a penalty pulls it (N,), and
    whether it is pulled along itself alone."""
    values, pull = penalty.values.flatten(1), penalty.pull.flatten(1)  # type: ignore[union-attr]
    squares = (values * values).sum(1)
    factors = (pull * values).sum(1) / squares.clamp_min(1e-30)
    off = float((pull - factors[:, None] * values).norm() / pull.norm())
    return squares.sqrt(), factors, not off > 0.05


def _norm(turn: ObservedTurn, norms: Tensor, factors: Tensor, along: bool) -> str:
    """What is wrong with the norm of a penalty."""
    if not along:
        # The norm of an image's gradient pulls the gradient along itself.
        return "it is not taken over all values of an image"
    if float(factors.std()) > ALIKE * float(factors.abs().mean()):
        return ""
    old = [own for old in turn.past() for own in old.penalty_gradients if own.pull is not None]
    turns = [(norms, factors), *(_pulled(each)[:2] for each in old)]
    whole = torch.stack([norms.norm() for norms, _ in turns])
    mean = torch.stack([factors.mean() for _, factors in turns])
    is_one = len(turns) >= NORMS and _centres_on_one(whole, mean)
    return "it is one of the whole batch" if is_one else ""


def _centres_on_one(norms: Tensor, factors: Tensor) -> bool:
    """Whether these are the pulls of (norm - 1)^2: those of R1 are the same whatever the norm."""
    fits = factors / (1 - 1 / norms)
    return bool(
        fits.std() < 1e-3 * fits.abs().mean() and factors.std() > 1e-2 * factors.abs().mean()
    )


def _epsilon(turn: ObservedTurn, penalty: PenaltyGradient, centred: bool) -> str | None:
    """What is wrong with points between real and fake images; "" where nothing is, None where they
    are not. Of a penalty that is `centred` on a norm of 1 they should be."""
    points = penalty.points.flatten(1)
    calls = [call for call in turn.calls("d") if not call.is_between]
    reals = [call.rows_of(call.images, REAL) for call in calls if not call.from_g]
    fakes = [call.rows_of(call.images, FAKE) for call in calls if call.fake_place is not None]
    fakes += [made.images for made in turn.g_calls]
    by_value = ""
    for real, fake in itertools.product(reals, fakes):
        if not (real.numel() == fake.numel() == points.numel() and len(real) == len(points)):
            continue
        way, gone = real.flatten(1) - fake.flatten(1), points - fake.flatten(1)
        shares = (gone * way).sum(1) / (way * way).sum(1).clamp_min(1e-12)
        off = float((gone - shares[:, None] * way).norm()) / max(float(way.norm()), 1e-12)
        if off < OFF and _are_shares(shares):
            one = len(points) > 2 and float(shares.max() - shares.min()) < ALIKE
            if one and not OFF < float(shares.mean()) < 1 - OFF:
                kind = REAL if float(shares.mean()) > 0.5 else FAKE
                return f"they are the {kind} images themselves" if centred else None
            return "one for the whole batch" if one else ""
        if len(points) > 1 and _are_shares((gone / way)[way.abs() > 0.1 * float(way.abs().max())]):
            by_value = "another for every value of an image"
    return by_value or None


def _are_shares(values: Tensor) -> bool:
    return bool(((values > -OFF) & (values < 1 + OFF)).all())
