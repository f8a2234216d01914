"""Notes what a hand-written loop does, for its checks.

Nothing here changes a number of the loop: the tap on the networks tells what they were given, and a
few functions of PyTorch that every way leads to, whatever a loop has imported, are listened to.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import Node

from counterpoise.anyloop.check_answers import find_copy
from counterpoise.anyloop.check_graph import Lifetimes
from counterpoise.anyloop.check_optimizers import Gradients
from counterpoise.anyloop.graph import REARRANGING, leaf_ids, made_by, operation, walk
from counterpoise.anyloop.hooks import is_backward, user_line
from counterpoise.anyloop.reading import loss_of
from counterpoise.anyloop.scene import Networks, Pass, Scene, Slope, sample_of
from counterpoise.anyloop.tap import FAKE, REAL, Call, Made, Phase, scale_of

# The values that a G can make, by its last operation.
BOUNDS = {"Tanh": (-1.0, 1.0), "Sigmoid": (0.0, 1.0), "Hardtanh": (-1.0, 1.0)}

# Scenes that are kept behind the one that is noted.
PAST = 2


class Witness:
    """Notes the scene. phase: the open part, of the loop's own doing; None between parts.
    is_close: whether what costs more is noted too."""

    def __init__(self, networks: Networks, guard: Callable[..., Any]) -> None:
        self.phase: Callable[[], Phase | None] = lambda: None
        self.scene, self.is_close = Scene(networks), True
        self.lifetimes = Lifetimes()
        self.gradients = Gradients(lambda: self.phase(), networks, guard)
        self._networks, self._guard = networks, guard
        self._bounds: dict[int, tuple[float, float]] = {}
        # Networks that were kept as they are in some turn, by the policy or a loss of 0.
        self.resting: set[str] = set()
        # Whether gradients that are there now were stepped with already, or are the other's.
        self._spent = {"g": True, "d": True}
        # Whether a network's own loss has left its gradients, and nothing else has since.
        self._is_due = {"g": False, "d": False}
        self.gradient = guard(self._gradient)

    def close(self) -> None:
        """Note no more of what costs more."""
        if self.is_close:
            self.gradients.close()
        self.is_close = False

    def next_scene(self) -> None:
        for slope in self.scene.slopes:
            slope.node = None  # whose hook leads back here: the graph goes without a collection
        for call in self.scene.asked:
            call.outputs, call.arguments = [], {}
        for past in self.scene.past()[PAST - 2 :]:
            past.before = None
        self.scene = Scene(self._networks, self.scene if self.is_close else None)

    def made(self, made: Made, node: Node | None, given: Sequence[Tensor]) -> None:
        """A G has made images, whose last operation is `node`, from these."""
        if not self.is_close:
            return
        last = made_by(node)
        end = made_by(node, REARRANGING | {"Mul", "Div", "Add", "Sub"})
        if end is not None and operation(end) in BOUNDS:
            scale: tuple[float, float] | None = 1.0, 0.0
            if end is not last:
                result = getattr(end, "_saved_result", made.images[:0])
                alike = result.numel() == made.images.numel()
                scale = scale_of(made.images, result.detach()) if alike else None
            if scale is not None:
                low, high = BOUNDS[operation(end)]
                self._bounds[made.g] = scale[0] * low + scale[1], scale[0] * high + scale[1]
        made.bounds, made.line = self._bounds.get(made.g), user_line()
        made.inputs = [sample_of(each) for each in given]
        made.varied = [each.is_floating_point() and _is_varied(each) for each in given]
        self.scene.made.append(made)

    def asked(self, call: Call, d: nn.Module) -> None:
        """A D is about to judge images."""
        call.line = user_line()
        self.scene.asked.append(call)
        if not self.is_close:
            return
        rows = {kind: call.rows_of(call.images, kind) for kind in (REAL, FAKE)}
        call.samples = {kind: sample_of(own) for kind, own in rows.items() if len(own)}
        call.is_frozen = not any(p.requires_grad for p in d.parameters())
        if call.made is not None:
            call.made.judged_in.add(call.network)

    def backward(
        self,
        part: Phase,
        roots: Sequence[Tensor],
        weights: Sequence[Tensor | None],
        inputs: Sequence[Tensor],
        *,
        is_retained: bool,
    ) -> Pass:
        """A backward pass is about to run in a part, from roots times weights, for these `inputs`
        alone if there are any."""
        nodes = set(walk(root.grad_fn for root in roots if root.grad_fn is not None))
        leaves = leaf_ids(nodes)
        if inputs:
            leaves &= set(map(id, inputs))
        own, other = ("g", "d") if part.network == "g" else ("d", "g")
        if not any(bool(root.any()) for root in roots):
            # It has a weight of 0, as before the step from which a loop trains D.
            self.resting.add(own)
        reached, outside = loss_of([c for c in self.scene.asked if c.with_gradient], roots)
        new = Pass(
            part,
            user_line(),
            list(dict.fromkeys(call for call, _ in reached)),
            leaves,
            roots,
            outside,
            set(map(operation, outside)),
            # Of several Ds each may have its gradients cleared just before its own backward pass.
            self._spent[own]
            and any(
                p.grad is not None and bool(p.grad.any())
                for p in self._networks.weights[own]
                if id(p) in leaves
            ),
            is_retained,
            min([1.0, *(abs(float(w)) for w in weights if w is not None and w.numel() == 1)]),
        )
        self._spent[own], self._is_due[own] = False, True
        if leaves & self._networks.ids[other]:
            # What it leaves in the other network is none of that network's loss.
            self._spent[other], self._is_due[other] = True, False
        for slope in self.scene.slopes:
            slope.is_used |= slope.node in nodes
        for node in outside:
            if operation(node) in ("LogSoftmax", "NllLoss"):
                below = set(walk([node]))
                for call, number in reached:
                    call.classes |= {number} if call.outputs[number].grad_fn in below else set()
        self.scene.passes.append(new)
        if self.is_close:
            find_copy(self._networks, new, nodes)
            self.lifetimes.begins(new, nodes)
            self.gradients.begins(new)
        return new

    def steps(self, network: str, part: Phase, *, rests: bool) -> bool:
        """An optimizer is about to step, unless the policy `rests` the network. Whether it is its
        turn: its network's own loss has left its gradients, and nothing else since."""
        if rests:
            self.resting.add(network)
        own, is_due = network == part.network, self._is_due[network]
        self._spent[network], self._is_due[network] = True, is_due and not own
        return own or is_due

    def ran(self, backward: Pass) -> None:
        """It has run."""
        backward.roots = backward.outside = ()
        self.lifetimes.ran(backward)
        self.gradients.ran(backward)

    def _gradient(
        self, part: Phase, outputs: Sequence[Tensor], inputs: Sequence[Tensor]
    ) -> Callable[[Any], None] | None:
        """`autograd.grad` is about to run."""
        nodes = set(walk(output.grad_fn for output in outputs if output.grad_fn is not None))
        self.lifetimes.begins(None, nodes)
        reached, _ = loss_of(self.scene.calls("d"), outputs)
        if part.network != "d" or not reached:
            return None
        call, line = max((call for call, _ in reached), key=self.scene.asked.index), user_line()

        def after(results: Sequence[Tensor | None]) -> None:
            for points, values in zip(inputs, results, strict=False):
                if isinstance(points, nn.Parameter) or values is None:
                    continue
                detail = "" if values.requires_grad else "it is computed without `create_graph`"
                node = values.grad_fn
                slope = Slope(call, points.detach(), values.detach(), node, line, detail)
                call.is_between = True
                self.scene.slopes.append(slope)
                if values.requires_grad:
                    hook = functools.partial(_note_pull, slope)
                    values.register_hook(hook)  # type: ignore[no-untyped-call]

        heard: Callable[[Any], None] = self._guard(after)
        return heard


def _note_pull(slope: Slope, gradient: Tensor) -> None:
    if is_backward():
        slope.pull = gradient.detach().clone()


def _is_varied(given: Tensor) -> bool:
    return given.ndim > 1 and bool((given != given[:1]).any())
