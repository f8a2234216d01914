"""Sums and norms of long vectors whose last digits depend on nothing but the numbers.

BLAS adds in an order that depends on where in memory a vector lies, and PyTorch's full reductions
in one that depends on the number of threads. A policy acts on what is measured, so a resumed
training, whose vectors lie elsewhere, would become another one.
"""

from collections.abc import Callable

import torch
from torch import Tensor

# So many numbers are added by one thread, in the order in which they lie.
ROW = 1024


def total(values: Tensor) -> Tensor:
    """The sum of all values, a scalar of their type."""
    return _reduced(values, lambda rows: rows.sum(1))


def norm(values: Tensor) -> Tensor:
    """The Euclidean norm of all values, a scalar of their type."""
    return _reduced(values, lambda rows: torch.linalg.vector_norm(rows, dim=1))


def mean(values: Tensor) -> Tensor:
    """The mean of all values, a float32 scalar."""
    return total(values.float()) / values.numel()


def _reduced(values: Tensor, reduce_rows: Callable[[Tensor], Tensor]) -> Tensor:
    """Row by row, then the results alike until one is left."""
    values = values.detach().flatten()
    if not len(values):
        return values.new_zeros(())
    while True:
        whole = len(values) // ROW * ROW
        rows = [values[:whole].view(-1, ROW), values[whole:].view(1, -1)]
        values = torch.cat([reduce_rows(each) for each in rows if each.numel()])
        if len(values) == 1:
            return values.reshape(())
