"""The state of a training between two steps, and what a checkpoint holds of it."""

from collections.abc import Mapping

from torch import Tensor

from counterpoise.errors import TrainingDivergedError
from counterpoise.game.game import Tell
from counterpoise.game.players import Player
from counterpoise.seeding import global_rng_state, restore_global_rng_state
from counterpoise.training.checkpoint import Checkpoint
from counterpoise.training.plan import Stage, plan_stages, stage_at
from counterpoise.training.setup import Batches, Parts
from counterpoise.training.stage import StageTraining

# The part that holds the state to come back to, where one is kept.
KEPT = "kept"


class TrainingState:
    """Where a training is: its step, the stage that it is in, and the batches that it drew."""

    def __init__(self, parts: Parts, tell: Tell) -> None:
        self.parts, self._tell = parts, tell
        self.stages = plan_stages(parts.config)
        self.step = 0
        self.batches = Batches(parts)
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
        """All that `restore` needs.

        Raises `TrainingDivergedError` where a weight is not finite: such a state is not worth
        going on from, and must not push a good checkpoint out.
        """
        parts, player = self.parts, self.playing.player
        kept, sensors = self.playing.game.snapshot, self.playing.game.sensors
        modules = {name: module.state_dict() for name, module in parts.networks.modules().items()}
        modules |= {f"{KEPT}/{name}": own for name, own in kept.modules.items()}
        optimizers = {name: o.state_dict() for name, o in self.playing.optimizers().items()}
        optimizers |= {f"{KEPT}/{name}": own for name, own in kept.optimizers.items()}
        tensors = _by_path(modules)
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                raise TrainingDivergedError(f"step {self.step}: {name} is not finite; not saved")
        for part, own in optimizers.items():
            tensors |= _by_path({f"{part}/{index}": own["state"][index] for index in own["state"]})
        tensors |= _by_path({"rng": global_rng_state(), "sensors": sensors.tensors()})
        values = {
            "step": self.step,
            "config": parts.config.model_dump(mode="json"),
            "licence": parts.licence,
            **parts.fingerprints,
            "batches_drawn": self.batches.drawn,
            "scaler": parts.scaler.state_dict(),
            "policy": parts.policy.state_dict(),
            "player": player and player.memory(),
            "kept_step": kept.taken_step,
            **{part: own["param_groups"] for part, own in optimizers.items()},
        }
        return Checkpoint(tensors, values)

    def restore(self, saved: Checkpoint) -> None:
        """Load a checkpoint into a training just built; one that does not fit raises anything."""
        parts, values = self.parts, saved.values
        self.step, self.batches.drawn = int(values["step"]), int(values["batches_drawn"])
        parts.licence = str(values.get("licence", ""))
        self.enter(stage_at(self.stages, self.step))
        modules, optimizers = parts.networks.modules(), self.playing.optimizers()
        known = {"rng", "sensors", KEPT, *modules, *optimizers}
        if others := {name.partition("/")[0] for name in saved.tensors} - known:
            raise ValueError(f"{min(others)} has no place in it")
        for name, module in modules.items():
            module.load_state_dict(saved.part(name))
        for name, optimizer in optimizers.items():
            optimizer.load_state_dict(saved.optimizer_state(name, optimizer))
        parts.policy.load_state_dict(values["policy"])
        if values.get("scaler"):
            parts.scaler.load_state_dict(values["scaler"])
        if (player := self.playing.player) is not None:
            # Earlier versions had the two apart.
            apart = {"action": values.get("last_action"), "readings": values.get("readings")}
            vars(player).update(Player.recalled(values.get("player") or apart))
        self.playing.game.sensors.load(saved.part("sensors"), parts.fabric.device)
        if values["kept_step"] is not None:
            kept = self.playing.game.snapshot
            kept.modules = {name: saved.part(f"{KEPT}/{name}") for name in modules}
            kept.optimizers = {
                name: saved.optimizer_state(f"{KEPT}/{name}", optimizer)
                for name, optimizer in optimizers.items()
            }
            kept.taken_step = values["kept_step"]
        # The first process' state, for all: they begin with one seed and draw alike.
        restore_global_rng_state(saved.part("rng"))


def _by_path(parts: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Named tensors of parts as `part/name`."""
    return {f"{part}/{name}": own for part, named in parts.items() for name, own in named.items()}
