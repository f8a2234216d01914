"""The training loop: E alone where it is configured, then G and D, kept in balance by a policy."""

import time
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric

from counterpoise.config import RunConfig
from counterpoise.errors import TrainingDivergedError, UserError
from counterpoise.evaluate import score_bicubic, score_generator
from counterpoise.models.weights import save_generator
from counterpoise.records import StepRecord
from counterpoise.run_folder import RunFolder, read_json_lines
from counterpoise.seeding import global_rng_state, restore_global_rng_state
from counterpoise.training import checkpoint
from counterpoise.training.game import Game
from counterpoise.training.interruption import StopRequest
from counterpoise.training.live_diagnosis import LiveDiagnosis
from counterpoise.training.plan import PRETRAIN, Stage, plan_stages, stage_at
from counterpoise.training.recorder import (
    FileRecorder,
    LogLines,
    NullRecorder,
    Recorder,
    Reporter,
    SilentReporter,
)
from counterpoise.training.samples import sample_grid, save_grid
from counterpoise.training.setup import Parts, build_parts

BICUBIC = "bicubic"
# The part of a checkpoint that holds the state to come back to, where one is kept.
KEPT = "kept"


@dataclass(frozen=True)
class Outcome:
    """How a training ended: from and at which step, and whether it was asked to stop early."""

    first_step: int
    step: int
    interrupted: bool


def train(
    config: RunConfig, run: RunFolder, fabric: Fabric, reporter: Reporter, *, resume: bool
) -> Outcome:
    """Train from the start, or go on from the newest checkpoint of `run`.

    On a CPU, a training that was interrupted and resumed continues bitwise as if it had not been.
    Raises `TrainingDivergedError` at the first non-finite loss, after recording the step.
    """
    with StopRequest() as stop:
        parts = build_parts(config, fabric)
        snapshot, notes = checkpoint.load_newest(run) if resume else (None, [])
        if snapshot is not None:
            check_resumable(snapshot, parts, run)
        first = fabric.is_global_zero
        resumed_step = None if snapshot is None else int(snapshot.values["step"])
        recorder: Recorder = NullRecorder()
        if first:
            if resume:
                run.remove_leftovers()
                run.save_config(config.to_yaml())
            else:
                run.create(config.to_yaml())
            recorder = FileRecorder(run, reporter, resumed_step)
        try:
            for note in [*notes, *parts.notes]:
                recorder.event(resumed_step or 0, "note", note)
            training = Training(parts, run, recorder, reporter if first else SilentReporter())
            if snapshot is None:
                training.score_baseline()
            else:
                training.restore(snapshot)
            return training.go_on(stop)
        finally:
            recorder.close()


def check_resumable(snapshot: checkpoint.Snapshot, parts: Parts, run: RunFolder) -> None:
    """Raise `UserError` where a checkpoint cannot be gone on from, before anything is changed."""
    if "readings" not in snapshot.values:
        raise UserError(
            f"{run.path}: its checkpoints are of an older version of counterpoise; start a new run"
        )
    if snapshot.values["data"] != parts.data_fingerprint():
        raise UserError(
            f"{run.path}: the training images are not those that this run began with; "
            "put them back as they were, or start a new run"
        )
    step, last_step = int(snapshot.values["step"]), plan_stages(parts.config)[-1].last_step
    if step > last_step:
        raise UserError(
            f"{run.path}: has {step} steps already (pretraining included), more than the "
            f"{last_step} asked for; give a larger --steps"
        )


