"""The state of a training between two steps, and what a checkpoint holds of it."""

import dataclasses
import math
from typing import Any

import torch
from torch import Tensor

from counterpoise.balance.policies import load_policy_state
from counterpoise.balance.saved import check_fields, is_count
from counterpoise.errors import UserError
from counterpoise.game.game import Tell
from counterpoise.records import Action, Readings, without_gone_fields
from counterpoise.seeding import global_rng_state, restore_global_rng_state
from counterpoise.training import checkpoint
from counterpoise.training.batches import Batches
from counterpoise.training.checkpoint import Checkpoint
from counterpoise.training.plan import Stage, plan_stages, stage_at
from counterpoise.training.setup import Parts
from counterpoise.training.stage import StageTraining

# The part that holds the state to come back to, where one is kept.
KEPT = "kept"
# What the state of something else makes of the objects that are to load it.
UNFIT = (UserError, LookupError, TypeError, ValueError, AttributeError, RuntimeError)


class TrainingState:
    """Where a training is: its step, the stage that it is in, and the batches that it drew."""

    def __init__(self, parts: Parts, tell: Tell) -> None:
        self.parts, self._tell = parts, tell
        self.stages = plan_stages(parts.config)
        self.step = 0
        self.batches = Batches(parts)
        # Whether the samples and metrics of this step are still to come.
        self.show_is_due = False
        self.playing = StageTraining(parts, self.stages[0], self.batches, tell)

    @property
    def stage(self) -> Stage:
        return self.playing.stage

    def enter(self, stage: Stage) -> None:
        """Begin a stage: its losses, and a fresh Adam for G."""
        kept = self.playing.game.sensors.tensors()
        self.playing = StageTraining(self.parts, stage, self.batches, self._tell)
        self.playing.game.steps_done = self.step
        self.playing.game.sensors.load(kept, self.parts.fabric.device)

    def collect(self) -> Checkpoint:
        """All that `restore` needs; `TrainingDivergedError` where a weight is not finite."""
        parts, player = self.parts, self.playing.player
        kept = self.playing.game.snapshot
        modules = {name: module.state_dict() for name, module in parts.networks.modules().items()}
        optimizers = {name: o.state_dict() for name, o in self.playing.optimizers().items()}
        return checkpoint.collect(
            modules | {f"{KEPT}/{name}": own for name, own in kept.modules.items()},
            optimizers | {f"{KEPT}/{name}": own for name, own in kept.optimizers.items()},
            {"rng": global_rng_state(), "sensors": self.playing.game.sensors.tensors()},
            {
                "step": self.step,
                "config": parts.config.model_dump(mode="json"),
                "licence": parts.licence,
                **parts.fingerprints,
                "show_is_due": self.show_is_due,
                "batches_drawn": self.batches.drawn,
                "policy": parts.policy.state_dict(),
                "last_action": dataclasses.asdict(player.last_action if player else Action()),
                "readings": (player.readings if player else Readings()).read(),
                "kept_step": kept.taken_step,
            },
        )

    def restore(self, saved: Checkpoint) -> None:
        """Load a checkpoint, in a training that was just built.

        Raises `UserError` for one that does not fit; nothing of the run's folder is changed.
        """
        try:
            self._restore(saved)
        except UNFIT as error:
            detail = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"does not fit this training: {detail}") from error

    def _restore(self, saved: Checkpoint) -> None:
        parts, values = self.parts, saved.values
        _check_values(values)
        self.step, self.batches.drawn = values["step"], values["batches_drawn"]
        parts.licence = str(values.get("licence", ""))
        self.enter(stage_at(self.stages, self.step))
        for name, module in parts.networks.modules().items():
            _check_finite(name, saved.part(name))
            module.load_state_dict(saved.part(name))
        optimizers = self.playing.optimizers()
        for name, optimizer in optimizers.items():
            optimizer.load_state_dict(_optimizer_state(saved, name, optimizer))
        load_policy_state(parts.policy, parts.config.balance.policy, values["policy"])
        if self.playing.player is not None:
            self.playing.player.last_action = Action(**values["last_action"])
            self.playing.player.readings = Readings(**values["readings"])
        self.playing.game.sensors.load(saved.part("sensors"), parts.fabric.device)
        if values["kept_step"] is not None:
            kept = self.playing.game.snapshot
            kept.modules = {n: saved.part(f"{KEPT}/{n}") for n in parts.networks.modules()}
            kept.optimizers = {
                name: _optimizer_state(saved, f"{KEPT}/{name}", optimizer)
                for name, optimizer in optimizers.items()
            }
            kept.taken_step = values["kept_step"]
        self._check_nothing_is_left(saved)
        restore_global_rng_state(saved.part("rng"))
        self.show_is_due = bool(values.get("show_is_due", False))

    def _check_nothing_is_left(self, saved: Checkpoint) -> None:
        """Raise `ValueError` for tensors that have no place: they are of another training."""
        own = [*self.parts.networks.modules(), *self.playing.optimizers()]
        known = {"rng", "sensors", KEPT, *own}
        for name in saved.tensors:
            if name.partition("/")[0] not in known:
                raise ValueError(f"{name} has no place in it")


def _optimizer_state(
    saved: Checkpoint, name: str, optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """The `state_dict` of an Adam in a checkpoint, with the settings that it has now: a person may
    have changed them. Raises `ValueError` where its next step would stumble over it."""
    own = saved.optimizer_state(name)
    (group,) = optimizer.param_groups
    weights = group["params"]
    if len(own["param_groups"]) != 1 or len(own["param_groups"][0]["params"]) != len(weights):
        raise ValueError(f"{name} is not of {len(weights)} weights")
    if own["state"] and set(own["state"]) != set(range(len(weights))):
        raise ValueError(f"{name} has no state of some weights")
    for index, of_weight in own["state"].items():
        _check_finite(name, of_weight)
        for moment in ("exp_avg", "exp_avg_sq"):
            if of_weight[moment].shape != weights[index].shape:
                raise ValueError(f"{name}/{index}/{moment} has another shape than its weight")
        if not 0 <= float(of_weight["step"]) < math.inf:
            raise ValueError(f"{name}/{index}/step cannot be {float(of_weight['step']):g}")
    own["param_groups"] = [{**group, "params": list(range(len(weights)))}]
    return own


def _check_values(values: dict[str, Any]) -> None:
    for name in ("step", "batches_drawn"):
        if not is_count(values[name]):
            raise ValueError(f"'{name}' cannot be {values[name]!r:.40}")
    if values["kept_step"] is not None and not is_count(values["kept_step"]):
        raise ValueError(f"'kept_step' cannot be {values['kept_step']!r:.40}")
    for kind, name in ((Action, "last_action"), (Readings, "readings")):
        values[name] = without_gone_fields(values[name])
        check_fields(kind, values[name], name)


def _check_finite(part: str, tensors: dict[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ValueError(f"{part}/{name} is not finite")
