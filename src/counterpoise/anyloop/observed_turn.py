"""What a hand-written loop did in a turn, which its checks look at, and who notes it.

Nothing here changes a number of the loop: the hooks on the networks tell what they were given, and
a few functions of PyTorch that every way leads to, whatever a loop has imported, are listened to.
"""

import functools
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from counterpoise.anyloop.graph import REARRANGING, leaf_ids, made_by, marks, operation, walk
from counterpoise.anyloop.hooks import is_backward, owned_ids, user_line, user_tensors
from counterpoise.anyloop.network_hooks import FAKE, REAL, DCall, GCall, Phase, scale_of
from counterpoise.anyloop.reading import loss_of
from counterpoise.game.game import Game

# Values by which tensors are compared between turns.
SAMPLES = 256
GOLDEN = 0.6180339887498949
# The values that a G can make, by its last operation; and what keeps values within these.
BOUNDS = {
    **dict.fromkeys(("Tanh", "Hardtanh", "Sin", "Cos"), (-1.0, 1.0)),
    **dict.fromkeys(("Sigmoid", "Hardsigmoid"), (0.0, 1.0)),
}
BOUNDED = REARRANGING | {"AvgPool2D", "UpsampleNearest2D", "UpsampleBilinear2D"}
# The name under which a mark hangs on the nodes of losses that carry a loss scale.
SCALED = "counterpoise scaled"


class Symptom(NamedTuple):
    """Whether a bug shows in a turn in which it could."""

    name: str
    seen: bool
    line: str = ""
    detail: str = ""
    network: str = ""  # "g" or "d", of bugs that either may have


class Networks:
    """Who plays in a game. weights: of "g" and "d", their own ones; `ids` has these' `id`.
    optimizers: each with whose it is; `owned` has the `id` of all that they own."""

    def __init__(self, generator: nn.Module, game: Game) -> None:
        self.gs = list(generator) if isinstance(generator, nn.ModuleList) else [generator]
        self.players = game.players
        self.ds = {name: player.network for name, player in game.players.items()}
        self.optimizers = [("g", game.g_optimizer), *(("d", each) for each in game.d_optimizers)]
        # As for a D behind a layer that reverses the gradient.
        self.share_optimizer = game.g_optimizer in game.d_optimizers
        self.owned = set().union(*(owned_ids(optimizer) for _, optimizer in self.optimizers))
        self.copy: tuple[Samples, str] | None = None  # of D, that G is trained against; its line
        self.is_relativistic = False  # whether D's hinges compare its answers on real and fake
        # Whether images were augmented, in all turns so far: see `check_calls.augmented`.
        self.ways: defaultdict[str, set[bool | None]] = defaultdict(set)
        self.whole = {"g": generator, "d": nn.ModuleList(self.ds.values())}
        of_d = {id(p): p for p in self.whole["d"].parameters()}
        # A G may have D inside.
        of_g = {id(p): p for p in generator.parameters() if id(p) not in of_d}
        self.weights = {"g": list(of_g.values()), "d": list(of_d.values())}
        self.ids = {"g": of_g.keys(), "d": of_d.keys()}

    def objective_of(self, d: str) -> str:
        """A D's objective, "" while it is not known."""
        objective = self.players[d].objective
        return "" if objective is None else objective.name


@dataclass(eq=False)
class BackwardPass:
    """A backward pass in D's or G's part."""

    part: Phase
    line: str
    answers: list[tuple[DCall, int]]  # which it reaches, without passing D: outputs by number
    leaves: set[int]  # `id` of the parameters whose gradients it leaves
    roots: Sequence[Tensor]  # what it runs from, and
    outside: Sequence[Node]  # what it runs through before these answers, while it has not run
    operations: set[str]  # of these
    is_stale: bool  # whether it adds to gradients that were stepped with, or the other network left
    is_retained: bool
    factor: float  # the least by which it was multiplied
    scaled: set[bool]  # whether what its losses are made of carries a loss scale
    uses_d: bool = False  # whether it runs through weights of D's, asked by whatever name

    @property
    def network(self) -> str:
        return self.part.network

    @property
    def calls(self) -> list[DCall]:
        """Whose answers it reaches."""
        return list(dict.fromkeys(call for call, _ in self.answers))


@dataclass(eq=False)
class PenaltyGradient:
    """The gradient of D's answers at images, as a penalty in D's part has it."""

    call: DCall
    points: Tensor
    values: Tensor
    node: Node | None  # None without `create_graph`
    line: str
    is_used: bool = False
    pull: Tensor | None = None  # the penalty's own gradient at it


