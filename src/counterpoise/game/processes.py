"""Several processes, where `torch.distributed` is initialised: they must decide alike."""

from collections.abc import Mapping

import torch
from torch import Tensor


def distributed() -> bool:
    """Whether this process is one of several that train together."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def rank() -> int:
    """This process's number; 0 is the one that writes."""
    return torch.distributed.get_rank() if distributed() else 0


def world_size() -> int:
    """How many processes train together."""
    return torch.distributed.get_world_size() if distributed() else 1


def average_over_processes(values: Tensor) -> Tensor:
    """A detached tensor's mean over all processes, where it is."""
    values = values.detach()
    if distributed():
        values = values / torch.distributed.get_world_size()
        torch.distributed.all_reduce(values)
    return values


def mean_over_processes(values: Tensor, device: torch.device) -> list[float]:
    """A vector's mean over all processes, in one message from `device`, as numbers on the host."""
    if distributed():
        values = values.to(device)
    return [float(value) for value in average_over_processes(values).tolist()]


def mean_of_each(values: Mapping[str, Tensor], device: torch.device) -> dict[str, float]:
    """`mean_over_processes` of scalars by name, in one message from `device`."""
    if not values:
        return {}
    if device.type == "cpu" and not distributed():
        return {name: float(value.detach().float()) for name, value in values.items()}
    scalars = [value.detach().to(device, torch.float32).reshape(()) for value in values.values()]
    return dict(zip(values, mean_over_processes(torch.stack(scalars), device), strict=True))
