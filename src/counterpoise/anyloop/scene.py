"""What a hand-written loop did in a turn: what its checks look at.

Nothing here changes a number of the loop: networks are hooked, and a few functions of PyTorch that
every way leads to, whatever a loop has imported, are listened to.
"""

import functools
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from counterpoise.anyloop.graph import REARRANGING, edges_of, ends_of, operation, walk
from counterpoise.anyloop.hooks import BACKWARD, ModuleHook, user_line
from counterpoise.anyloop.tap import Phase, floats_of, tensors_of

# Values by which tensors are compared between turns.
SAMPLES = 256
GOLDEN = 0.6180339887498949
BOUNDS = {"Tanh": (-1.0, 1.0), "Sigmoid": (0.0, 1.0)}


# What keeps an exception of a hook from the loop.
Guard = Callable[[Callable[..., Any]], Callable[..., Any]]


class Sight(NamedTuple):
    """Whether a bug shows in a scene in which it could."""

    name: str
    seen: bool
    line: str = ""
    detail: str = ""
    network: str = ""  # "g" or "d", of bugs that either may have


@dataclass(eq=False)
class Made:
    """A call of a G."""

    g: int  # its number
    images: Tensor
    inputs: list[Tensor]  # samples of them
    varied: list[bool]  # whether an input differs between the images
    with_gradient: bool
    line: str
    bounds: tuple[float, float] | None  # of the values that G can make
    judged_in: set[str] = field(default_factory=set)  # the parts in which a D was asked of them


@dataclass(eq=False)
class Asked:
    """A call of a D in D's or G's part (`network`)."""

    network: str
    d: str
    images: Tensor
    sample: Tensor
    outputs: list[Tensor]  # with their graph
    with_gradient: bool
    is_frozen: bool
    has_graph: bool  # whether its input has one
    line: str
    made: Made | None = None  # what G made of the images, if any: these rows and channels of them,
    rows: slice = field(default_factory=lambda: slice(0, 0))
    channels: slice = field(default_factory=lambda: slice(None))
    scale: tuple[float, float] = (1.0, 0.0)  # times this, plus that
    # By an output's number, of those that a loss reaches without passing D: the gradient there.
    pulls: dict[int, Tensor | None] = field(default_factory=dict)
    # Outputs that are classes of an image.
    classes: set[int] = field(default_factory=set)
    is_between: bool = False  # its images are asked for a penalty's gradient

    @property
    def has_both(self) -> bool:
        """Whether there are real images beside what G made."""
        return bool(self.rows.stop - self.rows.start < len(self.images))

    def real_rows(self, values: Tensor) -> Tensor:
        """Those of a tensor that are not of what G made."""
        return torch.cat([values[: self.rows.start], values[self.rows.stop :]])


@dataclass(eq=False)
class Pass:
    """A backward pass in D's or G's part."""

    network: str
    leaves: Collection[int]  # `id` of the parameters whose gradients it leaves
    asked: list[Asked]  # whose answers it reaches, without passing D
    outside: list[Node]  # what it runs through before these
    operations: set[str]  # of these
    line: str
    is_retained: bool = False
    factor: float = 1.0  # the least by which it was multiplied


@dataclass(eq=False)
class Slope:
    """The gradient of D's answers at images, as a penalty in D's part has it."""

    asked: Asked
    points: Tensor
    values: Tensor
    node: Node | None  # None without `create_graph`
    line: str
    is_used: bool = False
    pull: Tensor | None = None  # the penalty's own gradient at it


@dataclass
class Scene:
    """D's parts of a turn, and G's."""

    made: list[Made] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    passes: list[Pass] = field(default_factory=list)
    slopes: list[Slope] = field(default_factory=list)

    def calls(self, network: str) -> list[Asked]:
        """The calls of Ds with gradients on in a part."""
        return [each for each in self.asked if each.network == network and each.with_gradient]


class Check:
    """Looks for bugs. Whatever it raises ends the check, not the loop."""

    def begins(self, backward: Pass, nodes: Collection[Node]) -> None:
        """A backward pass is about to run through these nodes."""

    def ran(self, backward: Pass) -> None:
        """It has run."""

    def look(self, scene: Scene) -> Iterator[Sight]:
        """What shows in a turn that is over."""
        yield from ()

    def close(self) -> None:
        """Let go of everything."""


class Watched:
    """A function of a module or class that is listened to, while anybody listens: each is called
    before it, and what it returns, if anything, after it with the result."""

    def __init__(self, owner: Any, name: str) -> None:
        self._owner, self._name = owner, name
        self._original = getattr(owner, name, None)
        self._listeners: list[Callable[..., Any]] = []

    def add(self, listener: Callable[..., Any]) -> None:
        if not self._listeners and self._original is not None:
            self._original = getattr(self._owner, self._name)
            setattr(self._owner, self._name, functools.wraps(self._original)(self._stand_in()))
        self._listeners.append(listener)

    def remove(self, listener: Callable[..., Any]) -> None:
        self._listeners.remove(listener)
        if not self._listeners and self._original is not None:
            setattr(self._owner, self._name, self._original)

    def _stand_in(self) -> Callable[..., Any]:
        def stand_in(*arguments: Any, **options: Any) -> Any:
            # Listeners must not use up what the function is to be given.
            arguments = tuple(list(a) if isinstance(a, Iterator) else a for a in arguments)
            after = [tell(*arguments, **options) for tell in tuple(self._listeners)]
            assert self._original is not None
            result = self._original(*arguments, **options)
            for each in filter(None, after):
                each(result)
            return result

        return stand_in


