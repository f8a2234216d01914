"""Reading the adversarial objective from the operations between D's outputs and D's loss."""

from collections.abc import Collection, Iterable, Sequence

from torch import Tensor
from torch.autograd.graph import Node

from counterpoise.anyloop.graph import (
    JOINING,
    REARRANGING,
    Edge,
    edges_of,
    ends_in_sigmoid,
    ends_of,
    operation,
    walk,
)
from counterpoise.game.objective import GameObjective

# Operations that scale, shift, add, average, choose and arrange.
_LINEAR = {
    *REARRANGING, *JOINING, "Mean", "Sum", "Neg", "Sub", "Rsub", "Add", "Mul", "Div", "Lerp",
    "AvgPool1D", "AvgPool2D", "AvgPool3D", "AdaptiveAvgPool2D", "UpsampleNearest2D",
    "UpsampleBilinear2D", "Sort", "Topk", "Median", "NanToNum", "CopySlices",
}  # fmt: skip

# Operations that a hinge is written with.
HINGES = {"Relu", "ClampMin", "ClampMax", "Clamp", "Threshold", "Maximum", "Minimum"}

_ON_LOGITS = {"BinaryCrossEntropyWithLogits", "Softplus", "LogSigmoid"}


def infer_objective(
    losses: Iterable[Tensor], outputs: Sequence[Sequence[Tensor]]
) -> GameObjective | None:
    """The objective that D's losses are, from the operations between D's outputs and them.

    `losses` are what is back-propagated in D's step; `outputs` those of D on real and on fake
    images, or those on one kind alone, where its half is back-propagated before the other is made.
    None where the losses do not lead to an output of D, or by operations that say nothing.
    """
    roots = [loss.grad_fn for loss in losses if loss.grad_fn is not None]
    groups = [set().union(*map(ends_of, tensors)) for tensors in outputs]
    ends = {node for group in groups for node, _ in group}
    reached = set(walk(roots, stop=ends)) - ends
    between = _between(reached, ends)
    operations = set(between.values())
    sigmoid_in_loss = "Sigmoid" in operations
    if operations & {"BinaryCrossEntropy", "Log", "Log1P"}:
        return GameObjective("non-saturating", not (sigmoid_in_loss or "Exp" in operations))
    if operations & _ON_LOGITS:
        # A sigmoid before a loss on logits is a bug: the values are what that loss takes as logits.
        one_sided = operations & {"Sub", "Rsub"} and "Neg" not in operations
        name = _relativistic(between, groups, ends)
        # A difference from what D said of the other kind, which this half takes as it is.
        name = name or ("relativistic-average" if one_sided else "non-saturating")
        return GameObjective(name, False)

    def leads(through: set[str]) -> bool:
        """Whether a way from D's outputs to its loss passes such operations alone."""
        return not ends.isdisjoint(
            walk(roots, stop={node for node in reached if between.get(node) not in through})
        )

    # Beside such a way, whatever else is made of D's outputs keeps them small (a drift penalty,
    # LeCam's regulariser).
    if leads(_LINEAR):
        return GameObjective("wgan", False)
    if leads(_LINEAR | HINGES):
        return GameObjective("hinge", False)
    if operations & {"MseLoss", "Pow"}:
        if sigmoid_in_loss:
            return GameObjective("lsgan-on-sigmoid", False)
        return GameObjective.named(
            "lsgan",
            probabilities=any(ends_in_sigmoid(one.grad_fn) for each in outputs for one in each),
        )
    return None


def _between(reached: set[Node], ends: set[Node]) -> dict[Node, str]:
    """The nodes that D's outputs flow through on their way to the losses, and what each does."""
    # A penalty on D's gradient is not a loss of D's outputs.
    stop = ends | {node for node in reached if "BackwardBackward" in node.name()}
    above: dict[Node, list[Node]] = {}
    for node in reached - stop:
        for below, _ in edges_of(node):
            above.setdefault(below, []).append(node)
    fed: set[Node] = set()
    waiting = list(ends)
    while waiting:
        new = [node for node in above.get(waiting.pop(), ()) if node not in fed]
        fed.update(new)
        waiting += new
    between = {node: operation(node) for node in fed}
    for node, name in between.items():
        if name in ("Mul", "Div") and _is_of_several(node, fed | ends):
            # Not by a number: a square that is written as a product, or something unknown.
            between[node] = "Pow" if name == "Mul" else "Ratio"
    return between


def _relativistic(between: dict[Node, str], groups: list[set[Edge]], ends: set[Node]) -> str | None:
    """The relativistic objective where one loss sees both outputs at once."""
    if len(groups) < 2:
        return None
    # What both come from says nothing: D may have judged them in one pass.
    own = [groups[0] - groups[1], groups[1] - groups[0]]
    for loss, name in between.items():
        nodes = set(walk([loss], stop=ends)) if name in _ON_LOGITS else set()
        edges = {edge for node in nodes - ends for edge in edges_of(node)}
        compared = [node for node in nodes - ends if between.get(node) not in JOINING]
        if all(edges & side for side in own) and any(
            _is_of_several(node, between.keys() | ends) for node in compared
        ):
            averaged = any(between.get(each) == "Mean" for each in nodes)
            return "relativistic-average" if averaged else "relativistic-paired"
    return None


def _is_of_several(node: Node, fed: Collection[Node]) -> bool:
    """Whether more than one of a node's operands come from D's outputs."""
    return sum(each in fed for each, _ in edges_of(node)) > 1
