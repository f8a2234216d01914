"""Who plays: a discriminator with its policy, its part of a turn, and a share of an optimizer."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from counterpoise.actuators.inputs import InputChange
from counterpoise.balance.fixed import NonePolicy
from counterpoise.balance.policies import objective_problems
from counterpoise.balance.policy import Policy
from counterpoise.errors import UserError
from counterpoise.game.objective import Ask, GameObjective, ask_alone
from counterpoise.game.r1 import R1
from counterpoise.records import (
    NO_ACTION,
    NO_READINGS,
    Action,
    Readings,
    Signals,
    without_gone_fields,
)

NO_OBJECTIVE = (
    "the objective of D{name} is not known, nor can be read from its loss; name it: "
    'objective="bce" (or lsgan, hinge, wgan, relativistic-average, relativistic-paired)'
)


@dataclass(eq=False)
class Player:
    """A discriminator, the policy that balances it against G, and what both know."""

    name: str  # "" for the only one
    network: nn.Module
    optimizer: torch.optim.Optimizer
    policy: Policy
    objective_name: str | None  # by any of its names; None: it is read from D's loss
    objective: GameObjective | None = None
    # What the policy asked for last, the latest readings, and the last known signals.
    last_action: Action = NO_ACTION
    readings: Readings = NO_READINGS
    signals: Signals | None = None
    # Whether D is trained to score fake images above real ones: a policy that saw its numbers would
    # do the opposite of what helps, so it is not asked.
    is_reversed: bool = False

    def __post_init__(self) -> None:
        self.unknown_objective = NO_OBJECTIVE.format(name=f" '{self.name}'" * bool(self.name))
        self.r1 = R1(self.network, self.optimizer)
        if self.objective_name is not None:
            GameObjective.named(self.objective_name, probabilities=False)  # refuses an unknown one

    def memory(self) -> dict[str, Any]:
        """What a resumed game needs beside the policy's state, as plain JSON values."""
        signals = self.signals and dataclasses.asdict(self.signals) | {"readings": None}
        return {
            "action": dataclasses.asdict(self.last_action),
            "readings": dataclasses.asdict(self.readings),
            "signals": signals,
            "is_reversed": self.is_reversed,
        }

    @staticmethod
    def recalled(memory: Mapping[str, Any]) -> dict[str, Any]:
        """What `memory` gave, also in earlier versions, by attribute; `KeyError` or `TypeError`
        where it is something else."""
        readings = Readings(**without_gone_fields(memory["readings"]))
        signals = memory.get("signals")
        return {
            "last_action": Action(**without_gone_fields(memory["action"])),
            "readings": readings,
            "signals": signals and Signals(**signals | {"readings": readings}),
            "is_reversed": bool(memory.get("is_reversed")),
        }

    @property
    def acts(self) -> bool:
        """Whether its policy may change anything."""
        return not isinstance(self.policy, NonePolicy)

    def set_objective(self, objective: GameObjective) -> None:
        """D's objective is known; `UserError` where the policy cannot work under it."""
        check_objective(self.policy, objective)
        self.objective = objective

    def name_objective(self, *, probabilities: bool) -> None:
        """Whether D's outputs are probabilities is known, and with it the objective that was
        named; without a name, nothing is."""
        if self.objective is None and (name := self.objective_name) is not None:
            self.set_objective(GameObjective.named(name, probabilities=probabilities))

    def known_objective(self) -> GameObjective:
        """D's objective; `UserError` where it is not known."""
        if self.objective is None:
            raise UserError(self.unknown_objective)
        return self.objective


def check_objective(policy: Policy, objective: GameObjective) -> None:
    """`UserError` where a policy cannot work under an objective."""
    for problem in objective_problems(policy, objective.name):
        raise UserError(problem.message)


@dataclass
class DiscriminatorTurn:
    """What one discriminator has shown in a turn, and what was done to it."""

    player: Player
    # What is done to D's inputs in its first part of the turn and in G's; and in the part under
    # way, whose batch may be a further one.
    change: InputChange
    change_now: InputChange
    # Steps of D that the action of the turn before asked for.
    d_steps_before: int
    parts: int = 0
    action: Action | None = None
    # D's outputs on the latest batch, graph attached, and its logits on the first, detached.
    outputs: tuple[Tensor, Tensor] | None = None
    judged: tuple[Tensor, Tensor] | None = None
    # Real images (N, ...) of the latest batch, and how D is asked about them.
    real: Tensor | None = None
    ask: Ask | None = ask_alone
    # Once its numbers are known.
    signals: Signals | None = None
    saturation: Readings = NO_READINGS
    updated: bool = False
    # Whether the loop trains D on `Turn.d_loss`, so that the action's terms are in it.
    has_d_loss: bool = False

    def forget(self) -> None:
        """It has judged nothing."""
        self.action = self.outputs = self.judged = self.signals = None

    @property
    def asked(self) -> Action:
        """The action, nothing where none was asked for yet."""
        return NO_ACTION if self.action is None else self.action


def step_scaled(optimizer: torch.optim.Optimizer, scale: float, run: Callable[[], Any]) -> Any:
    """Carry out an optimizer's step with its learning rates times `scale`; what `run` returns.

    Its own rates are, to the bit, what they were afterwards.
    """
    if scale == 1:
        return run()
    own = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] = group["lr"] * scale
    try:
        return run()
    finally:
        for group, learning_rate in zip(optimizer.param_groups, own, strict=True):
            group["lr"] = learning_rate


def step_parted(
    optimizer: torch.optim.Optimizer,
    scales: Mapping[nn.Module, float | None],
    run: Callable[[], Any],
) -> Any:
    """`step_scaled` of an optimizer of several networks, each with a factor of its own; None leaves
    a network as it is."""
    scale_of = {id(p): scale for network, scale in scales.items() for p in network.parameters()}
    own: list[dict[str, Any]] = optimizer.param_groups
    parted: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for group in own:
        by_scale: dict[float | None, list[Tensor]] = {}
        for weight in group["params"]:
            by_scale.setdefault(scale_of.get(id(weight), 1.0), []).append(weight)
        parted += [
            (group, {**group, "params": weights, "lr": group["lr"] * scale})
            for scale, weights in by_scale.items()
            if scale is not None
        ]
    optimizer.param_groups = [group for _, group in parted]
    try:
        return run()
    finally:
        for group, part in parted:  # what an optimizer keeps in its groups, such as a count
            group.update({k: value for k, value in part.items() if k not in ("params", "lr")})
        optimizer.param_groups = own
