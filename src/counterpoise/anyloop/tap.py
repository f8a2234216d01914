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
from counterpoise.anyloop.hooks import ForwardHook, ModuleHook, user_line

REAL, FAKE = "real", "fake"

# Where a tensor is among a network's arguments; in none of them, but inside of one.
Place = int | str
INSIDE = -1


@dataclass
class Call:
    """One forward pass of a D with gradients on."""

    d: str  # D's name
    number: int  # how many passes of this D came before in its part
    arguments: dict[Place, Any]  # as the loop gave them
    place: Place  # of the images among these
    # Which rows of the images are what a G made, where that can be seen.
    made: tuple[int, int] | None
    training: bool = True
    line: str = ""  # only where the loop is checked
    # On which kinds of images it is, as far as that is known.
    kinds: set[str] = field(default_factory=set)
    # The tensors of D's answer, with their graph.
    outputs: list[Tensor] = field(default_factory=list)
    # By an output's number, how D's loss pulls it: see `reading.Reader.note`.
    pulls: dict[int, Tensor] = field(default_factory=dict)

    @property
    def images(self) -> Tensor:
        images: Tensor = self.arguments[self.place]
        return images

    @property
    def from_g(self) -> bool:
        """Whether a G made all the images."""
        return self.made == (0, len(self.images))

    def place_of(self, kind: str) -> Place | None:
        """Where the images of a kind are, of a D that judges both in one call."""
        return self.place if (kind == FAKE) == (self.made is not None) else self.twin()

    def twin(self) -> Place | None:
        """Where further images of the same shape are: of a D that judges real and fake ones in one
        call."""
        for place, value in self.arguments.items():
            if (
                place != self.place
                and isinstance(value, Tensor)
                and (value.shape, value.dtype) == (self.images.shape, self.images.dtype)
            ):
                return place
        return None


@dataclass
class Phase:
    """What D's or G's part of the loop has shown so far: the base of `parts.Part`."""

    network: str  # "d" or "g"
    d_calls: list[Call] = field(default_factory=list)  # those that were answered with tensors
    # What the loop says that D's outputs are, by D's name and the kind of images.
    given: dict[tuple[str, str], Tensor] = field(default_factory=dict)
    backwards: int = 0  # backward passes that were begun in it
    line: str = ""  # of the last one, while it is not known how the loop is to be read
    read: tuple[Any, Any] | None = None  # what was read last, and by what it was known then

    def calls(self, d: str) -> list[Call]:
        """Those of one D."""
        return [call for call in self.d_calls if call.d == d]

    def call(self, kind: str) -> Call | None:
        """The first call on a kind of images, of any D."""
        return next((call for call in self.d_calls if kind in call.kinds), None)


