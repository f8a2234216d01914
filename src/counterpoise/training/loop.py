"""The training loop: E alone where it is configured, then G and D, kept in balance by a policy."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from counterpoise.errors import TrainingDivergedError
from counterpoise.evaluate.scores import Scores, score_bicubic, score_generator
from counterpoise.json_lines import read_json_lines
from counterpoise.models.weights import save_generator
from counterpoise.outlook import nearest_to_ideal, stop_reason
from counterpoise.records import StepRecord
from counterpoise.run_folder import BICUBIC, DIVERGED, STOPPED_EARLY, RunFolder
from counterpoise.seeding import global_rng_state, restore_global_rng_state
from counterpoise.training import checkpoint
from counterpoise.training.checkpoint import KEPT
from counterpoise.training.game import Game, Played
from counterpoise.training.interruption import StopRequest
from counterpoise.training.live_diagnosis import LiveDiagnosis
from counterpoise.training.plan import PRETRAIN, Stage, plan_stages, stage_at
from counterpoise.training.recorder import (
    LogLines,
    Recorder,
    Reporter,
)
from counterpoise.training.samples import sample_grid, save_grid
from counterpoise.training.setup import Parts


@dataclass(frozen=True)
class Outcome:
    """How a training ended: from and at which step, and whether it was asked to stop early."""

    first_step: int
    step: int
    interrupted: bool
    # The signal that asked this process to stop, where one did.
    signal_number: int | None = None
    # Why `train.stop` ended the training before its time; empty where it did not.
    stopped_early: str = ""
    # Whether its state at the end was saved; not where its numbers were broken.
    saved: bool = True


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
        # The held-out metrics of the last stage, in order; of the first process only.
        self.held_out_rows: list[dict[str, Any]] = []
        # Whether the last step had a non-finite number, which the policy may still mend.
        self.broken = False
        # Whether the samples and metrics of this step are still to come.
        self.show_is_due = False
        # Steps that were played and whose numbers are still to be fetched, and since when.
        self.waiting: list[tuple[int, Played]] = []
        self.waiting_since = 0.0

    @property
    def stage(self) -> Stage:
        return self.game.stage

    def go_on(self, stop: StopRequest) -> Outcome:
        """Train from the step after `self.step` to the end, or until asked to stop."""
        train = self.config.train
        first_step = self.step
        if self.show_is_due:
            shown = self.show(stop)
            self.save()
            if not shown:
                return Outcome(first_step, first_step, True, signal_number=stop.number)
        if early := self.early_stop():
            return Outcome(first_step, first_step, interrupted=False, stopped_early=early)
        log = LogLines(train.epoch_steps)
        for step in range(self.step + 1, self.total_steps + 1):
            stage = stage_at(self.stages, step)
            if stage is not self.stage:
                self.game.enter(stage)
                log.restart()

            # Train.
            records, stop_wanted = self.iterate(step, stop)
            self.step = step

            # Record; a broken training ends here, its evidence on disk.
            for record in records:
                self.recorder.step(record)
                if self.fabric.is_global_zero:
                    self.diagnosis.add(record.to_json())
                self.check_finite(record)
            log.count()
            self.reporter.progress(step, self.total_steps, stage.name)

            # Show and save what is due.
            stage_ends = step == stage.last_step
            if step % train.log_every == 0 or stage_ends:
                stage_step = step - stage.first_step + 1
                self.recorder.log(record, log.lines(record, stage_step, stage.steps))
                self.diagnose()
            early = ""
            self.show_is_due = (step % train.sample_every == 0 or stage_ends) and not self.broken
            # Scoring many images may take longer than whoever stops us waits: saving goes first.
            if self.show_is_due and not stop_wanted:
                stop_wanted = not self.show(stop)
                early = "" if stop_wanted or step == self.total_steps else self.early_stop()
            if step % train.checkpoint_every == 0 or stage_ends or stop_wanted or early:
                self.save()
            if stop_wanted:
                saved, number = not self.broken, stop.number
                return Outcome(first_step, step, True, signal_number=number, saved=saved)
            if early:
                message = f"stopped early at step {step} because {early}"
                self.recorder.event(step, STOPPED_EARLY, message)
                return Outcome(first_step, step, interrupted=False, stopped_early=early)
        return Outcome(first_step, self.step, interrupted=False)

    def iterate(self, step: int, stop: StopRequest) -> tuple[list[StepRecord], bool]:
        """Play one step. The records of the steps whose numbers are known by now, oldest first,
        and whether any process was asked to stop.

        On a GPU, where the policy does not wait for numbers, they are fetched at once for all steps
        up to one that has something to log, to show or to save.
        """
        if not self.waiting:
            self.waiting_since = time.perf_counter()
        self.waiting.append((step, self.game.play(step)))
        alone = self.fabric.world_size == 1
        if self.game.defers and not self.is_due(step) and not (alone and stop.requested):
            return [], False
        return self.fetch(stop)

    def is_due(self, step: int) -> bool:
        """Whether something is logged, shown or saved after this step."""
        train = self.config.train
        cadences = (train.log_every, train.sample_every, train.checkpoint_every)
        return step == self.stage.last_step or any(step % every == 0 for every in cadences)

    def fetch(self, stop: StopRequest) -> tuple[list[StepRecord], bool]:
        """What `iterate` gives, of all steps that wait."""
        zero = torch.zeros((), device=self.fabric.device)
        wish = torch.tensor(float(stop.requested), device=self.fabric.device)
        numbers = [wish]
        for _, played in self.waiting:
            after = zero if played.d_fake_after is None else played.d_fake_after
            penalty = zero if played.d_penalty is None else played.d_penalty
            numbers += [*played.terms.values(), after, penalty]
        values = iter(self.game.mean_over_processes(torch.stack(numbers)))
        stop_share = next(values)
        seconds = (time.perf_counter() - self.waiting_since) / len(self.waiting)
        self.game.settle(self.waiting)
        records = []
        for step, played in self.waiting:
            terms = {name: next(values) for name in played.terms}
            records.append(self.record(step, played, terms, next(values), next(values), seconds))
            for kind, message in played.events:
                self.recorder.event(step, kind, message)
        self.waiting.clear()
        # Every process learns of a stop that any of them was asked for, in the same step.
        return records, stop_share > 0

    def record_waiting(self, stop: StopRequest) -> None:
        """Record the steps whose numbers were not fetched yet, where a training breaks off. Not
        with several processes: the others may not come here."""
        if self.waiting and self.fabric.world_size == 1:
            for record in self.fetch(stop)[0]:
                self.recorder.step(record)

    def record(
        self,
        step: int,
        played: Played,
        terms: dict[str, float],
        d_fake_after: float,
        d_penalty: float,
        seconds: float,
    ) -> StepRecord:
        """The row of a step."""
        return StepRecord(
            step=step,
            stage=self.stage.name,
            g_loss=sum(terms.values()),
            g_terms=terms,
            g_updated=played.g_updated,
            g_learning_rate=played.g_learning_rate,
            seconds=seconds,
            signals=played.signals,
            d_fake_after=None if played.signals is None else d_fake_after,
            d_penalty=None if played.signals is None else d_penalty,
            d_updated=played.d_updated,
            d_learning_rate=played.d_learning_rate,
            action=played.action,
            readings=played.readings,
        )

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
        self.recorder.event(record.step, DIVERGED, message)
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

    def show(self, stop: StopRequest) -> bool:
        """Write samples and held-out metrics of the averaged generator.

        False where the first process was asked to stop before it had them. One answer for all.
        """
        if self.fabric.is_global_zero:
            self._show(stop)
        self.show_is_due = bool(self.fabric.broadcast(self.show_is_due))
        return not self.show_is_due

    def _show(self, stop: StopRequest) -> None:
        parts, scale = self.parts, self.config.generator.scale
        scores = Scores(self.stage.name)
        for pair in parts.held_out:
            if stop.requested:
                return
            scores.rows += score_generator(
                parts.g_average, [pair], scale, self.fabric.device, self.stage.name
            ).rows
        grid = sample_grid(parts.g_average, parts.sample_lr, parts.sample_hr, scale)
        save_grid(grid, self.run.sample(self.step))
        self.recorder.samples(self.step, grid)
        means = scores.means()
        self.recorder.metrics(self.step, self.stage.name, means)
        if self.stage is self.stages[-1]:
            self.held_out_rows.append({"step": self.step, **means})
        self.show_is_due = False

    def early_stop(self) -> str:
        """Why the training ends here, by `train.stop`; empty to go on. One answer for all."""
        if self.config.train.stop == "never":
            return ""
        reason = None
        if self.fabric.is_global_zero:
            reason = stop_reason(self.held_out_rows, self.total_steps)
        return str(self.fabric.broadcast(reason or ""))

    def save(self) -> None:
        """Write a checkpoint, and the averaged generator's weights for use."""
        if self.broken:
            message = f"step {self.step}: no checkpoint, since its numbers are not finite"
            self.recorder.event(self.step, "non-finite", message)
            return
        if self.fabric.is_global_zero:
            try:
                snapshot = self.snapshot()
            except TrainingDivergedError as error:
                self.recorder.event(self.step, DIVERGED, f"step {self.step}: {error}")
                raise
            # The checkpoint goes last: what is killed before it does all of this again.
            trained = {"trained": f"stage {self.stage.name}, step {self.step}"}
            if self.parts.licence:
                trained["licence"] = self.parts.licence
            save_generator(self.run.generator, self.parts.g_average, trained)
            if self.stage.name == PRETRAIN and self.step == self.stage.last_step:
                save_generator(self.run.pretrained_generator, self.parts.g_average, trained)
            self.recorder.sync()
            checkpoint.save(self.run.checkpoint(self.step), snapshot)
            best_step = nearest_to_ideal(self.held_out_rows)
            checkpoint.prune(
                self.run.checkpoint_files(),
                self.config.train.keep_checkpoints,
                None if best_step is None else self.run.checkpoint(best_step),
            )
        self.fabric.barrier()

    def snapshot(self) -> checkpoint.Snapshot:
        """All that `restore` needs; `TrainingDivergedError` where a weight is not finite."""
        game = self.game
        modules = {name: module.state_dict() for name, module in game.modules().items()}
        optimizers = {name: o.state_dict() for name, o in game.optimizers().items()}
        kept = game.snapshot
        return checkpoint.collect_states(
            modules | {f"{KEPT}/{name}": state for name, state in kept.modules.items()},
            optimizers | {f"{KEPT}/{name}": state for name, state in kept.optimizers.items()},
            {"rng": global_rng_state(), "sensors": game.sensors.tensors()},
            {
                "step": self.step,
                "data": self.parts.data_fingerprint(),
                "config": self.config.model_dump(mode="json"),
                "licence": self.parts.licence,
                **self.parts.fingerprints,
                "show_is_due": self.show_is_due,
                **game.values(),
            },
        )

    def restore(self, snapshot: checkpoint.Snapshot) -> None:
        """Take up the state of a checkpoint."""
        game = self.game
        self.step = int(snapshot.values["step"])
        self.parts.licence = str(snapshot.values.get("licence", ""))
        game.enter(stage_at(self.stages, self.step))
        # Settings of the configuration, which a person may have changed, over those of then.
        settings = {
            name: {key: optimizer.param_groups[0][key] for key in ("betas", "eps", "weight_decay")}
            for name, optimizer in game.optimizers().items()
        }
        checkpoint.restore(snapshot, game.modules(), game.optimizers())
        for name, optimizer in game.optimizers().items():
            optimizer.param_groups[0].update(settings[name])
        game.load_values(snapshot.values)
        game.sensors.load(snapshot.part("sensors"))
        if game.snapshot.taken_step is not None:
            game.snapshot.modules = {n: snapshot.part(f"{KEPT}/{n}") for n in game.modules()}
            game.snapshot.optimizers = {
                name: checkpoint.optimizer_state(snapshot, f"{KEPT}/{name}")
                for name in game.optimizers()
            }
            for name, state in game.snapshot.optimizers.items():
                state["param_groups"][0].update(settings[name])
        restore_global_rng_state(snapshot.part("rng"))
        self.show_is_due = bool(snapshot.values.get("show_is_due", False))
        if self.fabric.is_global_zero:
            rows = [row for row in read_json_lines(self.run.metrics)[0] if _is_of_a_stage(row)]
            done = {(row["step"], row["stage"]) for row in rows}
            self.show_is_due = self.show_is_due and (self.step, self.stage.name) not in done
            last_stage = self.stages[-1].name
            self.held_out_rows = [row for row in rows if row["stage"] == last_stage]
            self.diagnosis.take_up(read_json_lines(self.run.signals)[0])
        self.show_is_due = bool(self.fabric.broadcast(self.show_is_due))


def _is_of_a_stage(row: Mapping[str, Any]) -> bool:
    """Whether a row of `metrics.jsonl` says what it is of, as ours do; a person's may not."""
    return isinstance(row.get("stage"), str) and isinstance(row.get("step"), int)
