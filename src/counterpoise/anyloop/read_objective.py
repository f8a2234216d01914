"""Reading the adversarial objective from the operations between D's outputs and D's loss."""

from collections.abc import Iterable

from torch import Tensor
from torch.autograd.graph import Node

from counterpoise.anyloop.graph import (
    JOINING,
    REARRANGING,
    Edge,
    comes_out_of_sigmoid,
    edges_of,
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
_HINGES = {"Relu", "ClampMin", "ClampMax", "Clamp", "Threshold", "Maximum", "Minimum"}

_ON_LOGITS = {"BinaryCrossEntropyWithLogits", "Softplus", "LogSigmoid"}


def infer_objective(losses: Iterable[Tensor], outputs: Iterable[Tensor]) -> GameObjective | None:
    """The objective that D's losses are, from the operations between D's outputs and them.

    `losses` are what is back-propagated in D's step; `outputs` those of D on real and on fake
    images, or the first of them alone where its half is back-propagated before the other is made.
    None where the losses do not lead to an output of D, or by operations that say nothing.
    """
    roots = [loss.grad_fn for loss in losses if loss.grad_fn is not None]
    outputs = list(outputs)
    groups = [ends_of(output) for output in outputs]
    ends = {node for group in groups for node, _ in group}
    reached = set(walk(roots, stop=ends)) - ends
    between = _between(reached, ends)
    operations = set(between.values())
    sigmoid_in_loss = "Sigmoid" in operations
    if operations & {"BinaryCrossEntropy", "Log", "Log1P"}:
        return GameObjective("non-saturating", not (sigmoid_in_loss or "Exp" in operations))
    if operations & _ON_LOGITS:
        # A sigmoid before a loss on logits is a bug: the values are what that loss takes as logits.
        return GameObjective(_relativistic(between, groups, ends) or "non-saturating", False)

    def leads(through: set[str]) -> bool:
        """Whether a way from D's outputs to its loss passes such operations alone."""
        return not ends.isdisjoint(
            walk(roots, stop={node for node in reached if between.get(node) not in through})
        )

    # Beside such a way, whatever else is made of D's outputs keeps them small (a drift penalty,
    # LeCam's regulariser).
    if leads(_LINEAR):
        return GameObjective("wgan", False)
    if leads(_LINEAR | _HINGES):
        return GameObjective("hinge", False)
    if operations & {"MseLoss", "Pow"}:
        if sigmoid_in_loss:
            return GameObjective("lsgan-on-sigmoid", False)
        return GameObjective.named(
            "lsgan", probabilities=any(comes_out_of_sigmoid(output) for output in outputs)
        )
    return None


def _between(reached: set[Node], ends: set[Node]) -> dict[Node, str]:
    """The nodes that D's outputs flow through on their way to the losses, and what each does."""
    # A penalty on D's gradient is not a loss of D's outputs.
    stop = ends | {node for node in reached if "BackwardBackward" in node.name()}
    fed = {node for node in reached - stop if not ends.isdisjoint(walk([node], stop))}
    between = {node: operation(node) for node in fed}
    for node, name in between.items():
        if name in ("Mul", "Div") and sum(each in fed | ends for each, _ in edges_of(node)) > 1:
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
        if name in _ON_LOGITS:
            nodes = set(walk([loss], stop=ends))
            joining = [each for each in nodes - ends if between.get(each) not in JOINING]
            if any(_meet(each, own, ends) for each in joining):
                averaged = any(between.get(each) == "Mean" for each in nodes)
                return "relativistic-average" if averaged else "relativistic-paired"
    return None


def _meet(node: Node, own: list[set[Edge]], ends: set[Node]) -> bool:
    """Whether a node takes one output from one side and the other from another."""
    fed = []
    for edge in edges_of(node):
        nodes = set(walk([edge[0]], stop=ends)) - ends
        seen = {edge, *(each for node in nodes for each in edges_of(node))}
        fed.append([bool(seen & edges) for edges in own])
    return any(a[0] and b[1] for a in fed for b in fed if a is not b)
