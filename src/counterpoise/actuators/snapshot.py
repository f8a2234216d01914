"""An exact copy of networks and optimizers, to come back to."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


class Snapshot:
    """At most one kept state of some networks and optimizers, on the devices that they are on.

    It holds copies of all weights, buffers and optimizer states: as much memory as they take once
    more. Taking another lets go of the one before. What it does not hold: random states, data
    order, gradients.
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        optimizers: Mapping[str, torch.optim.Optimizer],
    ) -> None:
        self._modules, self._optimizers = dict(modules), dict(optimizers)
        # The step before which the kept state was; None while nothing is kept.
        self.taken_step: int | None = None
        # The kept `state_dict`s by name.
        self.modules: dict[str, dict[str, Any]] = {}
        self.optimizers: dict[str, dict[str, Any]] = {}

    def take(self, step: int) -> None:
        """Keep the state as it is now; `step` names it."""
        self.modules = {k: copy.deepcopy(m.state_dict()) for k, m in self._modules.items()}
        self.optimizers = {k: copy.deepcopy(o.state_dict()) for k, o in self._optimizers.items()}
        self.taken_step = step

    def restore(self) -> None:
        """Put the kept state back; it stays kept.

        Learning rates stay as they are: a schedule does not go back.
        """
        for name, module in self._modules.items():
            module.load_state_dict(self.modules[name])
        for name, optimizer in self._optimizers.items():
            # An optimizer takes tensors over as they are and would train on the kept ones.
            state = copy.deepcopy(self.optimizers[name])
            for kept, own in zip(state["param_groups"], optimizer.param_groups, strict=True):
                kept["lr"] = own["lr"]
            optimizer.load_state_dict(state)
