"""Reading the autograd graph: what a loss was made of, and which parameters it reaches.

Nothing is recomputed and no tensor is touched: only the links between the graph's nodes are
followed. They outlive the backward pass, but not the tensors that hold them.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from torch import Tensor
from torch.autograd.graph import Node

# A node, and which of its outputs.
Edge = tuple[Node, int]

# Operations that only rearrange, choose from or convert values.
REARRANGING = {
    "View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "ToCopy", "Clone", "Alias",
    "Permute", "Transpose", "T", "Select", "Slice", "Expand", "Contiguous", "Split",
    "SplitWithSizes", "Unbind", "Index", "IndexSelect", "MaskedSelect", "Gather",
    # Of a distributed D, and of a module with a full backward hook: values pass unchanged.
    "_DDPSink", "BackwardHookFunction",
}  # fmt: skip
JOINING = {"Cat", "Stack"}


def marks(node: Node) -> dict[str, Any]:
    """What hangs on a node under names, and lives as long as it does."""
    return node.metadata  # type: ignore[return-value]


def operation(node: Node) -> str:
    """The name of what a node differentiates: `Sigmoid` for `SigmoidBackward0`."""
    return re.sub(r"Backward\d*$", "", node.name().split("::")[-1])


def edges_of(node: Node) -> list[Edge]:
    """The values that a node was computed from, those that have a gradient."""
    return [(following, number) for following, number in node.next_functions if following]


def walk(roots: Iterable[Node], stop: Collection[Node] = ()) -> Iterator[Node]:
    """All nodes that `roots` were computed from, themselves first; not past those in `stop`."""
    seen = set(roots)
    waiting = list(seen)
    while waiting:
        node = waiting.pop()
        yield node
        if node not in stop:
            following = [each for each, _ in edges_of(node) if each not in seen]
            seen.update(following)
            waiting += following


def leaf_ids(nodes: Iterable[Node]) -> set[int]:
    """`id` of every leaf tensor whose gradient these nodes accumulate."""
    return {id(node.variable) for node in nodes if hasattr(node, "variable")}


def reaches(root: Node, leaves: Collection[int]) -> bool:
    """Whether a node was computed from a leaf tensor of these ids: the search ends at the first,
    and what is computed last is asked first, so that a network's own are found soon."""
    return any(id(getattr(node, "variable", None)) in leaves for node in walk([root]))


def ends_of(tensor: Tensor) -> set[Edge]:
    """Where a tensor's values pass, back to the first node that does more than arrange them:
    what a loss reaches that was computed from the values before or after."""
    ends: set[Edge] = set()
    waiting = [] if tensor.grad_fn is None else [(tensor.grad_fn, tensor.output_nr)]
    while waiting:
        edge = waiting.pop()
        ends.add(edge)
        if operation(edge[0]) in REARRANGING | JOINING:
            waiting += edges_of(edge[0])
    return ends


def made_by(node: Node | None, through: Collection[str] = REARRANGING) -> Node | None:
    """The node whose values a node has, past operations that only rearrange them."""
    while node is not None and operation(node) in through:
        node = next((following for following, _ in edges_of(node)), None)
    return node


def ends_in_sigmoid(node: Node | None, through: Collection[str] = REARRANGING) -> bool:
    """Whether what a node makes is a sigmoid's or a softmax's output, rearranged at most."""
    made = made_by(node, through)
    return made is not None and operation(made) in ("Sigmoid", "Softmax")
