"""Who plays: a discriminator with its policy, and a share of an optimizer."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from counterpoise.balance.policies import objective_problems
from counterpoise.balance.policy import Policy
from counterpoise.errors import UserError
from counterpoise.game.objective import GameObjective
from counterpoise.game.r1 import R1
from counterpoise.records import NO_ACTION, NO_READINGS, Action, Signals

NO_OBJECTIVE = (
    "the objective of D{name} is not known; name it: "
    'objective="bce" (or lsgan, hinge, wgan, relativistic-average, relativistic-paired)'
)


class Player:
    """A discriminator, the policy that balances it against G, and what both know."""

    def __init__(
        self,
        name: str,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        policy: Policy,
        objective: GameObjective | str | None = None,
    ) -> None:
        """`name` is "" for the only one. `objective`: its name where it is not known yet whether D
        ends in a sigmoid."""
        self.name, self.network, self.optimizer, self.policy = name, network, optimizer, policy
        self.objective: GameObjective | None = None
        self.r1 = R1(network, optimizer)
        # What the policy asked for last, the latest readings, and the last known signals.
        self.last_action = NO_ACTION
        self.readings = NO_READINGS
        self.signals: Signals | None = None
        # Whether D is trained to score fake images above real ones: a policy that saw its numbers
        # would do the opposite of what helps, so it is not asked.
        self.is_reversed = False
        self.objective_name = objective if isinstance(objective, str) else None
        if self.objective_name is not None:
            GameObjective.named(self.objective_name, probabilities=False)  # refuses an unknown one
        if isinstance(objective, GameObjective):
            self.set_objective(objective)

    @property
    def needs(self) -> str:
        """The numbers that the policy decides by: of "this turn", "last turn" or "nothing"."""
        return getattr(self.policy, "needs", "this turn")

    def set_objective(self, objective: GameObjective) -> None:
        """D's objective is known; `UserError` where the policy cannot work under it."""
        for problem in objective_problems(
            self.policy,
            objective.name,
            halves_are_independent=objective.form.halves_are_independent,
            has_probability=objective.has_probability,
        ):
            raise UserError(problem.message)
        self.objective = objective

    def name_objective(self, *, probabilities: bool) -> None:
        """Whether D's outputs are probabilities is known, and with it the objective that was
        named; without a name, nothing is."""
        if self.objective is None and self.objective_name is not None:
            name = self.objective_name
            self.set_objective(GameObjective.named(name, probabilities=probabilities))

    def known_objective(self) -> GameObjective:
        """D's objective; `UserError` where it is not known."""
        if self.objective is None:
            raise UserError(NO_OBJECTIVE.format(name=f" '{self.name}'" * bool(self.name)))
        return self.objective

    def decide(self, signals: Signals) -> Action:
        """What the policy asks for."""
        return NO_ACTION if self.is_reversed else self.policy.observe(signals)


@dataclass(frozen=True)
class Share:
    """The part of an optimizer that one player has."""

    # Whose weights it has; None: all of the optimizer's.
    network: nn.Module | None
    # Factor on the learning rates; None leaves the weights as they are.
    learning_rate_scale: float | None


def step_as_asked(
    optimizer: torch.optim.Optimizer, shares: Sequence[Share], run: Callable[[], Any]
) -> Any:
    """Carry out an optimizer's step with its shares' learning rates; what `run` returns.

    The optimizer's own rates and groups are, to the bit, what they were afterwards.
    """
    scales = {share.learning_rate_scale for share in shares}
    if scales == {1.0}:
        return run()
    if len(scales) == 1 and None not in scales:
        (scale,) = scales
        assert scale is not None, "checked above"
        with scaled_learning_rate(optimizer, scale):
            return run()
    own = optimizer.param_groups
    optimizer.param_groups = _groups(own, shares)
    try:
        return run()
    finally:
        optimizer.param_groups = own


def _groups(groups: list[dict[str, Any]], shares: Sequence[Share]) -> list[dict[str, Any]]:
    """The optimizer's groups, each parted among the shares."""
    scale_of = {
        id(weight): share.learning_rate_scale
        for share in shares
        if share.network is not None
        for weight in share.network.parameters()
    }
    parted = []
    for group in groups:
        by_scale: dict[float | None, list[Tensor]] = {}
        for weight in group["params"]:
            by_scale.setdefault(scale_of.get(id(weight), 1.0), []).append(weight)
        parted += [
            {**group, "params": weights, "lr": group["lr"] * scale}
            for scale, weights in by_scale.items()
            if scale is not None
        ]
    return parted


@contextmanager
def scaled_learning_rate(optimizer: torch.optim.Optimizer, scale: float) -> Iterator[None]:
    """The optimizer's learning rates times `scale`; its own, to the bit, afterwards."""
    own = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] = group["lr"] * scale
    try:
        yield
    finally:
        for group, learning_rate in zip(optimizer.param_groups, own, strict=True):
            group["lr"] = learning_rate
