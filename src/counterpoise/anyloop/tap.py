"""What passes through the two networks while a step is open: which call of D saw what."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd.graph import Node

from counterpoise.anyloop.hooks import watch_after, watch_before
from counterpoise.anyloop.judged import JudgedImages, are_made, first_of
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

    inputs: list[Tensor]  # detached
    images: Tensor  # detached; the same memory as G's output, or as the first tensor of it
    # Only where the loop is checked:
    node: Node | None
    line: str
    training: bool


@dataclass
class Phase:
    """What D's or G's part of the loop has shown so far."""

    network: str  # "d" or "g"
    d_calls: list[Call] = field(default_factory=list)
    generated: list[Generated] = field(default_factory=list)  # only where the loop is checked
    backwards: int = 0  # backward passes that were begun in it

    def call(self, kind: str) -> Call | None:
        """The first call of a kind."""
        return next((call for call in self.d_calls if call.kind == kind), None)


class Tap:
    """Hooks on both networks. `phase` is the open part, None between parts.

    In D's part the images that G made last, or whose graph leads to G, are the fake ones; where
    neither can be seen (an image buffer, augmented images) the first call is real and the second is
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
        self._judged_images = JudgedImages(generator)
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
        images = first_of(output) if module is self._g else None
        if images is None or _without_values(images):
            return
        self.latest = Generated(
            [each.detach() for each in (*args, *options.values()) if isinstance(each, Tensor)],
            images.detach(),
            images.grad_fn if self.with_lines else None,
            user_line() if self.with_lines else "",
            module.training,
        )
        if self.with_lines and self.phase is not None:
            self.phase.generated.append(self.latest)
        if images.requires_grad:
            self._generated(images)

    def _before_d(
        self, module: nn.Module, args: tuple[Any, ...], options: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        self._current, phase = None, self.phase
        if module is not self._d or phase is None or not torch.is_grad_enabled():
            return None
        made = None if self.latest is None else self.latest.images
        in_g_part = phase.network == "g"
        given = [value for value in (*args, *options.values()) if isinstance(value, Tensor)]
        if any(map(_without_values, given)):
            return None
        images = self._judged_images.among(args, options, made, in_g_part=in_g_part)
        if images is None:
            return None
        carries = self._judged_images.carry_gradient(images, made, in_g_part=in_g_part)
        from_g = carries or are_made(images, made)
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


def _without_values(images: Tensor) -> bool:
    """Whether it only stands for images: in an export, or inside of `torch.func`."""
    return isinstance(images, FakeTensor) or is_functorch_wrapped_tensor(images)
