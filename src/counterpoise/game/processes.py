"""Several processes, where `torch.distributed` is initialised: they must decide alike."""

from collections.abc import Mapping
from typing import Any

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


class Numbers:
    """Small tensors by their keys, their means over all processes, on the host.

    On a GPU they are sent off in one transfer that nothing waits for, until `get` is asked. All
    processes make them alike.
    """

    def __init__(self, tensors: Mapping[Any, Tensor], device: torch.device) -> None:
        self._event: torch.cuda.Event | None = None
        self._tensors = {name: tensor.detach() for name, tensor in tensors.items()}
        if not tensors or (device.type == "cpu" and not distributed()):
            return
        flat = [each.to(device, torch.float32).reshape(-1) for each in self._tensors.values()]
        sent = average_over_processes(torch.cat(flat))
        here = torch.empty(sent.shape, pin_memory=sent.is_cuda)
        here.copy_(sent, non_blocking=sent.is_cuda)
        if sent.is_cuda:
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record()
        parts = torch.split(here, [len(each) for each in flat])
        self._tensors = {
            name: part.reshape(tensor.shape)
            for (name, tensor), part in zip(self._tensors.items(), parts, strict=True)
        }

    def is_here(self) -> bool:
        """Whether nothing has to be waited for."""
        return self._event is None or bool(self._event.query())  # type: ignore[no-untyped-call]

    def get(self) -> dict[Any, Tensor]:
        if self._event is not None:
            self._event.synchronize()
        return self._tensors
