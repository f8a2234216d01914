"""Gradients and updates: their norms, their direction from step to step, and their balance."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from counterpoise.sensors.sums import norm, total

ADVERSARIAL = "adversarial"


def output_gradients(
    terms: Mapping[str, Tensor], fake: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of G's weighted loss terms at G's output: (adversarial, all others summed).

    `fake` is G's output with its graph, `terms` are scalars computed from it; a gradient is shaped
    as `fake`, and None where there is no such term. At the output gradients of different terms
    compare: everything behind it, G's weights, sees only their sum. Back-propagating that sum from
    `fake` on is the rest of G's backward pass, so that reading them costs nothing; the graphs from
    the terms to `fake` are used up. The adversarial term must share none with the others.
    """
    of_each: list[Tensor | None] = []
    for is_adversarial in (True, False):
        kind = [term for name, term in terms.items() if (name == ADVERSARIAL) == is_adversarial]
        of_each += torch.autograd.grad(torch.stack(kind).sum(), fake) if kind else [None]
    return of_each[0], of_each[1]


def gradient_readings(gradient: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """A flat gradient's norm, and its cosine to the one of the step `before` (None without one), as
    scalars. Both gradients are used up. A cosine is 0 where one of the two gradients is."""
    length = norm(gradient)
    if before is None:
        return length, None
    return length, total(_scale(gradient, length).mul_(_scale(before, norm(before))))


def _scale(vector: Tensor, length: Tensor) -> Tensor:
    """A vector of length 1 in the place of `vector`, which may be too large to be copied."""
    return vector.div_(length.clamp_min(torch.finfo(vector.dtype).tiny))


def flat_gradient(module: nn.Module) -> Tensor:
    """A copy of all gradients of a network as one float32 vector; parameters without one are 0."""
    return flat(torch.zeros_like(p) if p.grad is None else p.grad for p in module.parameters())


def flat(tensors: Iterable[Tensor]) -> Tensor:
    """A copy of tensors (a network's weights, say) as one float32 vector without gradient."""
    return torch.cat([tensor.detach().float().flatten() for tensor in tensors])


def update_ratio(before: Tensor, after: Tensor) -> Tensor:
    """The norm of an update over the norm of the weights, from `flat` weights around it.

    `after` is used up: the update is put in its place.
    About 1e-3 is usual; 0 means that nothing was learned, 0.1 that little of what was is left.
    """
    return norm(after.sub_(before)) / norm(before)