class Training:
    """A training under way: the state between steps, and the loop."""

    def __init__(
        self, parts: Parts, run: RunFolder, recorder: Recorder, reporter: Reporter
    ) -> None:
        self.parts, self.run, self.recorder, self.reporter = parts, run, recorder, reporter
        self.config, self.fabric = parts.config, parts.fabric
        self.stages = plan_stages(self.config)
        self.total_steps = self.stages[-1].last_step
        self.step = 0
        self.game = Game(parts, self.stages[0])
        self.diagnosis = LiveDiagnosis(
            self.config.loss.adversarial.form, self.config.balance.policy
        )
        # Whether the last step had a non-finite number, which the policy may still mend.
        self.broken = False

    @property
    def stage(self) -> Stage:
        return self.game.stage

    def go_on(self, stop: StopRequest) -> Outcome:
        """Train from the step after `self.step` to the end, or until asked to stop."""
        train = self.config.train
        first_step = self.step
        log = LogLines(train.epoch_steps)
        for step in range(self.step + 1, self.total_steps + 1):
            stage = stage_at(self.stages, step)
            if stage is not self.stage:
                self.game.enter(stage)
                log.restart()

            # Train.
            record, stop_wanted = self.iterate(step, stop)
            self.step = step

            # Record; a broken training ends here, its evidence on disk.
            self.recorder.step(record)
            if self.fabric.is_global_zero:
                self.diagnosis.add(record.to_json())
            log.count()
            self.check_finite(record)
            self.reporter.progress(step, self.total_steps, stage.name)

            # Show and save what is due.
            stage_ends = step == stage.last_step
            if step % train.log_every == 0 or stage_ends:
                stage_step = step - stage.first_step + 1
                self.recorder.log(record, log.lines(record, stage_step, stage.steps))
                self.diagnose()
            if (step % train.sample_every == 0 or stage_ends) and not self.broken:
                self.show()
            if step % train.checkpoint_every == 0 or stage_ends or stop_wanted:
                self.save()
            if stop_wanted:
                return Outcome(first_step, step, interrupted=True)
        return Outcome(first_step, self.step, interrupted=False)

    def iterate(self, step: int, stop: StopRequest) -> tuple[StepRecord, bool]:
        """Play one step and fetch its numbers; also whether any process was asked to stop."""
        started = time.perf_counter()
        played = self.game.play(step)
        zero = torch.zeros((), device=self.fabric.device)
        after = zero if played.d_fake_after is None else played.d_fake_after
        penalty = zero if played.d_penalty is None else played.d_penalty
        wish = torch.tensor(float(stop.requested), device=self.fabric.device)
        numbers = torch.stack([*played.terms.values(), after, penalty, wish])
        *term_values, d_fake_after, d_penalty, stop_share = self.game.mean_over_processes(numbers)
        record = StepRecord(
            step=step,
            stage=self.stage.name,
            g_loss=sum(term_values),
            g_terms=dict(zip(played.terms, term_values, strict=True)),
            g_updated=played.g_updated,
            g_learning_rate=played.g_learning_rate,
            seconds=time.perf_counter() - started,
            signals=played.signals,
            d_fake_after=None if played.signals is None else d_fake_after,
            d_penalty=None if played.signals is None else d_penalty,
            d_updated=played.d_updated,
            d_learning_rate=played.d_learning_rate,
            action=played.action,
            readings=played.readings,
        )
        for kind, message in played.events:
            self.recorder.event(step, kind, message)
        # Every process learns of a stop that any of them was asked for, in the same step.
        return record, stop_share > 0

    def check_finite(self, record: StepRecord) -> None:
        """End a training whose numbers are not finite, unless the policy goes back to a kept state.

        The policy sees the broken numbers in the step after, and must go back then.
        """
        broken = record.non_finite()
        was_broken, self.broken = self.broken, bool(broken) and not record.action.roll_back
        if not self.broken:
            return
        what = f"step {record.step}: {', '.join(broken)} not finite"
        may_go_back = self.game.snapshot.taken_step is not None and record.step < self.total_steps
        if may_go_back and not was_broken:
            message = f"{what}; the policy may go back to the kept state in the next step"
            self.recorder.event(record.step, "non-finite", message)
            return
        message = f"{what}; the last checkpoint in {self.run.checkpoints} is from before"
        self.recorder.event(record.step, "diverged", message)
        raise TrainingDivergedError(message)

    def diagnose(self) -> None:
        """Tell what the signals show that they did not show before."""
        for line in self.diagnosis.news():
            self.recorder.event(self.step, "finding", line)

    def score_baseline(self) -> None:
        """Record bicubic's metrics on the held-out images."""
        if self.fabric.is_global_zero:
            scores = score_bicubic(self.parts.held_out, self.config.generator.scale)
            self.recorder.metrics(0, BICUBIC, scores.means())

    def show(self) -> None:
        """Write samples and held-out metrics of the averaged generator."""
        if self.fabric.is_global_zero:
            parts, scale = self.parts, self.config.generator.scale
            grid = sample_grid(parts.g_average, parts.sample_lr, parts.sample_hr, scale)
            save_grid(grid, self.run.sample(self.step))
            self.recorder.samples(self.step, grid)
            scores = score_generator(
                parts.g_average, parts.held_out, scale, self.fabric.device, self.stage.name
            )
            self.recorder.metrics(self.step, self.stage.name, scores.means())
        self.fabric.barrier()

    def save(self) -> None:
        """Write a checkpoint, and the averaged generator's weights for use."""
        if self.broken:
            message = f"step {self.step}: no checkpoint, since its numbers are not finite"
            self.recorder.event(self.step, "non-finite", message)
            return
        if self.fabric.is_global_zero:
            game = self.game
            modules = {name: module.state_dict() for name, module in game.modules().items()}
            optimizers = {name: o.state_dict() for name, o in game.optimizers().items()}
            kept = game.snapshot
            snapshot = checkpoint.collect_states(
                modules | {f"{KEPT}/{name}": state for name, state in kept.modules.items()},
                optimizers | {f"{KEPT}/{name}": state for name, state in kept.optimizers.items()},
                {"rng": global_rng_state(), "sensors": game.sensors.tensors()},
                {"step": self.step, "data": self.parts.data_fingerprint(), **game.values()},
            )
            checkpoint.save(self.run.checkpoint(self.step), snapshot)
            checkpoint.prune(self.run.checkpoint_files(), self.config.train.keep_checkpoints)
            trained = {"trained": f"stage {self.stage.name}, step {self.step}"}
            save_generator(self.run.generator, self.parts.g_average, trained)
            if self.stage.name == PRETRAIN and self.step == self.stage.last_step:
                save_generator(self.run.pretrained_generator, self.parts.g_average, trained)
        self.fabric.barrier()

    def restore(self, snapshot: checkpoint.Snapshot) -> None:
        """Take up the state of a checkpoint."""
        game = self.game
        self.step = int(snapshot.values["step"])
        game.enter(stage_at(self.stages, self.step))
        checkpoint.restore(snapshot, game.modules(), game.optimizers())
        game.load_values(snapshot.values)
        game.sensors.load(snapshot.part("sensors"))
        if game.snapshot.taken_step is not None:
            game.snapshot.modules = {n: snapshot.part(f"{KEPT}/{n}") for n in game.modules()}
            game.snapshot.optimizers = {
                name: checkpoint.optimizer_state(snapshot, f"{KEPT}/{name}")
                for name in game.optimizers()
            }
        restore_global_rng_state(snapshot.part("rng"))
        if self.fabric.is_global_zero:
            self.diagnosis.take_up(read_json_lines(self.run.signals)[0])
