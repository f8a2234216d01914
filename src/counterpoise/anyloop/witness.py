"""Notes what a hand-written loop does, for its checks.

Nothing here changes a number of the loop: networks are hooked, and a few functions of PyTorch that
every way leads to, whatever a loop has imported, are listened to.
"""

import functools
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from counterpoise.anyloop.graph import ends_of, made_by, operation, walk
from counterpoise.anyloop.hooks import BACKWARD, ModuleHook, Watched, package_of, user_line
from counterpoise.anyloop.scene import Asked, Check, Made, Pass, Scene, Slope, sample_of
from counterpoise.anyloop.tap import Phase, floats_of, same_memory, tensors_of

# The values that a G can make, by its last operation.
BOUNDS = {"Tanh": (-1.0, 1.0), "Sigmoid": (0.0, 1.0)}

# What keeps an exception of a hook from the loop.
Guard = Callable[[Callable[..., Any]], Callable[..., Any]]

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
        node = made_by(images.grad_fn)
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
        gradient = Pass("", set(), [], [], set(), "")  # of no part's loss
        for check in self.checks:
            check.begins(gradient, nodes)
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
        while frame.f_back and (package_of(frame) == "torch") == is_torch:
            frame = frame.f_back
    return package_of(frame) == "counterpoise"


def _add_pull(asked: Asked, number: int, gradient: Tensor) -> None:
    if BACKWARD.running:
        before = asked.pulls.get(number)
        asked.pulls[number] = gradient.detach() + (0 if before is None else before)


def _note_pull(slope: Slope, gradient: Tensor) -> None:
    if BACKWARD.running:
        slope.pull = gradient.detach().clone()


def _hook(tensor: Tensor, call: Callable[..., None], *arguments: Any) -> None:
    tensor.register_hook(functools.partial(call, *arguments))  # type: ignore[no-untyped-call]


def _is_varied(given: Tensor) -> bool:
    return given.ndim > 1 and bool((given != given[:1]).any())


def _find(asked: Asked, images: Tensor, made: Made) -> bool:
    """Whether a D is asked of what G made: of this, or of this scaled, alone or among others, or
    with a condition before or behind its channels; noted where it is."""
    own = made.images
    if same_memory(images, own):
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