# Of all backward passes, and of `autograd.grad`.
ENGINE = Watched(torch.autograd, "_engine_run_backward")


class Witness:
    """Notes the scene. phase: the open part, of the loop's own doing; None between parts."""

    def __init__(
        self,
        generators: Sequence[nn.Module],
        discriminators: Mapping[str, nn.Module],
        guard: Guard,
    ) -> None:
        self.scene, self._before = Scene(), Scene()
        self.phase: Callable[[], Phase | None] = lambda: None
        self.checks: list[Check] = []
        self._guard = guard
        self._gs = {id(g): number for number, g in enumerate(generators)}
        self._ds = {id(d): name for name, d in discriminators.items()}
        self._bounds: dict[int, tuple[float, float]] = {}
        self._places: dict[str, int] = {}  # of the images among what a D is given
        after_g, after_d = ModuleHook(guard(self._after_g)), ModuleHook(guard(self._after_d))
        self._handles = [g.register_forward_hook(after_g, with_kwargs=True) for g in generators]
        for d in discriminators.values():
            self._handles.append(d.register_forward_hook(after_d, with_kwargs=True))
        self._heard = guard(self._engine)
        ENGINE.add(self._heard)

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()
        ENGINE.remove(self._heard)
        self.next_scene()
        self.next_scene()

    def next_scene(self) -> None:
        for asked in self.scene.asked:
            asked.outputs = []  # whose hooks lead back here: the graphs go without a collection
        self._before, self.scene = Scene(made=self.scene.made), Scene()

    def _after_g(self, module: nn.Module, args: Any, options: Any, output: Any) -> None:
        made = floats_of(output)
        if id(module) not in self._gs or not made:
            return
        g, images, given = self._gs[id(module)], made[0], tensors_of((args, options))
        node = images.grad_fn
        while node is not None and operation(node) in REARRANGING:
            node = next((each for each, _ in edges_of(node)), None)
        if node is not None and operation(node) in BOUNDS:
            self._bounds[g] = BOUNDS[operation(node)]
        self.scene.made.append(
            Made(
                g,
                images.detach(),
                [sample_of(each) for each in given],
                [each.is_floating_point() and _is_varied(each) for each in given],
                images.requires_grad,
                user_line(),
                self._bounds.get(g),
            )
        )

    def _after_d(self, module: nn.Module, args: Any, options: Any, output: Any) -> None:
        phase = self.phase()
        given, name = floats_of((args, options)), self._ds.get(id(module))
        if phase is None or name is None or not given:
            return
        images = given[min(self._places.get(name, 0), len(given) - 1)]
        asked = Asked(
            phase.network,
            name,
            images.detach(),
            sample_of(images),
            floats_of(output),
            torch.is_grad_enabled(),
            not any(p.requires_grad for p in module.parameters()),
            any(each.requires_grad for each in given),
            user_line(),
        )
        for made in [*reversed(self.scene.made), *self._before.made]:
            for place, images in enumerate(given):
                if _find(asked, images.detach(), made):
                    self._places[name] = place
                    break
            if asked.made is not None:
                made.judged_in.add(phase.network)
                break
        self.scene.asked.append(asked)

    def backward(
        self, network: str, roots: Sequence[Tensor], nodes: Collection[Node], leaves: set[int]
    ) -> None:
        """A backward pass is about to run in a part."""
        ends = {
            node: (asked, number)
            for asked in self.scene.asked
            for number, output in enumerate(asked.outputs)
            for node, _ in ends_of(output)
        }
        starts = [root.grad_fn for root in roots if root.grad_fn is not None]
        outside = list(walk(starts, stop=ends.keys()))
        reached = {ends[node] for node in outside if node in ends}
        for asked, number in reached:
            if number not in asked.pulls:
                asked.pulls[number] = None
                _hook(asked.outputs[number], _add_pull, asked, number)
        outside = [node for node in outside if node not in ends]
        for node in outside:
            if operation(node) in ("LogSoftmax", "NllLoss"):
                below = walk([node], stop=ends.keys())
                for asked, number in {ends[each] for each in below if each in ends}:
                    asked.classes.add(number)
        for slope in self.scene.slopes:
            slope.is_used |= slope.node in nodes
        own = [asked for asked in self.scene.asked if any(asked is each for each, _ in reached)]
        operations = {operation(node) for node in outside}
        new = Pass(network, leaves, own, outside, operations, user_line())
        self.scene.passes.append(new)
        for check in self.checks:
            check.begins(new, nodes)
        new.outside = []

    def _ran(self, backward: Pass) -> None:
        for check in self.checks:
            check.ran(backward)

    def _engine(self, outputs: Any, weights: Any, *arguments: Any, **options: Any) -> Any:
        phase = self.phase()
        if phase is None:
            return None
        if options.get("accumulate_grad"):
            if BACKWARD.running != 1 or not self.scene.passes:
                return None
            backward = self.scene.passes[-1]
            retain, create = arguments[:2]
            backward.is_retained = retain and not create
            for weight in weights:
                if weight is not None and weight.numel() == 1:
                    backward.factor = min(backward.factor, abs(float(weight)))
            return self._guard(lambda _: self._ran(backward))
        if _is_own_call():
            return None
        nodes = set(walk(output.grad_fn for output in outputs if output.grad_fn is not None))
        for check in self.checks:
            check.begins(Pass("", set(), [], [], set(), ""), nodes)
        asked = [
            each
            for each in self.scene.calls("d")
            if any(node in nodes for output in each.outputs for node, _ in ends_of(output))
        ]
        if phase.network != "d" or not asked:
            return None
        line = user_line()

        def after(results: Sequence[Tensor | None]) -> None:
            for points, values in zip(arguments[2], results, strict=False):
                if isinstance(points, nn.Parameter) or values is None:
                    continue
                slope = Slope(asked[-1], points.detach(), values.detach(), values.grad_fn, line)
                asked[-1].is_between = True
                self.scene.slopes.append(slope)
                if values.requires_grad:
                    _hook(values, _note_pull, slope)

        return self._guard(after)


