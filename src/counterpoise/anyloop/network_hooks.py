"""What passes through the networks while a part of the loop is open: which call of D saw what."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._pytree import tree_leaves

from counterpoise.anyloop.graph import reaches
from counterpoise.anyloop.hooks import ForwardHook, ModuleHook

if TYPE_CHECKING:
    from counterpoise.anyloop.loop_check import LoopChecker

REAL, FAKE = "real", "fake"
# Calls of each G whose images are known again; more where the loop is checked.
RECENT, RECENT_CHECKED = 1, 8

# Where a tensor is among a network's arguments; in none of them, but inside of one.
Place = int | str
INSIDE = -1


class FakePlace(NamedTuple):
    """Where a D's input has what a G made: some rows and channels of it are that, times `scale[0]`
    plus `scale[1]`."""

    rows: tuple[int, int]
    channels: slice = slice(None)
    scale: tuple[float, float] = (1.0, 0.0)


@dataclass(eq=False)
class GCall:
    """A call of a G. What stands below `judged` is known where the loop is checked."""

    g: int  # its `id`
    outputs: list[Tensor]  # detached
    with_gradient: bool
    judged: int = 0  # which of the outputs a D was seen to judge
    judged_in: set[str] = field(default_factory=set)  # in D's part ("d"), in G's ("g")
    inputs: list[Tensor] = field(default_factory=list)  # samples of them
    varied: list[bool] = field(default_factory=list)  # whether an input differs between images
    bounds: tuple[float, float] | None = None  # of the values that G can make
    line: str = ""

    @property
    def images(self) -> Tensor:
        return self.outputs[self.judged]


@dataclass(eq=False)
class DCall:
    """A forward pass of a D in D's or G's part (`network`)."""

    network: str
    d: str  # D's name
    number: int  # how many passes of this D with gradients came before in its part
    arguments: dict[Place, Any]  # as the loop gave them
    place: Place  # of the images among these
    shape: torch.Size  # of the images
    training: bool
    with_gradient: bool
    g_call: GCall | None = None  # what G made of the images, if that can be seen, and where that is
    fake_place: FakePlace | None = None
    # On which kinds of images it is, as far as that is known.
    kinds: set[str] = field(default_factory=set)
    # The tensors of D's answer, with their graph.
    outputs: list[Tensor] = field(default_factory=list)
    # By an output's number, of those that a loss reaches without passing D: the gradient there.
    gradients: dict[int, Tensor] = field(default_factory=dict)
    # The rest is known where the loop is checked. Of the images:
    line: str = ""
    samples: dict[str, Tensor] = field(default_factory=dict)  # by their kind, as far as G is known
    is_frozen: bool = False  # whether none of D's parameters requires a gradient
    named: list[Tensor] = field(default_factory=list)  # what the loop has names for, of their shape
    classes: set[int] = field(default_factory=set)  # outputs that are classes of an image
    is_between: bool = False  # whether the images are asked for a penalty's gradient

    @property
    def images(self) -> Tensor:
        images: Tensor = self.arguments[self.place]
        return images

    @property
    def from_g(self) -> bool:
        """Whether a G made all the images."""
        return self.fake_place is not None and self.fake_place.rows == (0, self.shape[0])

    def rows_of(self, values: Tensor, kind: str) -> Tensor:
        """The rows of a tensor (N, ...) that are of a kind of images, detached."""
        values = values.detach()
        start, stop = (0, 0) if self.fake_place is None else self.fake_place.rows
        return values[start:stop] if kind == FAKE else torch.cat([values[:start], values[stop:]])

    @property
    def has_graph(self) -> bool:
        """Whether what D is given has one."""
        return any(each.requires_grad for each in tensors_of(self.arguments))

    def is_image(self, number: int) -> bool:
        """Whether an output is what an autoencoder makes of the images, and no score: the loss
        pulls each value to that of the image, or off it."""
        answer, gradient = self.outputs[number].detach(), self.gradients[number]
        if answer.shape != self.shape or self.shape.numel() == self.shape[0]:
            return False
        up = gradient > 0
        alike = float((up == (answer > self.images.detach())).float().mean())
        return max(alike, 1 - alike) > 0.95 and 0.1 < float(up.float().mean()) < 0.9

    def twin(self) -> Place | None:
        """Where further images of the same shape are: of a D that judges real and fake ones in one
        call. Under autocast, those that G made may be of another type."""
        for place, value in self.arguments.items():
            if (
                place != self.place
                and isinstance(value, Tensor)
                and value.is_floating_point()
                and value.shape == self.images.shape
            ):
                return place
        return None


@dataclass
class Phase:
    """What D's or G's part of the loop has shown so far: the base of `parts.Part`."""

    network: str  # "d" or "g"
    d_calls: list[DCall] = field(default_factory=list)  # those that were answered with tensors
    # What the loop says that D's outputs are, by D's name and the kind of images.
    given: dict[tuple[str, str], Tensor] = field(default_factory=dict)
    backwards: int = 0  # backward passes that were begun in it
    line: str = ""  # of the last one, while it is not known how the loop is to be read
    read: tuple[Any, Any] | None = None  # what was read last, and by what it was known then

    def calls(self, d: str) -> list[DCall]:
        """Those of one D."""
        return [call for call in self.d_calls if call.d == d]

    def call(self, kind: str) -> DCall | None:
        """The first call on a kind of images, of any D."""
        return next((call for call in self.d_calls if kind in call.kinds), None)


class NetworkHooks:
    """Hooks on the networks. `phase` is the open part, None between parts.

    change_input: what is done to D's inputs, given the call, those that change by their places.
    generated: images with a graph that a G made. judged: a D's answer. checker: where the loop is
    checked. While `compares` is set, what a G made is known by its values too.
    """

    def __init__(
        self,
        generators: Sequence[nn.Module],
        discriminators: Mapping[str, nn.Module],
        change_input: Callable[[Phase, DCall], dict[Place, Tensor]],
        generated: Callable[[Tensor], None],
        judged: Callable[[str, Any], None],
        checker: "LoopChecker | None",
    ) -> None:
        self.phase: Phase | None = None
        self.checker, self.compares = checker, True
        if checker is not None:
            checker.phase = lambda: self.phase
        self._g_weights = {id(weight) for g in generators for weight in g.parameters()}
        self._g_weights -= {id(w) for d in discriminators.values() for w in d.parameters()}
        # By their `id`: hooks of a network are its replicas' too.
        self._generators = {id(g) for g in generators}
        self._names = {id(d): name for name, d in discriminators.items()}
        self._discriminators = list(discriminators.values())
        self._change_input, self._generated, self._judged = change_input, generated, judged
        self._current: DCall | None = None
        self._places: dict[str, Place] = {}  # of the images among a D's arguments
        self._has_replicas = False
        # Of each G what it made last, also before D's part began, the latest last.
        self._made: dict[int, deque[GCall]] = {
            g: deque(maxlen=RECENT if checker is None else RECENT_CHECKED) for g in self._generators
        }
        after_g, after_d = ModuleHook(self._after_g), ModuleHook(self._after_d)
        before_d = ModuleHook(self._before_d)
        self._handles = [g.register_forward_hook(after_g, with_kwargs=True) for g in generators]
        for d in discriminators.values():
            self._handles.append(d.register_forward_pre_hook(before_d, with_kwargs=True))
            self._handles.append(d.register_forward_hook(after_d))
        self._forwards: list[ForwardHook] = []

    def end_check(self) -> None:
        """The loop is checked no more: let go of what that needs."""
        self.checker = None
        self._made = {g: deque(calls, maxlen=RECENT) for g, calls in self._made.items()}

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
        known = self._made[id(module)]
        judged = min(known[-1].judged, len(made) - 1) if known else 0
        images = made[judged]
        new = GCall(id(module), [each.detach() for each in made], images.requires_grad, judged)
        known.append(new)
        if self.checker is not None:
            self.checker.g_called(new, images.grad_fn, given)
        if images.requires_grad:
            self._generated(images)

    def _before_d(
        self, module: nn.Module, args: tuple[Any, ...], options: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        self._current, phase = None, self.phase
        name = self._names.get(id(module))
        self._has_replicas |= name is None
        with_gradient = torch.is_grad_enabled()
        if name is None or phase is None or not (with_gradient or self.checker):
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
        self._current = call = DCall(
            phase.network,
            name,
            len(phase.calls(name)),
            arguments,
            place,
            given[place].shape,
            module.training,
            with_gradient,
        )
        call.g_call, call.fake_place = self._made_of(call.images)
        root = call.images.grad_fn
        # Real images may have a graph too: the loop augments them, and takes an R1 of its own.
        if (call.fake_place is None and root is not None) and (
            phase.network == "g" or reaches(root, self._g_weights)
        ):
            call.fake_place = FakePlace((0, len(call.images)))
        call.kinds = {REAL if call.fake_place is None else FAKE}
        if self.checker is not None:
            self.checker.d_called(call, module)
        if not with_gradient:
            return None
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
        call.outputs = floats_of(output)
        if not call.with_gradient:
            return
        self._judged(call.d, output)
        if call.outputs:
            self.phase.d_calls.append(call)

    def _images_among(self, d: str, given: Mapping[Place, Tensor], phase: Phase) -> Place:
        """Where the images that D judges are among its arguments: what a G made last; what has a
        graph in G's part; what was there before, or is shaped like what a G made; the first tensor
        else. Where a call shows their place, it holds for later ones that do not."""
        if len(given) == 1:
            return next(iter(given))
        made, alike = [each for one in self._recent() for each in one.outputs], dict(given)
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

    def _made_of(self, images: Tensor) -> tuple[GCall | None, FakePlace | None]:
        """What a G made of images, and where it is."""
        for made in self._recent():
            for number, own in enumerate(made.outputs):
                found = _find(images, own, compares=self.compares)
                if found is not None:
                    made.judged = number
                    return made, found
        return None, None

    def _recent(self) -> Iterator[GCall]:
        """What the Gs made, the latest of each first."""
        for calls in self._made.values():
            yield from reversed(calls)


def tensors_of(values: Any) -> list[Tensor]:
    """All tensors among a network's arguments or of its answer."""
    if isinstance(values, Tensor):
        return [values]
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def floats_of(answer: Any) -> list[Tensor]:
    """The tensors of a D's answer that may be what it says of images."""
    return [each for each in tensors_of(answer) if each.is_floating_point() and each.ndim]


