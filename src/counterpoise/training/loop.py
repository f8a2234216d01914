"""The training loop: E alone where it is configured, then G and D, kept in balance by a policy."""

import time
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor

from counterpoise.balance.signals import discriminator_statistics, signals_from_statistics
from counterpoise.config import RunConfig
from counterpoise.data.sampler import batches
from counterpoise.errors import TrainingDivergedError, UserError
from counterpoise.evaluate import score_bicubic, score_generator
from counterpoise.models.weights import save_generator
from counterpoise.records import NO_ACTION, StepRecord
from counterpoise.run_folder import RunFolder
from counterpoise.seeding import generator_for_step, global_rng_state, restore_global_rng_state
from counterpoise.training import checkpoint
from counterpoise.training.interruption import StopRequest
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
from counterpoise.training.setup import Parts, adam, build_parts
from counterpoise.training.steps import DiscriminatorStep, update_average

BICUBIC = "bicubic"


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
        self.batches_drawn = 0
        self.enter(self.stages[0])

    def enter(self, stage: Stage) -> None:
        """Begin a stage: its losses, and a fresh Adam for G."""
        self.stage = stage
        self.g_optimizer = adam(self.parts.g, stage.g_adam)
        self.g_step = self.parts.generator_step(stage, self.g_optimizer)
        self.d_step = self.parts.discriminator_step(stage)

    def go_on(self, stop: StopRequest) -> Outcome:
        """Train from the step after `self.step` to the end, or until asked to stop."""
        train = self.config.train
        first_step = self.step
        self.open_batches()
        log = LogLines(train.epoch_steps)
        for step in range(self.step + 1, self.total_steps + 1):
            stage = stage_at(self.stages, step)
            if stage is not self.stage:
                self.enter(stage)
                log.restart()

            # Train.
            record, stop_wanted = self.iterate(step, stop)
            update_average(self.parts.g_average, self.parts.g, train.ema_decay, step)
            self.step = step

            # Record; a broken training ends here, its evidence on disk.
            self.recorder.step(record)
            log.count()
            if broken := record.non_finite():
                message = (
                    f"step {step}: {', '.join(broken)} not finite; the last checkpoint in "
                    f"{self.run.checkpoints} is from before"
                )
                self.recorder.event(step, "diverged", message)
                raise TrainingDivergedError(message)
            self.reporter.progress(step, self.total_steps, stage.name)

            # Show and save what is due.
            stage_ends = step == stage.last_step
            if step % train.log_every == 0 or stage_ends:
                stage_step = step - stage.first_step + 1
                self.recorder.log(record, log.lines(record, stage_step, stage.steps))
            if step % train.sample_every == 0 or stage_ends:
                self.show()
            if step % train.checkpoint_every == 0 or stage_ends or stop_wanted:
                self.save()
            if stop_wanted:
                return Outcome(first_step, step, interrupted=True)
        return Outcome(first_step, self.step, interrupted=False)

    def iterate(self, step: int, stop: StopRequest) -> tuple[StepRecord, bool]:
        """One step: D judges, the policy decides, D learns, G learns. Fakes are made once."""
        started = time.perf_counter()
        parts, fabric, d_step, g_step = self.parts, self.fabric, self.d_step, self.g_step
        lr, hr = self.next_batch()
        fake = g_step.generate(lr)
        signals, action, penalty = None, NO_ACTION, torch.zeros((), device=fabric.device)
        d_learning_rate = None

        # Discriminator.
        if d_step is not None:
            judgement = d_step.judge(hr, fake)
            statistics = discriminator_statistics(
                judgement.loss_real,
                judgement.loss_fake,
                judgement.real_logits,
                judgement.fake_logits,
                parts.form.probability,
                parts.form.decision_threshold(judgement.real_logits, judgement.fake_logits),
            )
            signals = signals_from_statistics(step, self.mean_over_processes(statistics))
            action = parts.policy.observe(signals)
            d_learning_rate = self.config.optimizer.d.learning_rate * action.d_learning_rate_scale
            set_learning_rate(d_step.optimizer, d_learning_rate)
            noise = generator_for_step(
                self.config.train.seed, step, fabric.global_rank, fabric.device
            )
            if action.d_steps:
                penalty = d_step.update(
                    judgement,
                    hr,
                    fake,
                    on_real=action.d_trains_on_real,
                    on_fake=action.d_trains_on_fake,
                    step=step,
                    noise=noise,
                )
            for _ in range(action.d_steps - 1):
                self.further_d_step(d_step, step, noise)

        # Generator.
        g_learning_rate = self.stage.g_adam.learning_rate * action.g_learning_rate_scale
        set_learning_rate(g_step.optimizer, g_learning_rate)
        weight_scale = action.adversarial_weight_scale
        terms, fake_logits = g_step.update(fake, hr, weight_scale, train=action.g_steps > 0)
        for _ in range(action.g_steps - 1):
            lr, hr = self.next_batch()
            g_step.update(g_step.generate(lr), hr, weight_scale, train=True)

        # Fetch the numbers: D(G(z)) after D's update comes from G's pass through the new D.
        zero = torch.zeros((), device=fabric.device)
        after = zero if fake_logits is None else parts.form.probability(fake_logits).mean()
        wish = torch.tensor(float(stop.requested), device=fabric.device)
        values = self.mean_over_processes(torch.stack([*terms.values(), after, penalty, wish]))
        *term_values, d_fake_after, d_penalty, stop_share = values
        record = StepRecord(
            step=step,
            stage=self.stage.name,
            g_loss=sum(term_values),
            g_terms=dict(zip(terms, term_values, strict=True)),
            g_updated=action.g_steps > 0,
            g_learning_rate=g_learning_rate,
            seconds=time.perf_counter() - started,
            signals=signals,
            d_fake_after=None if signals is None else d_fake_after,
            d_penalty=None if signals is None else d_penalty,
            d_updated=signals is not None and action.d_steps > 0,
            d_learning_rate=d_learning_rate,
            action=action,
        )
        # Every process learns of a stop that any of them was asked for, in the same step.
        return record, stop_share > 0

    def further_d_step(self, d_step: DiscriminatorStep, step: int, noise: torch.Generator) -> None:
        """One more update of D, on a fresh batch."""
        lr, hr = self.next_batch()
        with torch.no_grad():
            fake = self.g_step.generate(lr)
        judgement = d_step.judge(hr, fake)
        d_step.update(judgement, hr, fake, on_real=True, on_fake=True, step=step, noise=noise)

    def mean_over_processes(self, values: Tensor) -> list[float]:
        """The mean of a vector over all processes, on the host: the step's only waits."""
        reduced = self.fabric.all_reduce(values, reduce_op="mean")
        assert isinstance(reduced, Tensor)
        return [float(value) for value in reduced.tolist()]

    def open_batches(self) -> None:
        """Begin to load batches, after those that have been drawn."""
        self._batches = batches(
            self.parts.dataset,
            self.config.train.batch_size,
            self.fabric.global_rank,
            self.fabric.world_size,
            self.batches_drawn,
            self.config.data.worker_processes,
            pin_memory=self.fabric.device.type == "cuda",
        )

    def next_batch(self) -> tuple[Tensor, Tensor]:
        """The next LR and HR crops of this process, float32 in [0, 1], on its device."""
        self.batches_drawn += 1
        lr, hr = next(self._batches)
        device = self.fabric.device
        lr, hr = (x.to(device, non_blocking=True).float().div_(255) for x in (lr, hr))
        return lr, hr

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
        if self.fabric.is_global_zero:
            snapshot = checkpoint.collect(
                self.modules(),
                self.optimizers(),
                {"rng": global_rng_state()},
                {
                    "step": self.step,
                    "batches_drawn": self.batches_drawn,
                    "policy": self.parts.policy.state_dict(),
                    "data": self.parts.data_fingerprint(),
                },
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
        self.step = int(snapshot.values["step"])
        self.batches_drawn = int(snapshot.values["batches_drawn"])
        self.enter(stage_at(self.stages, self.step))
        checkpoint.restore(snapshot, self.modules(), self.optimizers())
        self.parts.policy.load_state_dict(snapshot.values["policy"])
        restore_global_rng_state(snapshot.part("rng"))

    def modules(self) -> dict[str, torch.nn.Module]:
        parts = self.parts
        modules = {"g": parts.g, "g_average": parts.g_average}
        return modules if parts.d is None else modules | {"d": parts.d}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        optimizers: dict[str, torch.optim.Optimizer] = {"g_optimizer": self.g_optimizer}
        if self.parts.d_optimizer is not None:
            optimizers["d_optimizer"] = self.parts.d_optimizer
        return optimizers


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Give all of an optimizer's parameters one learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
