"""Passes of a network replayed from CUDA graphs.

The networks of super-resolution have so many small kernels that launching them one by one takes
longer than running them; a replayed graph is one launch. PyTorch records them
(`torch.cuda.make_graphed_callables`), with the backward pass.
"""

import gc
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from counterpoise.config import TrainConfig
from counterpoise.errors import UserError


class ReplayedPasses:
    """Stands for a network: called with images (N, C, H, W), it gives what the network gives.

    A pass is recorded when it is first asked for in its kind: shape, with gradients or without, to
    the weights or to the images. What it returns lies where the next replay writes, so it is good
    until as many further passes of its kind as may be pending at once have been run; the
    caller keeps a copy of what it wants for longer. There is no second derivative: penalties and
    sensors use the network itself.
    """

    def __init__(self, module: nn.Module, name: str, most_pending: int) -> None:
        self._module, self._name, self._most_pending = module, name, most_pending
        self._weights = list(module.parameters())
        self._recorded: dict[tuple[Any, ...], list[Any]] = {}
        # Why passes are not replayed any more; empty while they are.
        self.failure = ""
        self.failure_is_told = False  # in whatever stage

    def __call__(self, images: Tensor, *options: Sequence[str]) -> Any:
        if self.failure:
            return self._module(images, *options)
        with_graph = torch.is_grad_enabled()
        kind = (
            images.shape,
            images.dtype,
            with_graph,
            with_graph and images.requires_grad,
            any(weight.requires_grad for weight in self._weights),
            self._module.training,
            *map(tuple, options),
        )
        passes = self._recorded.setdefault(kind, [])
        # They take turns: the one that has waited longest is next.
        if len(passes) == self._most_pending:
            passes.append(passes.pop(0))
            return passes[-1](images)
        try:
            passes.append(self._record(images, options))
        except (RuntimeError, AssertionError) as error:  # something that cannot be recorded
            reason = str(error).strip().partition("\n")[0]
            self.failure = f"{self._name} is not replayed from CUDA graphs: {reason}"
        else:
            return passes[-1](images)
        # Memory may be what was lacking. Recordings are cycles, and the error, which is gone
        # here, kept the one that failed. Pending backward passes keep what they need.
        passes.clear()
        self._recorded.clear()
        gc.collect()
        return self._module(images, *options)

    def _record(self, images: Tensor, options: Sequence[Sequence[str]]) -> Any:
        """Record one pass; it is run a few times for that."""
        sample = images.detach().clone()
        # A recording that breaks off may leave its own stream as the current one.
        stream = torch.cuda.current_stream(images.device) if images.is_cuda else None
        # Weights cast once for several passes would be outside of the graph.
        kind, dtype = images.device.type, torch.get_autocast_dtype(images.device.type)
        uncached = torch.autocast(kind, dtype, torch.is_autocast_enabled(kind), cache_enabled=False)
        with uncached, torch.cuda.stream(stream):
            if self._changes_buffers(sample, options):
                raise RuntimeError("its passes change its buffers (batch or spectral norm)")
            sample.requires_grad_(torch.is_grad_enabled() and images.requires_grad)
            return torch.cuda.make_graphed_callables(
                _Pass(self._module, options), (sample,), allow_unused_input=True
            )

    def _changes_buffers(self, sample: Tensor, options: Sequence[Sequence[str]]) -> bool:
        """Whether a pass leaves other buffers behind; they are put back.

        Such a network is not replayed: that a D with batch normalisation trains alike has not been
        seen on a GPU yet (docs/performance.md).
        """
        buffers = [(buffer, buffer.clone()) for buffer in self._module.buffers()]
        with torch.no_grad():
            self._module(sample, *options)
        changed = any(not buffer.equal(before) for buffer, before in buffers)
        for buffer, before in buffers:
            buffer.data.copy_(before)  # unseen by pending backward passes, whose values they are
        return changed


class _Pass(nn.Module):
    """One pass of a network, for the recorder, which replaces the `forward` of what it is given."""

    def __init__(self, module: nn.Module, options: Sequence[Sequence[str]]) -> None:
        super().__init__()
        self.module, self.options = module, options

    def forward(self, images: Tensor) -> Any:
        """The network's result."""
        return self.module(images, *self.options)


def accelerated(
    module: nn.Module | None, name: str, most_pending: int, train: TrainConfig, device: torch.device
) -> Any:
    """A network's passes as the configuration wants them: replayed on a GPU, or the network as it
    is; None of none. `most_pending` wait together for their backward passes."""
    if device.type != "cuda" and train.cuda_graphs == "always":
        raise UserError("train.cuda_graphs=always: there is no GPU here; set it to auto")
    if module is None or device.type != "cuda" or train.cuda_graphs == "never":
        return module
    # Recording leaves nodes of weights' gradients on its stream; that they wait for it is meant.
    quiet = getattr(torch.autograd.graph, "set_warn_on_accumulate_grad_stream_mismatch", None)
    if quiet is not None:
        quiet(False)
    return ReplayedPasses(module, name, most_pending)
