"""From a configuration to a run's end: begins or resumes a training and keeps its folder."""

import contextlib
import re
from typing import Any

from lightning_fabric import Fabric

from counterpoise.balance.saved import NotThisStateError
from counterpoise.config import RunConfig
from counterpoise.data.sampler import worker_death
from counterpoise.errors import TrainingDivergedError, UserError
from counterpoise.json_lines import iterate_json_lines
from counterpoise.models.weights import trained_words
from counterpoise.run_folder import (
    BEGAN,
    ENDED,
    FAILED,
    INTERRUPTED,
    RESUMED,
    STOPPED_EARLY,
    UNSAVED,
    RunFolder,
    software,
)
from counterpoise.training import checkpoint
from counterpoise.training.changes import UNTOLD, changed_settings, is_fixed
from counterpoise.training.fit import check_state, check_values
from counterpoise.training.game import Game
from counterpoise.training.interruption import StopRequest
from counterpoise.training.loop import Outcome, Training
from counterpoise.training.plan import plan_stages, stage_at
from counterpoise.training.recorder import (
    FileRecorder,
    NullRecorder,
    Recorder,
    Reporter,
    SilentReporter,
)
from counterpoise.training.setup import Parts, build_parts, take_initial_weights

# The step before all rows, `bicubic`'s at step 0 included.
NOTHING = -1


