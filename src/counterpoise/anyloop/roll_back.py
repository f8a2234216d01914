"""Going back to the state that a policy had kept, in a hand-written loop."""

from collections.abc import Collection

import torch

from counterpoise.actuators.snapshot import Snapshot


def roll_back(snapshot: Snapshot, optimizers: Collection[torch.optim.Optimizer]) -> str:
    """Put the kept state back, where there is one; says what was done.

    The learning rates stay the user's: a schedule does not go back.
    """
    if snapshot.taken_step is None:
        return "no state was kept to go back to"
    rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    snapshot.restore()
    for optimizer, own in zip(optimizers, rates, strict=True):
        for group, learning_rate in zip(optimizer.param_groups, own, strict=True):
            group["lr"] = learning_rate
    return f"both networks are as they were before step {snapshot.taken_step} again"
