"""Which of D's arguments are the images that it judges, and whether G made them."""

from typing import Any

import torch
from torch import Tensor, nn

from counterpoise.anyloop.graph import reaches
from counterpoise.anyloop.hooks import first_tensor


class JudgedImages:
    """Finds the images among what D is called with. Where a call shows their place, it holds for
    later ones that do not."""

    def __init__(self, generator: nn.Module) -> None:
        self._g = generator
        self._place: int | str | None = None

    def among(
        self,
        args: tuple[Any, ...],
        options: dict[str, Any],
        made: Tensor | None,
        *,
        in_g_part: bool,
    ) -> Tensor | None:
        """The images: what G `made` last; what has a graph in G's part; what was there before, or
        is shaped like what G made; the first tensor else."""
        places: list[tuple[int | str, Any]] = [*enumerate(args), *options.items()]
        given = {place: value for place, value in places if isinstance(value, Tensor)}
        if len(given) < 2:
            return next(iter(given.values()), None)
        alike, shown = given, []
        if made is not None:
            alike = {place: value for place, value in given.items() if _are_alike(value, made)}
            shown = [place for place, value in given.items() if same_memory(value, made)]
        if in_g_part:
            shown += [place for place, value in alike.items() if value.grad_fn is not None]
        if shown:
            self._place = shown[0]
        if self._place in given:
            return given[self._place]
        return next(iter((alike or given).values()))

    def carry_gradient(self, images: Tensor, made: Tensor | None, *, in_g_part: bool) -> bool:
        """Whether images have a graph that leads to G. Real images have one that does not, where
        the loop augments them and takes an R1 of its own there."""
        if images.grad_fn is None or in_g_part or (made is not None and same_memory(images, made)):
            return images.grad_fn is not None
        return reaches(images.grad_fn, {id(weight) for weight in self._g.parameters()})


def are_made(images: Tensor, made: Tensor | None) -> bool:
    """Whether images are those that G `made`, alone or with a condition before or behind their
    channels."""
    if made is None or same_memory(images, made):
        return made is not None
    if not _are_alike(images, made) or images.shape[1] == made.shape[1]:
        # A copy of the same size is not looked for: it would cost every loop a comparison.
        return False
    if (len(images), images.dtype, images.device) != (len(made), made.dtype, made.device):
        return False
    channels = made.shape[1]
    return any(torch.equal(part, made) for part in (images[:, -channels:], images[:, :channels]))


def first_of(output: Any) -> Tensor | None:
    """The first tensor of what G gives: its images."""
    if isinstance(output, dict):
        return first_tensor((), output)
    return first_tensor(tuple(output) if isinstance(output, list | tuple) else (output,), {})


def same_memory(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are views of the same values, or of values side by side."""
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def _are_alike(images: Tensor, made: Tensor) -> bool:
    """Whether images could be what G made, alone or beside a condition."""
    return (
        images.ndim == made.ndim > 1
        and images.shape[2:] == made.shape[2:]
        and images.shape[1] >= made.shape[1]
    )
