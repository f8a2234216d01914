"""What passes through the networks while a part of the loop is open: which call of D saw what."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd.graph import Node
from torch.utils._pytree import tree_leaves

from counterpoise.anyloop.graph import reaches
from counterpoise.anyloop.hooks import ModuleHook, user_line

REAL, FAKE, OTHER = "real", "fake", "other"


@dataclass
class Call:
    """One forward pass of a D with gradients on."""

    kind: str  # REAL, FAKE, or OTHER: beyond the first of each
    # Its input, detached, before anything was done to it; None where only its outputs were given.
    images: Tensor | None
    carries_gradient: bool  # whether its input was computed from something that is trained
    d: str = ""  # D's name
    outputs: Tensor | None = None  # with its graph
    line: str = ""  # only where the loop is checked
    training: bool = True
    from_g: bool = False  # whether its input is what a G made last
    # Whether D can be asked again with the images alone, and answers with a tensor.
    images_alone: bool = False
    among_others: bool = False  # whether D was given further tensors beside the images

    def let_go(self) -> None:
        """Drop the graph."""
        self.outputs = None if self.outputs is None else self.outputs.detach()


@dataclass
class Generated:
    """One forward pass of a G."""

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

    def call(self, kind: str, d: str | None = None) -> Call | None:
        """The first call of a kind, of any D or of this one."""
        calls = (call for call in self.d_calls if call.kind == kind and d in (None, call.d))
        return next(calls, None)

    def outputs(self, d: str | None) -> list[Tensor]:
        """The outputs on real and fake images of this D (None: of the first), those there are."""
        calls = [self.call(kind, d) for kind in (REAL, FAKE)]
        return [call.outputs for call in calls if call is not None and call.outputs is not None]


class Tap:
    """Hooks on the networks. `phase` is the open part, None between parts.

    In D's part the images that a G made last, or whose graph leads to a G, are the fake ones; where
    neither can be seen (an image buffer, augmented images) the first call is real and the second is
    fake. Later calls (penalties) and calls without gradients (logging) are left alone.

    change_input: what is done to D's input, given the call. generated: images with a graph that a G
    made. judged: a D's answer.
    """

    def __init__(
        self,
        generators: Sequence[nn.Module],
        discriminators: Mapping[str, nn.Module],
        change_input: Callable[[Tensor, Phase, Call], Tensor],
        generated: Callable[[Tensor], None],
        judged: Callable[[str, Any], None],
    ) -> None:
        self.phase: Phase | None = None
        self.with_lines = False
        self._g_weights = {id(weight) for g in generators for weight in g.parameters()}
        # By their `id`: hooks of a network are its replicas' too.
        self._generators = {id(g) for g in generators}
        self._names = {id(d): name for name, d in discriminators.items()}
        self._change_input, self._generated, self._judged = change_input, generated, judged
        self._current: Call | None = None
        self._places: dict[str, int | str] = {}  # of the images among a D's arguments
        # What each G made last, also before D's part began.
        self._made: dict[int, Generated] = {}
        after_g, after_d = ModuleHook(self._after_g), ModuleHook(self._after_d)
        before_d = ModuleHook(self._before_d)
        self._handles = [g.register_forward_hook(after_g, with_kwargs=True) for g in generators]
        for d in discriminators.values():
            self._handles.append(d.register_forward_pre_hook(before_d, with_kwargs=True))
            self._handles.append(d.register_forward_hook(after_d, with_kwargs=True))

    @contextmanager
    def muted(self) -> Iterator[None]:
        """Passes in here are no part of the loop."""
        phase, self.phase = self.phase, None
        try:
            yield
        finally:
            self.phase = phase

    @property
    def latest(self) -> list[Generated]:
        """The last pass of each G that has made something."""
        return list(self._made.values())

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()

    def _after_g(
        self, module: nn.Module, args: tuple[Any, ...], options: dict[str, Any], output: Any
    ) -> None:
        images = next(iter(tensors_of(output)), None)
        if images is None or id(module) not in self._generators or _without_values(images):
            return
        made = self._made[id(module)] = Generated(
            [each.detach() for each in tensors_of((args, options))],
            images.detach(),
            images.grad_fn if self.with_lines else None,
            user_line() if self.with_lines else "",
            module.training,
        )
        if self.with_lines and self.phase is not None:
            self.phase.generated.append(made)
        if images.requires_grad:
            self._generated(images)

    def _before_d(
        self, module: nn.Module, args: tuple[Any, ...], options: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        self._current, phase = None, self.phase
        name = self._names.get(id(module))
        if name is None or phase is None or not torch.is_grad_enabled():
            return None
        places: list[tuple[int | str, Any]] = [*enumerate(args), *options.items()]
        given = {place: value for place, value in places if isinstance(value, Tensor)}
        if any(map(_without_values, given.values())):
            return None
        mades = [made.images for made in self.latest]
        images = self._images_among(name, given, mades, phase)
        if images is None:
            return None
        in_g_part = phase.network == "g"
        is_made = not in_g_part and any(_are_made(images, made) for made in mades)
        # Real images may have a graph too, where the loop augments them and takes an R1 of its own.
        carries = images.grad_fn is not None and (
            in_g_part or is_made or reaches(images.grad_fn, self._g_weights)
        )
        from_g = carries or is_made
        self._current = call = Call(
            _kind(phase, name, is_fake=from_g),
            images.detach(),
            carries,
            name,
            line=user_line() if self.with_lines else "",
            training=module.training,
            from_g=from_g,
            images_alone=len(args) + len(options) == 1,
            among_others=len(given) > 1,
        )
        changed = self._change_input(images, phase, call)
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
        self._judged(call.d, output)
        if isinstance(output, Tensor):
            call.outputs = output
            self.phase.d_calls.append(call)

    def _images_among(
        self, d: str, given: Mapping[int | str, Tensor], mades: Sequence[Tensor], phase: Phase
    ) -> Tensor | None:
        """The images that D judges among its arguments, by place: what a G made last; what has a
        graph in G's part; what was there before, or is shaped like what a G made; the first tensor
        else. Where a call shows their place, it holds for later ones that do not."""
        if len(given) < 2:
            return next(iter(given.values()), None)
        alike = given
        if mades:
            alike = {p: v for p, v in given.items() if any(_are_alike(v, made) for made in mades)}
        shown = [p for p, v in given.items() if any(_same_memory(v, made) for made in mades)]
        if phase.network == "g":
            shown += [place for place, value in alike.items() if value.grad_fn is not None]
        if shown:
            self._places[d] = shown[0]
        first = next(iter((alike or given).values()))
        return given.get(self._places[d], first) if d in self._places else first


def tensors_of(values: Any) -> list[Tensor]:
    """All tensors among a network's arguments or of its answer."""
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def _kind(phase: Phase, d: str, *, is_fake: bool) -> str:
    # In D's part the second kind may only be known by its place.
    is_second = phase.network == "d" and phase.call(REAL, d) is not None
    kind = FAKE if is_fake or is_second else REAL
    return kind if phase.call(kind, d) is None else OTHER


def _are_made(images: Tensor, made: Tensor) -> bool:
    """Whether images are those that a G `made`, alone or with a condition before or behind their
    channels."""
    if _same_memory(images, made):
        return True
    if not _are_alike(images, made) or images.shape[1] == made.shape[1]:
        # A copy of the same size is not looked for: it would cost every loop a comparison.
        return False
    if (len(images), images.dtype, images.device) != (len(made), made.dtype, made.device):
        return False
    channels = made.shape[1]
    return any(torch.equal(part, made) for part in (images[:, -channels:], images[:, :channels]))


def _are_alike(images: Tensor, made: Tensor) -> bool:
    """Whether images could be what a G made, alone or beside a condition."""
    return (
        images.ndim == made.ndim > 1
        and images.shape[2:] == made.shape[2:]
        and images.shape[1] >= made.shape[1]
    )


def _same_memory(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are views of the same values, or of values side by side."""
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def _without_values(images: Tensor) -> bool:
    """Whether it only stands for images: in an export, or inside of `torch.func`."""
    return isinstance(images, FakeTensor) or is_functorch_wrapped_tensor(images)
