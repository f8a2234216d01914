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
    adversarial = [term for name, term in terms.items() if name == ADVERSARIAL]
    content = [term for name, term in terms.items() if name != ADVERSARIAL]
    of_adversarial, of_content = (
        torch.autograd.grad(torch.stack(kind).sum(), fake)[0] if kind else None
        for kind in (adversarial, content)
    )
    return of_adversarial, of_content


class GradientTracker:
    """Reads a network's parameter gradients as the last backward pass left them.

    A cosine needs the gradient of the step before, which is kept only when `keep` is called in it.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        # The kept gradient, flat; part of what a resumed training needs.
        self.kept: Tensor | None = None

    def keep(self) -> None:
        """Keep this step's gradient for the next one's `read`."""
        self.kept = flat_gradient(self._module)

    def read(self) -> tuple[Tensor, Tensor | None]:
        """The gradient's norm, and its cosine to the kept one (None without one), as scalars.

        The kept gradient is let go. A cosine is 0 where one of the two gradients is.
        """
        gradient, kept = flat_gradient(self._module), self.kept
        self.kept = None
        length, cosine = norm(gradient), None
        if kept is not None:
            cosine = total(_scale(gradient, length).mul_(_scale(kept, norm(kept))))
        return length, cosine


def _scale(vector: Tensor, length: Tensor) -> Tensor:
    """A vector of length 1 in the place of `vector`, which may be too large to be copied."""
    return vector.div_(length.clamp_min(torch.finfo(vector.dtype).tiny))


def flat_gradient(module: nn.Module) -> Tensor:
    """A copy of all gradients of a network as one float32 vector; parameters without one are 0."""
    parameters = list(module.parameters())
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    return flat(gradients)


def flat(tensors: Iterable[Tensor]) -> Tensor:
    """A copy of tensors (a network's weights, say) as one float32 vector without gradient."""
    return torch.cat([tensor.detach().float().flatten() for tensor in tensors])


def update_ratio(before: Tensor, after: Tensor) -> Tensor:
    """The norm of an update over the norm of the weights, from `flat` weights around it.

    `after` is used up: the update is put in its place.
    About 1e-3 is usual; 0 means that nothing was learned, 0.1 that little of what was is left.
    """
    return norm(after.sub_(before)) / norm(before)