class Tap:
    """Hooks on the networks. `phase` is the open part, None between parts.

    change_input: what is done to D's inputs, given the call, those that change by their places.
    generated: images with a graph that a G made. judged: a D's answer. With `with_lines` the lines
    of the user's code are noted, for a check of the loop. While `compares` is set, what a G made
    is known by its values too.
    """

    def __init__(
        self,
        generators: Sequence[nn.Module],
        discriminators: Mapping[str, nn.Module],
        change_input: Callable[[Phase, Call], dict[Place, Tensor]],
        generated: Callable[[Tensor], None],
        judged: Callable[[str, Any], None],
        *,
        with_lines: bool,
    ) -> None:
        self.phase: Phase | None = None
        self.with_lines, self.compares = with_lines, True
        self._g_weights = {id(weight) for g in generators for weight in g.parameters()}
        self._g_weights -= {id(w) for d in discriminators.values() for w in d.parameters()}
        # By their `id`: hooks of a network are its replicas' too.
        self._generators = {id(g) for g in generators}
        self._names = {id(d): name for name, d in discriminators.items()}
        self._discriminators = list(discriminators.values())
        self._change_input, self._generated, self._judged = change_input, generated, judged
        self._current: Call | None = None
        self._places: dict[str, Place] = {}  # of the images among a D's arguments
        self._has_replicas = False
        # What each G made last, also before D's part began: its memory, detached; and which of its
        # outputs a D was seen to judge.
        self._made: dict[int, list[Tensor]] = {}
        self._judged_output: dict[int, int] = {}
        after_g, after_d = ModuleHook(self._after_g), ModuleHook(self._after_d)
        before_d = ModuleHook(self._before_d)
        self._handles = [g.register_forward_hook(after_g, with_kwargs=True) for g in generators]
        for d in discriminators.values():
            self._handles.append(d.register_forward_pre_hook(before_d, with_kwargs=True))
            self._handles.append(d.register_forward_hook(after_d))
        self._forwards: list[ForwardHook] = []

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()
        for forward in self._forwards:
            forward.remove()

    def hear_forward(self) -> None:
        """Hear `d.forward(images)` too, which passes a module's hooks by."""
        if not (self._forwards or self._has_replicas):
            self._forwards = [ForwardHook(d, self._forward) for d in self._discriminators]

    def _forward(
        self, module: nn.Module, run: Callable[..., Any], args: tuple[Any, ...], options: Any
    ) -> Any:
        if self._current is not None:
            return run(*args, **options)  # its hooks have heard of it
        args, options = self._before_d(module, args, options) or (args, options)
        output = run(*args, **options)
        self._after_d(module, args, output)
        return output

    def _after_g(
        self, module: nn.Module, args: tuple[Any, ...], options: dict[str, Any], output: Any
    ) -> None:
        made, given = floats_of(output), tensors_of((args, options))
        if id(module) not in self._generators or any(map(_without_values, made + given)):
            return
        made = [each for each in made if not any(same_memory(each, one) for one in given)]
        if not made:
            return
        self._made[id(module)] = [each.detach() for each in made]
        images = made[min(self._judged_output.get(id(module), 0), len(made) - 1)]
        if images.requires_grad:
            self._generated(images)

    def _before_d(
        self, module: nn.Module, args: tuple[Any, ...], options: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        self._current, phase = None, self.phase
        name = self._names.get(id(module))
        self._has_replicas |= name is None
        if name is None or phase is None or not torch.is_grad_enabled():
            return None
        arguments: dict[Place, Any] = dict(enumerate(args))
        arguments.update(options)
        given = {place: value for place, value in arguments.items() if isinstance(value, Tensor)}
        if not given:  # in a list, perhaps: they can be seen there, and not be changed
            given = dict(zip([INSIDE], tensors_of(arguments), strict=False))
            arguments.update(given)
        if not given or any(map(_without_values, given.values())):
            return None
        place = self._images_among(name, given, phase)
        made = self._rows_made(given[place])
        root = given[place].grad_fn
        # Real images may have a graph too: the loop augments them, and takes an R1 of its own.
        if (made is None and root is not None) and (
            phase.network == "g" or reaches(root, self._g_weights)
        ):
            made = 0, len(given[place])
        self._current = call = Call(
            name,
            len(phase.calls(name)),
            arguments,
            place,
            made,
            training=module.training,
            line=user_line() if self.with_lines else "",
            kinds={REAL if made is None else FAKE},
        )
        changed = self._change_input(phase, call)
        if not changed:
            return None
        return (
            tuple(changed.get(number, value) for number, value in enumerate(args)),
            {name: changed.get(name, value) for name, value in options.items()},
        )

    def _after_d(self, _: nn.Module, __: Any, output: Any) -> None:
        call, self._current = self._current, None
        if call is None or self.phase is None:
            return
        self._judged(call.d, output)
        call.outputs = floats_of(output)
        if call.outputs:
            self.phase.d_calls.append(call)

    def _images_among(self, d: str, given: Mapping[Place, Tensor], phase: Phase) -> Place:
        """Where the images that D judges are among its arguments: what a G made last; what has a
        graph in G's part; what was there before, or is shaped like what a G made; the first tensor
        else. Where a call shows their place, it holds for later ones that do not."""
        if len(given) == 1:
            return next(iter(given))
        made, alike = [each for made in self._made.values() for each in made], dict(given)
        if made:
            alike = {p: v for p, v in given.items() if any(_are_alike(v, each) for each in made)}
        shown = [p for p, v in given.items() if any(same_memory(v, each) for each in made)]
        if phase.network == "g":
            shown += [place for place, value in alike.items() if value.grad_fn is not None]
        # A code may be made too, as that of a BiGAN's encoder.
        known = [place for place in [self._places.get(d)] if place is not None and place in given]
        if shown:
            known = [max(known + shown, key=lambda place: given[place].numel())]
            self._places[d] = known[0]
        return known[0] if known else next(iter(alike or given))

    def _rows_made(self, images: Tensor) -> tuple[int, int] | None:
        """Which rows of images are what a G made last, alone or with a condition before or behind
        their channels."""
        for g, outputs in self._made.items():
            for number, made in enumerate(outputs):
                rows = _rows_of(images, made, compares=self.compares)
                if rows is not None:
                    self._judged_output[g] = number
                    return rows
        return None


def tensors_of(values: Any) -> list[Tensor]:
    """All tensors among a network's arguments or of its answer."""
    if isinstance(values, Tensor):
        return [values]
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def floats_of(answer: Any) -> list[Tensor]:
    """The tensors of a D's answer that may be what it says of images."""
    return [each for each in tensors_of(answer) if each.is_floating_point() and each.ndim]


def _rows_of(images: Tensor, made: Tensor, *, compares: bool) -> tuple[int, int] | None:
    if same_memory(images, made):
        return 0, len(images)
    if not _are_alike(images, made) or (images.dtype, images.device) != (made.dtype, made.device):
        return None
    channels, count = made.shape[1], len(made)
    if images.shape[1] == channels and not compares:
        return None  # a comparison in every turn would cost too much
    for start in {0, len(images) - count} if count <= len(images) else ():
        rows = images[start : start + count]
        if any(torch.equal(part, made) for part in (rows[:, -channels:], rows[:, :channels])):
            return start, start + count
    return None


def _are_alike(images: Tensor, made: Tensor) -> bool:
    """Whether images could be what a G made, alone or beside a condition."""
    return (
        images.ndim == made.ndim > 1
        and images.shape[2:] == made.shape[2:]
        and images.shape[1] >= made.shape[1]
    )


def same_memory(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are views of the same values, or of values side by side."""
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def _without_values(images: Tensor) -> bool:
    """Whether it only stands for images: in an export, or inside of `torch.func`."""
    return isinstance(images, FakeTensor) or is_functorch_wrapped_tensor(images)