def _find(images: Tensor, made: Tensor, *, compares: bool) -> FakePlace | None:
    """Where what a G made is among images: as it is, or scaled, alone or among others, or with a
    condition before or behind its channels."""
    if same_memory(images, made):
        return FakePlace((0, len(images)))
    count, width = made.shape[:2] if made.ndim > 1 else (0, 0)
    if not _are_alike(images, made) or count > len(images) or images.device != made.device:
        return None
    if images.shape[1] == width and not compares:
        return None  # a comparison in every turn would cost too much
    for start in {0, len(images) - count}:
        for left in {0, images.shape[1] - width}:
            channels = slice(left, left + width)
            scale = scale_of(images[start : start + count, channels].detach(), made)
            if scale is not None:
                return FakePlace((start, start + count), channels, scale)
    return None


def scale_of(values: Tensor, made: Tensor) -> tuple[float, float] | None:
    """By which numbers what G made was multiplied, and what was added, if these are its values."""
    x, y = made.float().flatten(), values.float().flatten()
    if torch.equal(x, y):
        return 1.0, 0.0
    spread = float(x.std())
    if not spread > 0:
        return None
    times = float(((x - x.mean()) * (y - y.mean())).mean() / x.var(correction=0))
    plus = float(y.mean() - times * x.mean())
    if times > 0 and float((y - times * x - plus).abs().max()) < 1e-3 * times * spread:
        return times, plus
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