@dataclass
class ObservedTurn:
    """D's parts of a turn, and G's. before: the turn before it, without calls' outputs."""

    networks: Networks
    before: "ObservedTurn | None" = None
    g_calls: list[GCall] = field(default_factory=list)
    d_calls: list[DCall] = field(default_factory=list)
    passes: list[BackwardPass] = field(default_factory=list)
    d_stepped: list[BackwardPass] = field(
        default_factory=list
    )  # those before D's steps, in its part
    penalty_gradients: list[PenaltyGradient] = field(default_factory=list)
    asked_at_output: set[str] = field(default_factory=set)  # Ds whose gradient G's part asks for

    def calls(self, network: str) -> list[DCall]:
        """The calls of Ds with gradients on in a part."""
        return [each for each in self.d_calls if each.network == network and each.with_gradient]

    def past(self) -> list["ObservedTurn"]:
        """The turns before it, the latest first."""
        return [] if self.before is None else [self.before, *self.before.past()]

    def passes_of(self, part: Phase) -> list[BackwardPass]:
        return [each for each in self.passes if each.part is part]


class TurnObserver:
    """Notes what happens in a turn."""

    def __init__(self, networks: Networks) -> None:
        self.turn = ObservedTurn(networks)
        self._networks = networks
        self._bounds: dict[int, tuple[float, float]] = {}
        # Networks that were kept as they are in some turn, by the policy or a loss of 0.
        self.resting: set[str] = set()
        # Whether gradients that are there now were stepped with already, or are the other's.
        self._spent = {"g": True, "d": True}
        # Whether a network's own loss has left its gradients, and nothing else has since.
        self._is_due = {"g": False, "d": False}

    def next_turn(self) -> None:
        for penalty in self.turn.penalty_gradients:
            penalty.node = None  # whose hook leads back here: the graph goes without a collection
        for call in self.turn.d_calls:
            call.outputs, call.arguments, call.named = [], {}, []
        if self.turn.before is not None:
            self.turn.before.before = None  # two turns are kept behind the one under way
        self.turn = ObservedTurn(self._networks, self.turn)

    def g_called(self, made: GCall, node: Node | None, given: Sequence[Tensor]) -> None:
        """A G has made images, whose last operation is `node`, from these."""
        end = made_by(node, BOUNDED | {"Mul", "Div", "Add", "Sub"})
        bounds = BOUNDS.get(operation(end)) if end is not None else None
        if end is not None and operation(end) == "Clamp":
            bounds = end._saved_min, end._saved_max  # type: ignore[attr-defined]
        if bounds is not None and None not in bounds and made.g not in self._bounds:
            scale: tuple[float, float] | None = 1.0, 0.0
            if end is not made_by(node, BOUNDED):
                result = getattr(end, "_saved_result", made.images[:0])
                alike = result.numel() == made.images.numel()
                scale = scale_of(made.images, result.detach()) if alike else None
            if scale is not None:
                low, high = map(float, bounds)
                self._bounds[made.g] = scale[0] * low + scale[1], scale[0] * high + scale[1]
        made.bounds, made.line = self._bounds.get(made.g), user_line()
        made.inputs = [sample_of(each) for each in given]
        made.varied = [
            each.is_floating_point() and each.ndim > 1 and bool((each != each[:1]).any())
            for each in given
        ]
        self.turn.g_calls.append(made)

    def d_called(self, call: DCall, d: nn.Module) -> None:
        """A D is about to judge images."""
        call.line = user_line()
        self.turn.d_calls.append(call)
        rows = {kind: call.rows_of(call.images, kind) for kind in (REAL, FAKE)}
        call.samples = {kind: sample_of(own) for kind, own in rows.items() if len(own)}
        call.is_frozen = not any(p.requires_grad for p in d.parameters())
        place = call.shape, call.images.device
        call.named = [each for each in user_tensors() if (each.shape, each.device) == place]
        if call.g_call is not None:
            call.g_call.judged_in.add(call.network)

    def backward(
        self,
        part: Phase,
        roots: Sequence[Tensor],
        weights: Sequence[Tensor | None],
        inputs: Sequence[Tensor],
        nodes: set[Node],
        *,
        is_retained: bool,
    ) -> BackwardPass:
        """A backward pass is about to run in a part, from roots times weights through these nodes,
        for these `inputs` alone if there are any."""
        leaves = leaf_ids(nodes)
        if inputs:
            leaves &= set(map(id, inputs))
        own, other = ("g", "d") if part.network == "g" else ("d", "g")
        if not any(bool(root.any()) for root in roots):
            # It has a weight of 0, as before the step from which a loop trains D.
            self.resting.add(own)
        answers, outside = loss_of([c for c in self.turn.d_calls if c.with_gradient], roots)
        # Of several Ds each may have its gradients cleared just before its own backward pass; what
        # no optimizer owns is cleared by none.
        due = leaves & self._networks.owned
        is_stale = self._spent[own] and any(
            p.grad is not None and bool(p.grad.any())
            for p in self._networks.weights[own]
            if id(p) in due
        )
        starts = [root.grad_fn for root in roots if root.grad_fn is not None]
        scales = {node for node in outside if SCALED in marks(node)}
        ends = scales | {n for c, number in answers if (n := c.outputs[number].grad_fn)}
        new = BackwardPass(
            part,
            user_line(),
            answers,
            leaves,
            roots,
            outside,
            set(map(operation, outside)),
            is_stale,
            is_retained,
            min([1.0, *_factors(outside, weights)]),
            {node in scales for node in walk(starts, stop=ends) if node in ends},
        )
        self._spent[own], self._is_due[own] = False, True
        if own == "g" and answers and not leaves & self._networks.ids["g"]:
            self._is_due["d"] = True  # D's own loss, as in the look-ahead of an unrolled GAN
        elif leaves & self._networks.ids[other]:
            # What it leaves in the other network is none of that network's loss.
            self._spent[other], self._is_due[other] = True, False
        for penalty in self.turn.penalty_gradients:
            penalty.is_used |= penalty.node in nodes
        for node in outside:
            if operation(node) in ("LogSoftmax", "NllLoss"):
                below = set(walk([node]))
                for call, number in answers:
                    call.classes |= {number} if call.outputs[number].grad_fn in below else set()
        self.turn.passes.append(new)
        return new

    def steps(self, network: str, part: Phase, *, rests: bool) -> bool:
        """An optimizer is about to step, unless the policy `rests` the network. Whether it is its
        turn: its network's own loss has left its gradients, and nothing else since."""
        if rests:
            self.resting.add(network)
        own, is_due = network == part.network, self._is_due[network]
        self._spent[network], self._is_due[network] = True, is_due and not own
        return own or is_due

    def gradient(
        self, part: Phase, outputs: Sequence[Tensor], inputs: Sequence[Tensor]
    ) -> Callable[[Sequence[Tensor | None]], None] | None:
        """`autograd.grad` is about to run; what notes its results."""
        reached, _ = loss_of(self.turn.calls(part.network), outputs)
        if part.network == "g" and not any(isinstance(each, nn.Parameter) for each in inputs):
            # Gradients at G's output, which the loop weighs and passes on (EnCodec's balancer).
            self.turn.asked_at_output |= {call.d for call, _ in reached}
        if part.network != "d" or not reached:
            return None
        call, line = max((call for call, _ in reached), key=self.turn.d_calls.index), user_line()

        def after(results: Sequence[Tensor | None]) -> None:
            for points, values in zip(inputs, results, strict=False):
                if isinstance(points, nn.Parameter) or values is None:
                    continue
                of_d = points.detach(), values.detach(), values.grad_fn
                penalty = PenaltyGradient(call, *of_d, line)
                call.is_between = True
                self.turn.penalty_gradients.append(penalty)
                if values.requires_grad:
                    hook = functools.partial(_note_pull, penalty)
                    values.register_hook(hook)  # type: ignore[no-untyped-call]

        return after


def _factors(outside: Sequence[Node], weights: Sequence[Tensor | None]) -> list[float]:
    """The numbers by which losses are multiplied."""
    factors = [abs(float(w)) for w in weights if w is not None and w.numel() == 1]
    for node in outside:
        by = getattr(node, "_saved_other", None)
        if operation(node) in ("Mul", "Div") and by is not None and by.numel() == 1 and by:
            factors.append(abs(float(by.detach())) ** (1 if operation(node) == "Mul" else -1))
    return factors


def _note_pull(penalty: PenaltyGradient, gradient: Tensor) -> None:
    if is_backward():
        penalty.pull = gradient.detach().clone()


class Samples:
    """Some values of weights, by which it is seen whether they have moved."""

    def __init__(self, weights: Sequence[Tensor]) -> None:
        self.weights, self._values = weights, list(map(sample_of, weights))

    def still(self) -> list[Tensor]:
        """The weights that are what they were."""
        pairs = zip(self.weights, self._values, strict=True)
        return [weight for weight, value in pairs if is_same(sample_of(weight), value)]

    def has_moved(self) -> bool:
        return len(self.still()) < len(self.weights)


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
