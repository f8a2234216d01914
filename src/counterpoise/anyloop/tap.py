"""What passes through the networks while a part of the loop is open: which call of D saw what."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._pytree import tree_leaves

from counterpoise.anyloop.graph import reaches
from counterpoise.anyloop.hooks import ModuleHook, user_line

REAL, FAKE, OTHER = "real", "fake", "other"


@dataclass
class Call:
    """One forward pass of a D with gradients on."""

    kind: str  # REAL, FAKE, or OTHER: beyond the first of each
    d: str  # D's name
    # Its input, detached, before anything was done to it; None where only its outputs were given.
    images: Tensor | None = None
    from_g: bool = False  # whether its input is what a G made
    # Whether D can be asked again with the images alone, and answers with a tensor.
    images_alone: bool = False
    training: bool = True
    line: str = ""  # only where the loop is checked
    outputs: Tensor = field(init=False)  # with its graph, once it has answered


@dataclass
class Phase:
    """What D's or G's part of the loop has shown so far: the base of `parts.Part`."""

    network: str  # "d" or "g"
    d_calls: list[Call] = field(default_factory=list)  # those that were answered with a tensor
    # Of each D's calls, whether it was given further tensors beside the images.
    among_others: dict[str, list[bool]] = field(default_factory=dict)
    backwards: int = 0  # backward passes that were begun in it

    def call(self, kind: str, d: str | None = None) -> Call | None:
        """The first call of a kind, of any D or of this one."""
        for call in self.d_calls:
            if call.kind == kind and d in (None, call.d):
                return call
        return None

    def outputs(self, d: str) -> list[Tensor]:
        """The outputs on real and fake images of a D, those there are."""
        calls = [self.call(kind, d) for kind in (REAL, FAKE)]
        return [call.outputs for call in calls if call is not None]


class Tap:
    """Hooks on the networks. `phase` is the open part, None between parts.

    In D's part the images that a G made last, or whose graph leads to a G, are the fake ones; where
    neither can be seen (an image buffer, augmented images) the first call is real and the second is
    fake. Later calls (penalties) and calls without gradients (logging) are left alone.

    change_input: what is done to D's input, given the call. generated: images with a graph that a G
    made. judged: a D's answer. With `with_lines` the lines of the user's code are noted, for a
    check of the loop, and what a G made images with a graph from last.
    """

    def __init__(
        self,
        generators: Sequence[nn.Module],
        discriminators: Mapping[str, nn.Module],
        change_input: Callable[[Tensor, Phase, Call], Tensor],
        generated: Callable[[Tensor], None],
        judged: Callable[[str, Any], None],
        *,
        with_lines: bool,
    ) -> None:
        self.phase: Phase | None = None
        self.with_lines = with_lines
        self._g_weights = {id(weight) for g in generators for weight in g.parameters()}
        # By their `id`: hooks of a network are its replicas' too.
        self._generators = {id(g) for g in generators}
        self._names = {id(d): name for name, d in discriminators.items()}
        self._change_input, self._generated, self._judged = change_input, generated, judged
        self._current: Call | None = None
        self._places: dict[str, int | str] = {}  # of the images among a D's arguments
        # What each G made last, also before D's part began: its memory, detached.
        self._made: dict[int, Tensor] = {}
        self.g_inputs: list[Tensor] = []
        self.g_line = ""
        after_g, after_d = ModuleHook(self._after_g), ModuleHook(self._after_d)
        before_d = ModuleHook(self._before_d)
        self._handles = [g.register_forward_hook(after_g, with_kwargs=True) for g in generators]
        for d in discriminators.values():
            self._handles.append(d.register_forward_pre_hook(before_d, with_kwargs=True))
            self._handles.append(d.register_forward_hook(after_d))

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()

    def _after_g(
        self, module: nn.Module, args: tuple[Any, ...], options: dict[str, Any], output: Any
    ) -> None:
        images = next(iter(tensors_of(output)), None)
        if images is None or id(module) not in self._generators or _without_values(images):
            return
        self._made[id(module)] = images.detach()
        if images.requires_grad:
            self._generated(images)
            if self.with_lines:
                self.g_inputs = [each.detach() for each in tensors_of((args, options))]
                self.g_line = user_line()

    def _before_d(
        self, module: nn.Module, args: tuple[Any, ...], options: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        self._current, phase = None, self.phase
        name = self._names.get(id(module))
        if name is None or phase is None or not torch.is_grad_enabled():
            return None
        places: list[tuple[int | str, Any]] = [*enumerate(args), *options.items()]
        given = {place: value for place, value in places if isinstance(value, Tensor)}
        if not given or any(map(_without_values, given.values())):
            return None
        made = list(self._made.values())
        images = self._images_among(name, given, made, phase)
        from_g = phase.network == "d" and any(_are_made(images, each) for each in made)
        if not from_g and images.grad_fn is not None:
            # Real images may have a graph too: the loop augments them, and takes an R1 of its own.
            from_g = phase.network == "g" or reaches(images.grad_fn, self._g_weights)
        # In D's part the second kind may only be known by its place.
        is_fake = from_g or (phase.network == "d" and phase.call(REAL, name) is not None)
        kind = FAKE if is_fake else REAL
        self._current = call = Call(
            kind if phase.call(kind, name) is None else OTHER,
            name,
            images.detach(),
            from_g,
            images_alone=len(places) == 1,
            training=module.training,
            line=user_line() if self.with_lines else "",
        )
        phase.among_others.setdefault(name, []).append(len(given) > 1)
        changed = self._change_input(images, phase, call)
        if changed is images:
            return None
        return (
            tuple(changed if value is images else value for value in args),
            {name: changed if value is images else value for name, value in options.items()},
        )

    def _after_d(self, _: nn.Module, __: Any, output: Any) -> None:
        call, self._current = self._current, None
        if call is None or self.phase is None:
            return
        self._judged(call.d, output)
        if isinstance(output, Tensor):
            call.outputs = output
            self.phase.d_calls.append(call)

    def _images_among(
        self, d: str, given: Mapping[int | str, Tensor], made: Sequence[Tensor], phase: Phase
    ) -> Tensor:
        """The images that D judges among its arguments, by place: what a G made last; what has a
        graph in G's part; what was there before, or is shaped like what a G made; the first tensor
        else. Where a call shows their place, it holds for later ones that do not."""
        if len(given) == 1:
            return next(iter(given.values()))
        alike = given
        if made:
            alike = {p: v for p, v in given.items() if any(_are_alike(v, each) for each in made)}
        shown = [p for p, v in given.items() if any(_same_memory(v, each) for each in made)]
        if phase.network == "g":
            shown += [place for place, value in alike.items() if value.grad_fn is not None]
        if shown:
            self._places[d] = shown[0]
        first = next(iter((alike or given).values()))
        return given.get(self._places.get(d, ""), first)


def tensors_of(values: Any) -> list[Tensor]:
    """All tensors among a network's arguments or of its answer."""
    if isinstance(values, Tensor):
        return [values]
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


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
