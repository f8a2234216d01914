"""From a configuration to a run's end: begins or resumes a training and keeps its folder."""

import contextlib

from lightning_fabric import Fabric

from counterpoise.config import RunConfig
from counterpoise.data.sampler import worker_death
from counterpoise.errors import TrainingDivergedError, UserError
from counterpoise.run_folder import (
    BEGAN,
    ENDED,
    FAILED,
    INTERRUPTED,
    RESUMED,
    UNSAVED,
    RunFolder,
    software,
)
from counterpoise.run_writer import RunWriter
from counterpoise.training import checkpoint, resume
from counterpoise.training.interruption import StopRequest
from counterpoise.training.loop import Outcome, Training
from counterpoise.training.reporting import Reporter
from counterpoise.training.setup import build_parts, take_initial_weights


def train(
    config: RunConfig, run: RunFolder, fabric: Fabric, reporter: Reporter, *, resumes: bool
) -> Outcome:
    """Train from the start, or go on from the newest checkpoint of `run`.

    On a CPU, a training that was interrupted and resumed continues bitwise as if it had not been;
    one that broke off before its first checkpoint begins anew. Raises `TrainingDivergedError` at
    the first non-finite loss, after recording the step, and `UserError`, having changed nothing,
    where another process writes to the run or its checkpoint does not fit.
    """
    with contextlib.ExitStack() as held:
        stop = held.enter_context(StopRequest())
        first = fabric.is_global_zero
        parts = build_parts(config, fabric)
        training = Training(parts, run, reporter if first else Reporter())
        notes: list[str] = []
        saved = None
        if not resumes:
            take_initial_weights(parts)
        # Keep other processes from writing to the run.
        if first and (note := held.enter_context(run.lock()).note):
            notes.append(note)
        if resumes:
            saved, damaged = checkpoint.load_newest(run)
            notes += damaged
            if saved is not None:
                notes += resume.resume_from(training, saved, run)
            else:
                resume.refuse_lost_checkpoints(training, run)
                take_initial_weights(parts)
        if first:
            if resumes:
                run.remove_leftovers()
            else:
                run.refuse_if_used()
            run.save_config(config.to_yaml())
        # What was recorded before the first checkpoint is recorded anew, from step 0 on.
        resumed_step = (training.step or -1) if resumes else None
        writer = RunWriter(run if first else None, resumed_step=resumed_step, tensorboard=True)
        held.enter_context(contextlib.closing(writer))
        try:
            training.record_in(writer)
            kind, message = RESUMED, "begins anew: it broke off before its first checkpoint"
            if not resumes:
                kind, message = BEGAN, "the training begins"
            elif training.step:
                message = f"goes on after step {training.step}"
            is_expected = not resumes or training.step > 0
            training.event(kind, f"{message}, with {software()}", quiet=is_expected)
            for note in [*notes, *parts.notes]:
                training.event("note", note)
            if saved is None:
                training.held_out.score_baseline(writer)
            stop.saves = True
            outcome = training.go_on(stop)
            kind = INTERRUPTED if outcome.interrupted else ENDED
            message = f"{kind} after step {outcome.step}"
            training.event(kind, message + f", {UNSAVED}" * (not outcome.saved), quiet=True)
            return outcome
        except TrainingDivergedError:  # It has its own event.
            raise
        except BaseException as error:
            # A dead worker is reported between any two lines of ours.
            death = worker_death(error, config.data.worker_processes)
            first_line = str(death or error).splitlines()[:1]
            words = ": ".join([type(death or error).__name__, *first_line])
            kind, message = FAILED, f"broke off: {words}"
            if isinstance(error, KeyboardInterrupt):
                kind = INTERRUPTED
                message = f"stopped at once after step {training.step}, {UNSAVED}"
            with contextlib.suppress(UserError):  # The disk may be what failed.
                training.event(kind, message, quiet=True)
            if death is not None:
                raise death from error
            raise
