"""What passes through the two networks while a step is open: which call of D saw what."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from counterpoise.anyloop.graph import leaf_ids, nodes_from
from counterpoise.anyloop.hooks import first_tensor, watch_after, watch_before
from counterpoise.anyloop.user_code import user_line

REAL, FAKE, OTHER = "real", "fake", "other"


@dataclass
class Call:
    """One forward pass of D with gradients on."""

    kind: str  # REAL, FAKE, or OTHER: beyond the first of each
    # Its input, detached, before anything was done to it; None where only its outputs were given.
    images: Tensor | None
    carries_gradient: bool  # whether its input was computed from something that is trained
    outputs: Tensor | None = None  # with its graph
    line: str = ""  # only where the loop is checked
    training: bool = True
    from_g: bool = False  # whether its input is what G made last
    # Whether D can be asked again with the images alone, and answers with a tensor.
    images_alone: bool = False

    @property
    def node(self) -> Node | None:
        return None if self.outputs is None else self.outputs.grad_fn

    def let_go(self) -> None:
        """Drop the graph."""
        self.outputs = None if self.outputs is None else self.outputs.detach()


@dataclass
class Generated:
    """One forward pass of G."""

    inputs: list[Tensor]
    images: Tensor  # detached; the same memory as G's output
    # Only where the loop is checked:
    node: Node | None
    line: str
    training: bool


@dataclass
class Phase:
    """What D's or G's part of the loop has shown so far."""

    network: str  # "d" or "g"
    d_calls: list[Call] = field(default_factory=list)
    generated: list[Generated] = field(default_factory=list)
    backwards: int = 0  # backward passes that were begun in it

    def call(self, kind: str) -> Call | None:
        """The first call of a kind."""
        return next((call for call in self.d_calls if call.kind == kind), None)


class Tap:
    """Hooks on both networks. `phase` is the open part, None between parts.

    In D's part the images that G made, or that carry a gradient, are the fake ones; where neither
    can be seen (an image buffer, a concatenated condition) the first call is real and the second is
    fake. Later calls (penalties) and calls without gradients (logging) are left alone.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        change_input: Callable[[Tensor, Phase, str], Tensor],
        generated: Callable[[Tensor], None],
        judged: Callable[[Any], None],
    ) -> None:
        self.phase: Phase | None = None
        self.with_lines = False
        self._g, self._d = generator, discriminator
        self._change_input, self._generated, self._judged = change_input, generated, judged
        self._current: Call | None = None
        self._place: int | str = 0  # of the images among D's arguments
        # What G made last, also before D's part began.
        self.latest: Generated | None = None
        self._handles = [
            watch_after(generator, self._after_g),
            watch_before(discriminator, self._before_d),
            watch_after(discriminator, self._after_d),
        ]

    @contextmanager
    def muted(self) -> Iterator[None]:
        """Passes in here are no part of the loop."""
        phase, self.phase = self.phase, None
        try:
            yield
        finally:
            self.phase = phase

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()

    def _after_g(
        self, module: nn.Module, args: tuple[Any, ...], options: dict[str, Any], output: Any
    ) -> None:
        if module is not self._g or torch.compiler.is_compiling():
            return
        images = _first_of(output)
        if images is None:
            return
        self.latest = Generated(
            [v.detach() for v in (*args, *options.values()) if isinstance(v, Tensor)],
            images.detach(),
            images.grad_fn if self.with_lines else None,
            user_line() if self.with_lines else "",
            module.training,
        )
        if self.phase is not None:
            self.phase.generated.append(self.latest)
        if images.requires_grad:
            self._generated(images)

    def _before_d(
        self, module: nn.Module, args: tuple[Any, ...], options: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        self._current, phase = None, self.phase
        if module is not self._d or phase is None or not torch.is_grad_enabled():
            return None
        images = self._images(args, options)
        if images is None:
            return None
        carries = self._carries(images, phase)
        latest = self.latest
        from_g = carries or (latest is not None and _shows(images, latest.images))
        kind = _kind(phase, carries=carries, from_g=from_g)
        self._current = Call(
            kind,
            images.detach(),
            carries,
            from_g=from_g,
            training=module.training,
            images_alone=len(args) + len(options) == 1,
        )
        if self.with_lines:
            self._current.line = user_line()
        changed = self._change_input(images, phase, kind)
        if changed is images:
            return None
        return (
            tuple(changed if value is images else value for value in args),
            {name: changed if value is images else value for name, value in options.items()},
        )

    def _images(self, args: tuple[Any, ...], options: dict[str, Any]) -> Tensor | None:
        """The argument that D judges: where G's images are, or were; the first tensor else."""
        given: dict[int | str, Tensor] = {
            place: value
            for place, value in (*enumerate(args), *options.items())
            if isinstance(value, Tensor)
        }
        made = None if self.latest is None else self.latest.images
        signs: tuple[Callable[[Tensor], bool], ...] = (
            lambda value: made is not None and _same_memory(value, made),
            lambda value: value.grad_fn is not None,
        )
        for sign in signs:
            for place, value in given.items():
                if sign(value):
                    self._place = place
                    return value
        return given.get(self._place, next(iter(given.values()), None))

    def _carries(self, images: Tensor, phase: Phase) -> bool:
        """Whether images were computed from something that is trained; real ones that an R1 of
        the loop's own is taken at, and that were augmented, have a graph too."""
        if images.grad_fn is None or phase.network == "g":
            return images.grad_fn is not None
        weights = {id(p) for p in self._g.parameters()}
        return bool(leaf_ids(nodes_from([images.grad_fn])) & weights)

    def _after_d(
        self, module: nn.Module, args: tuple[Any, ...], options: dict[str, Any], output: Any
    ) -> None:
        call, self._current = self._current, None
        if call is None or self.phase is None:
            return
        self._judged(output)
        if isinstance(output, Tensor):
            call.outputs = output
            self.phase.d_calls.append(call)


def _kind(phase: Phase, *, carries: bool, from_g: bool) -> str:
    if phase.network == "g":
        kind = FAKE if carries else REAL
    elif from_g or phase.call(REAL) is not None:
        kind = FAKE
    else:
        kind = REAL
    return kind if phase.call(kind) is None else OTHER


def _first_of(output: Any) -> Tensor | None:
    """The first tensor of what G gives."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, dict):
        return first_tensor((), output)
    return first_tensor(tuple(output), {}) if isinstance(output, tuple | list) else None


def _shows(images: Tensor, made: Tensor) -> bool:
    """Whether images are what G made, alone or with a condition before or behind its channels."""
    if _same_memory(images, made):
        return True
    channels = made.shape[1] if made.ndim > 1 else 0
    alike = (
        images.ndim == made.ndim > 1
        and images.dtype == made.dtype
        and images.device == made.device
        and images.shape[1] > channels
        and (len(images), *images.shape[2:]) == (len(made), *made.shape[2:])
    )
    return alike and any(
        torch.equal(part, made) for part in (images[:, -channels:], images[:, :channels])
    )


def _same_memory(a: Tensor, b: Tensor) -> bool:
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()