def train(
    config: RunConfig, run: RunFolder, fabric: Fabric, reporter: Reporter, *, resume: bool
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
        notes: list[str] = []
        if first and resume:
            notes += _lock(run, held)
        parts = build_parts(config, fabric)
        snapshot = None
        if resume:
            snapshot, damaged = checkpoint.load_newest(run)
            notes += damaged
        if snapshot is not None:
            notes += check_resumable(snapshot, parts, run)
        else:
            if resume:
                refuse_lost_checkpoints(run)
            take_initial_weights(parts)
        resumed_step = None if snapshot is None else int(snapshot.values["step"])
        recorder: Recorder = NullRecorder()
        if first:
            if resume:
                run.remove_leftovers()
                run.save_config(config.to_yaml())
            else:
                notes += _lock(run, held)
                run.create(config.to_yaml())
            # What was recorded before the first checkpoint is recorded anew, from step 0 on.
            dropped_after = NOTHING if resume and resumed_step is None else resumed_step
            recorder = FileRecorder(run, reporter, dropped_after)
        training: Training | None = None
        try:
            if resume and resumed_step is None:
                message = "begins anew: it broke off before its first checkpoint"
                recorder.event(0, RESUMED, f"{message}, with {software()}")
            elif resumed_step is None:
                recorder.event(0, BEGAN, f"the training begins, with {software()}", tell=False)
            else:
                message = f"goes on after step {resumed_step}, with {software()}"
                recorder.event(resumed_step, RESUMED, message, tell=False)
            for note in [*notes, *parts.notes]:
                recorder.event(resumed_step or 0, "note", note)
            training = Training(parts, run, recorder, reporter if first else SilentReporter())
            if snapshot is None:
                training.score_baseline()
            else:
                training.restore(snapshot)
            stop.saves = True
            outcome = training.go_on(stop)
            kind = INTERRUPTED if outcome.interrupted else ENDED
            message = f"{kind} after step {outcome.step}"
            if not outcome.saved:
                message = f"{message}, {UNSAVED}"
            recorder.event(outcome.step, kind, message, tell=False)
            return outcome
        except TrainingDivergedError:  # It has its own event.
            raise
        except BaseException as error:
            step = training.step if training is not None else resumed_step or 0
            # A dead worker is told of between any two lines of ours.
            death = worker_death(error, config.data.worker_processes)
            kind, message = FAILED, f"broke off: {_in_short(death or error)}"
            if isinstance(error, KeyboardInterrupt):
                kind, message = INTERRUPTED, f"stopped at once after step {step}, {UNSAVED}"
            if training is not None:
                with contextlib.suppress(Exception):  # The device may be what failed,
                    training.record_waiting(stop)
            with contextlib.suppress(UserError):  # or the disk.
                recorder.event(step, kind, message, tell=False)
            if death is not None:
                raise death from error
            raise
        finally:
            recorder.close()


def _lock(run: RunFolder, held: contextlib.ExitStack) -> list[str]:
    """Keep other processes from writing to the run; what to say where that cannot be."""
    lock = held.enter_context(run.lock())
    return [lock.note] if lock.note else []


def _in_short(error: BaseException) -> str:
    """An error's kind and the first line of what it says."""
    return ": ".join([type(error).__name__, *str(error).splitlines()[:1]])


def refuse_lost_checkpoints(run: RunFolder) -> None:
    """Raise `UserError` where a run without a checkpoint has had one: to begin anew would be to
    throw away what it has come to.

    It has had one where it ended, or saved when it was stopped, or went on after its weights were
    written, which is done just before each checkpoint.
    """
    events, rows = (
        (row for _, row in iterate_json_lines(path) if row is not None)
        for path in (run.events, run.signals)
    )
    saved = any(_has_saved(row.get("kind"), str(row.get("message"))) for row in events)
    steps = (row.get("step") for row in rows)
    last_step = max((step for step in steps if isinstance(step, int)), default=0)
    trained = re.search(r"step (\d+)$", trained_words(run.generator))
    if saved or (trained is not None and last_step > int(trained[1])):
        raise UserError(
            f"{run.path}: has {last_step:,} steps on record, and no checkpoint to go on from; put "
            f"{run.checkpoints.name}/ back, or begin anew in another --run-dir (from its weights: "
            f"--set train.initial_weights={run.path})"
        )


def _has_saved(kind: Any, message: str) -> bool:
    """Whether an event says that there was a checkpoint."""
    if kind == INTERRUPTED:
        return message.startswith("interrupted after") and UNSAVED not in message
    return kind in (ENDED, STOPPED_EARLY)


def check_resumable(snapshot: checkpoint.Snapshot, parts: Parts, run: RunFolder) -> list[str]:
    """What was changed since a checkpoint was made, in words.

    Raises `UserError` where it cannot be gone on from, before anything is changed.
    """
    if "readings" not in snapshot.values:
        raise UserError(
            f"{run.path}: its checkpoints are of an older version of counterpoise; start a new run"
        )
    try:
        check_values(snapshot.values)
    except NotThisStateError as error:
        raise _unfit(snapshot, run, f"damaged checkpoint ({error})", "") from error
    changed = changed_settings(snapshot, parts.config)
    _refuse_other_inputs(snapshot, parts, run, [key for key in changed if key.startswith("data.")])
    for key, (then, now) in changed.items():
        if is_fixed(key):
            raise UserError(
                f"{run.config}: {key} is {now}, and was {then} when this run was begun; "
                "set it back, or start a new run"
            )
    if "balance.policy" in changed:  # It has nothing of the other's to remember.
        snapshot.values["policy"] = parts.policy.state_dict()
    stages = plan_stages(parts.config)
    step, last_step = snapshot.values["step"], stages[-1].last_step
    if step > last_step:
        raise UserError(
            f"{run.path}: has {step} steps already (pretraining included), more than the "
            f"{last_step} asked for; give a larger --steps"
        )
    told = [key for key in changed if key not in UNTOLD]
    if told and step == last_step:
        raise UserError(
            f"{run.path}: all its {step} steps are done, so none is left to be trained with "
            f"another {', '.join(told)}; give --steps too"
        )
    try:
        check_state(snapshot, parts, Game(parts, stage_at(stages, step)))
    except NotThisStateError as error:
        todo = f"undo the edit of {run.config.name}, or "
        raise _unfit(snapshot, run, f"does not fit this training: {error}", todo) from error
    return [f"changed from here on: {key}: {changed[key][0]} -> {changed[key][1]}" for key in told]


def _refuse_other_inputs(
    snapshot: checkpoint.Snapshot, parts: Parts, run: RunFolder, changed: list[str]
) -> None:
    """Raise `UserError` where images or the loss network are others than a run began with: its
    numbers before and after would not compare. `changed` are settings of the data."""
    then, now = snapshot.values, parts.fingerprints
    todo = f"set {', '.join(changed)} back" if changed else "put them back as they were"
    if then["data"] != parts.data_fingerprint():
        raise UserError(
            f"{run.path}: the training images are not those that this run began with; "
            f"{todo}, or start a new run"
        )
    # Checkpoints of earlier versions do not have the others.
    if then.get("images", now["images"]) != now["images"]:
        raise UserError(
            f"{run.path}: training or held-out images are not those that this run began with (a "
            f"name or a file's size differs); {todo}, or start a new run"
        )
    if "features" in now and then.get("features", now["features"]) != now["features"]:
        told = "; ".join(note for note in parts.notes if "features:" in note or "VGG" in note)
        raise UserError(
            f"{run.path}: the loss network is not the one that this run began with ({told}); put "
            "its weights where they were, set features.extractor to what it was, or start a new run"
        )


def _unfit(snapshot: checkpoint.Snapshot, run: RunFolder, what: str, todo: str) -> UserError:
    """The one line for a checkpoint that cannot be gone on from."""
    has_earlier = run.checkpoint_files()[:1] != [snapshot.path]
    todo += (
        "delete this checkpoint to go on from the one before" if has_earlier else "start a new run"
    )
    return UserError(f"{snapshot.path}: {what}; {todo}")
