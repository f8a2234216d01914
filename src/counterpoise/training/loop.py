"""The training loop: E alone where it is configured, then G and D, kept in balance by a policy."""

from dataclasses import dataclass

import torch

from counterpoise.best_step import best_checkpoint
from counterpoise.errors import TrainingDivergedError
from counterpoise.game.live_diagnosis import LiveDiagnosis
from counterpoise.json_lines import read_json_lines
from counterpoise.models.weights import save_generator
from counterpoise.records import StepRecord
from counterpoise.run_folder import RunFolder
from counterpoise.run_writer import RunWriter
from counterpoise.training import checkpoint
from counterpoise.training.held_out import HeldOut
from counterpoise.training.interruption import StopRequest
from counterpoise.training.plan import PRETRAIN, heading, stage_at
from counterpoise.training.reporting import LogLines, Reporter
from counterpoise.training.setup import Parts
from counterpoise.training.state import TrainingState


@dataclass(frozen=True)
class Outcome:
    """How a training ended: from and at which step, and whether it was asked to stop early."""

    first_step: int
    step: int
    interrupted: bool
    # The signal that asked this process to stop, where one did.
    signal_number: int | None = None
    # Whether its state at the end was saved; not where its numbers were broken.
    saved: bool = True


class Training:
    """A training under way: the loop, and what it writes."""

    def __init__(self, parts: Parts, run: RunFolder, reporter: Reporter) -> None:
        self.parts, self.run, self.reporter = parts, run, reporter
        self.config, self.fabric = parts.config, parts.fabric
        # Whether no other process trains with this one.
        self.is_alone = parts.fabric.world_size == 1
        self.writer = RunWriter(None)  # until `record_in` gives it one
        self.state = TrainingState(parts, lambda step, kind, text, _: self.event(kind, text, step))
        self.total_steps = self.state.stages[-1].last_step
        self.diagnosis = LiveDiagnosis(self.config.balance.policy)
        self.diagnosis.objectives[""] = self.config.loss.adversarial.form
        self.held_out = HeldOut(parts, run, self.state)
        # Whether the last step had a non-finite number, which the policy may still mend.
        self.broken = False

    @property
    def step(self) -> int:
        """The last step that was done."""
        return self.state.step

    def event(
        self, kind: str, message: str, step: int | None = None, *, quiet: bool = False
    ) -> None:
        """Record what happened at a step (this one), and tell the person where not `quiet`."""
        self.writer.event(self.step if step is None else step, kind, message)
        if not quiet:
            self.writer.log(message)
            self.reporter.say(message)

    def go_on(self, stop: StopRequest) -> Outcome:
        """Train from the step after `self.step` to the end, or until asked to stop."""
        train, state = self.config.train, self.state
        first_step = state.step
        # What a training that was asked to stop did not show before it saved.
        is_due = first_step > 0 and self.held_out.is_missing
        if is_due and not self.held_out.show(stop, self.writer):
            return Outcome(first_step, first_step, True, stop.number)
        log = LogLines(train.epoch_steps, first_step)
        for step in range(state.step + 1, self.total_steps + 1):
            stage = stage_at(state.stages, step)
            if stage is not state.stage:
                state.enter(stage)
                log.restart(state.step)
            if step in (first_step + 1, stage.first_step):
                self.reporter.say(heading(state.stages, stage))

            # Train.
            self.play(step)
            state.step = step
            stage_ends = step == stage.last_step
            due = stage_ends or any(
                step % every == 0
                for every in (train.log_every, train.sample_every, train.checkpoint_every)
            )

            # Record; a broken training ends here, its evidence on disk. On a GPU, rows come as
            # their numbers do, until something is due.
            waits = due or not state.playing.game.deferred
            stop_wanted = self.is_stop_wanted(stop) if waits or self.is_alone else False
            record = self.record(wait=waits or stop_wanted)
            self.reporter.progress(step, self.total_steps, stage.name)

            # Show and save what is due.
            if record is not None and (step % train.log_every == 0 or stage_ends):
                lines = log.lines(record, stage)
                self.writer.log(lines)
                self.reporter.say(lines)
                for news in self.diagnosis.news():
                    self.event("finding", news.text)
            # Scoring many images may take longer than whoever stops us waits: saving goes first.
            if self.held_out.is_due and not self.broken and not stop_wanted:
                stop_wanted = not self.held_out.show(stop, self.writer)
            if step % train.checkpoint_every == 0 or stage_ends or stop_wanted:
                self.save()
            if stop_wanted:
                return Outcome(first_step, step, True, stop.number, saved=not self.broken)
        return Outcome(first_step, state.step, interrupted=False)

    def play(self, step: int) -> None:
        """Play the turn that is step `step`."""
        self.state.playing.play()

    def is_stop_wanted(self, stop: StopRequest) -> bool:
        """Whether any process was asked to stop: all learn of it in the same step."""
        if self.is_alone:
            return stop.requested
        wish = torch.tensor(float(stop.requested), device=self.fabric.device)
        return float(self.fabric.all_reduce(wish, reduce_op="sum")) > 0  # type: ignore[arg-type]

    def record(self, *, wait: bool) -> StepRecord | None:
        """Write the rows of the turns whose numbers are here, of all with `wait`; the last one."""
        record = None
        if not (wait or self.is_alone):
            return None  # all processes come to a row, and perhaps to its NaN, in the same step
        for record in self.state.playing.game.records(wait=wait):
            row = record.to_json()
            if note := self.writer.step(record, row):
                self.event("note", note, record.step)
            if self.fabric.is_global_zero:
                self.diagnosis.add(row)
            self.check_finite(record)
        return record

    def check_finite(self, record: StepRecord) -> None:
        """End a training whose numbers are not finite, unless the policy goes back to a kept state.

        The policy sees the broken numbers in the step after, and must go back then.
        """
        broken = record.non_finite()
        was_broken, self.broken = self.broken, bool(broken) and not record.rolled_back
        if not self.broken:
            return
        what = f"step {record.step}: {', '.join(broken)} not finite"
        kept_step = self.state.playing.game.snapshot.taken_step
        if kept_step is not None and record.step < self.total_steps and not was_broken:
            message = f"{what}; the policy may go back to the kept state in the next step"
            self.event("non-finite", message, record.step)
            return
        before = f"the last checkpoint in {self.run.checkpoints} is from before"
        raise TrainingDivergedError(f"{what}; {before}")

    def save(self) -> None:
        """Write a checkpoint, and the averaged generator's weights for use."""
        if self.broken:
            message = f"step {self.step}: no checkpoint, since its numbers are not finite"
            self.event("non-finite", message)
            return
        if self.fabric.is_global_zero:
            saved = self.state.collect()
            # The checkpoint goes last: what is killed before it does all of this again.
            stage, g = self.state.stage, self.parts.networks.g_average
            trained = {"trained": f"stage {stage.name}, step {self.step}"}
            if self.parts.licence:
                trained["licence"] = self.parts.licence
            save_generator(self.run.generator, g, trained)
            if stage.name == PRETRAIN and self.step == stage.last_step:
                save_generator(self.run.pretrained_generator, g, trained)
            self.writer.sync()
            checkpoint.save(self.run.checkpoint(self.step), saved)
            best = best_checkpoint(self.run, read_json_lines(self.run.metrics)[0])
            for path in self.run.checkpoint_files()[: -self.config.train.keep_checkpoints]:
                if path != best:
                    path.unlink(missing_ok=True)
        self.fabric.barrier()

    def record_in(self, writer: RunWriter) -> None:
        """Write here; what a resumed training has on record already is taken up."""
        self.writer = writer
        for note in writer.notes:
            self.event("torn-line", note)
        if self.step and self.fabric.is_global_zero:
            self.diagnosis.load_rows(read_json_lines(self.run.signals)[0])