def _is_own_call() -> bool:
    """Whether it is this package that calls PyTorch's function that is listened to."""
    frame = sys._getframe(1)
    for is_torch in (False, True):
        while frame.f_back and (_package(frame) == "torch") == is_torch:
            frame = frame.f_back
    return _package(frame) == "counterpoise"


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _add_pull(asked: Asked, number: int, gradient: Tensor) -> None:
    if BACKWARD.running:
        before = asked.pulls.get(number)
        asked.pulls[number] = gradient.detach() + (0 if before is None else before)


def _note_pull(slope: Slope, gradient: Tensor) -> None:
    if BACKWARD.running:
        slope.pull = gradient.detach().clone()


def _hook(tensor: Tensor, call: Callable[..., None], *arguments: Any) -> None:
    tensor.register_hook(functools.partial(call, *arguments))  # type: ignore[no-untyped-call]


def sample_of(tensor: Tensor) -> Tensor:
    """Some of a tensor's values, by which it is known again."""
    flat = tensor.detach().flatten()
    return flat[_places(len(flat), flat.device)]


@functools.cache
def _places(length: int, device: torch.device) -> Tensor:
    """Where a tensor of so many values is looked at: spread by the golden ratio, since every n-th
    value may be the border of an image, which is black in all."""
    spread = torch.arange(min(length, SAMPLES), dtype=torch.float64) * GOLDEN % 1
    return (spread * length).long().to(device)


def is_same(one: Tensor, other: Tensor) -> bool:
    """Whether two samples are of the same values."""
    return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)


def _is_varied(given: Tensor) -> bool:
    return given.ndim > 1 and bool((given != given[:1]).any())


def _find(asked: Asked, images: Tensor, made: Made) -> bool:
    """Whether a D is asked of what G made: of this, or of this scaled, alone or among others, or
    with a condition before or behind its channels; noted where it is."""
    own = made.images
    if images.untyped_storage().data_ptr() == own.untyped_storage().data_ptr():
        asked.images, asked.made, asked.rows = images, made, slice(0, len(images))
        return True
    if not (images.ndim == own.ndim > 1 and images.shape[2:] == own.shape[2:]):
        return False
    count, width = own.shape[:2]
    if count > len(images) or width > images.shape[1] or images.device != own.device:
        return False
    for start in {0, len(images) - count}:
        for left in {0, images.shape[1] - width}:
            rows, channels = slice(start, start + count), slice(left, left + width)
            scale = scale_of(images[rows, channels], own)
            if scale is not None:
                asked.images, asked.made = images, made
                asked.rows, asked.channels, asked.scale = rows, channels, scale
                return True
    return False


def scale_of(values: Tensor, made: Tensor) -> tuple[float, float] | None:
    """By which numbers what G made was multiplied, and what was added, if these are its values."""
    if torch.equal(values, made):
        return 1.0, 0.0
    x, y = made.float().flatten(), values.float().flatten()
    spread = float(x.std())
    if not spread > 0:
        return None
    times = float(((x - x.mean()) * (y - y.mean())).mean() / x.var(correction=0))
    plus = float(y.mean() - times * x.mean())
    if times > 0 and float((y - times * x - plus).abs().max()) < 1e-3 * times * spread:
        return times, plus
    return None
