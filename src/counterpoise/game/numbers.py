"""The numbers of a turn on their way from the device to the host."""

from collections.abc import Mapping

import torch
from torch import Tensor

from counterpoise.game.processes import average_over_processes, distributed


class Numbers:
    """Small tensors by name, their means over all processes; lists of floats on the host.

    On a GPU they are sent off in one transfer that nothing waits for, until `get` is asked. All
    processes make them alike.
    """

    def __init__(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        self._sizes = {name: tensor.numel() for name, tensor in tensors.items()}
        self._event: torch.cuda.Event | None = None
        self._here: Tensor | None = None
        self._apart: list[Tensor] = []
        if device.type == "cpu" and not distributed():
            self._apart = [tensor.detach() for tensor in tensors.values()]
            return
        if not tensors:
            return
        flat = [
            tensor.detach().to(device, torch.float32).reshape(-1) for tensor in tensors.values()
        ]
        sent = average_over_processes(torch.cat(flat))
        if sent.device.type == "cuda":
            self._here = torch.empty(sent.shape, pin_memory=True)
            self._here.copy_(sent, non_blocking=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record()
        else:
            self._here = sent.cpu()

    def is_here(self) -> bool:
        """Whether nothing has to be waited for."""
        return self._event is None or bool(self._event.query())  # type: ignore[no-untyped-call]

    def get(self) -> dict[str, list[float]]:
        """The numbers by name."""
        if self._here is None:
            return {
                name: tensor.float().reshape(-1).tolist()
                for name, tensor in zip(self._sizes, self._apart, strict=False)
            }
        if self._event is not None:
            self._event.synchronize()
        values = iter(self._here.tolist())
        return {name: [next(values) for _ in range(size)] for name, size in self._sizes.items()}
