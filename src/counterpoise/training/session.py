"""From a configuration to a run's end: begins or resumes a training and keeps its folder."""

import contextlib

from lightning_fabric import Fabric

from counterpoise.config import RunConfig
from counterpoise.config_file import leaves
from counterpoise.errors import TrainingDivergedError, UserError, refusing
from counterpoise.json_lines import read_json_lines
from counterpoise.run_folder import (
    BEGAN,
    DIVERGED,
    ENDED,
    FAILED,
    INTERRUPTED,
    RESUMED,
    UNSAVED,
    RunFolder,
    software,
)
from counterpoise.run_writer import RunWriter
from counterpoise.training import checkpoint
from counterpoise.training.checkpoint import Checkpoint
from counterpoise.training.interruption import StopRequest
from counterpoise.training.loop import Outcome, Training
from counterpoise.training.reporting import Reporter
from counterpoise.training.setup import build_parts, take_initial_weights

# What a training cannot be resumed with others of.
FIXED_SECTIONS = ("generator", "discriminator")
FIXED = ("train.pretrain_steps", "train.seed", "train.initial_weights")
# By the name of a fingerprint, what has another one now: the numbers before and after would not
# compare.
OTHER = {
    "images": (
        "training or held-out images are not those that this run began with (a name or a file's "
        "size differs); put them back as they were, and the settings of data"
    ),
    "features": (
        "the loss network is not the one that this run began with; put its weights where they "
        "were, set features.extractor to what it was"
    ),
}


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
                notes += resume_from(training, saved, run)
            else:
                refuse_lost_checkpoints(training, run)
                take_initial_weights(parts)
        if first:
            if resumes:
                run.remove_leftovers()
            else:
                run.refuse_if_used()
            run.save_config(config.to_yaml())
        # What was recorded before the first checkpoint is recorded anew, from step 0 on.
        resumed_step = (training.step or -1) if resumes else None
        writer = RunWriter(run if first else None, resumed_step=resumed_step, metrics=True)
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
        except TrainingDivergedError as error:
            training.event(DIVERGED, str(error))
            raise
        except BaseException as error:
            words = ": ".join([type(error).__name__, *str(error).splitlines()[:1]])
            kind, message = FAILED, f"broke off: {words}"
            if isinstance(error, KeyboardInterrupt):
                kind = INTERRUPTED
                message = f"stopped at once after step {training.step}, {UNSAVED}"
            with contextlib.suppress(UserError):  # The disk may be what failed.
                training.event(kind, message, quiet=True)
            raise


def resume_from(training: Training, saved: Checkpoint, run: RunFolder) -> list[str]:
    """Let a training that was just built go on from a checkpoint; what was changed since, in words.

    Raises `UserError` where it cannot, before anything of the run is changed.
    """
    values, parts = saved.values, training.parts
    for name, now in parts.fingerprints.items():
        if values.get(name, now) != now:
            raise UserError(f"{run.path}: {OTHER[name]}, or start a new run")
    # Of a checkpoint of before they were kept in it, none; a key that is new in this version has
    # its default, as it had then.
    old, now_set = values.get("config", {}), parts.config.model_dump(mode="json")
    old, new = dict(leaves(old)), dict(leaves(now_set))
    changed = {key: (old[key], new[key]) for key in new if old.get(key, new[key]) != new[key]}
    for key, (then, now) in changed.items():
        if key in FIXED or key.partition(".")[0] in FIXED_SECTIONS:
            was = f"{key} is {now}, and was {then} when this run was begun"
            raise UserError(f"{run.config}: {was}; set it back, or start a new run")
    if "balance.policy" in changed:  # It has nothing of the other's to remember.
        values["policy"] = parts.policy.state_dict()
    step, total = values.get("step"), training.total_steps
    if isinstance(step, int) and step > total:
        count = f"has {step} steps already (pretraining included)"
        raise UserError(f"{run.path}: {count}, more than the {total} asked for")
    todo = f"undo the edit of {run.config.name}, delete it to go on from the one before"
    what = f"{saved.path}: does not fit this training"
    with refusing(what, Exception, instead=f"{todo}, or start anew"):
        training.state.restore(saved)
    return [f"changed from here on: {key}: {then} -> {now}" for key, (then, now) in changed.items()]


def refuse_lost_checkpoints(training: Training, run: RunFolder) -> None:
    """Raise `UserError` where a run without a checkpoint has had one, by its steps: to begin anew
    would be to throw away what it has come to."""
    first = min(training.config.train.checkpoint_every, training.state.stages[0].last_step)
    rows, _ = read_json_lines(run.signals)
    last_step = max((row["step"] for row in rows if isinstance(row.get("step"), int)), default=0)
    if last_step > first:
        what = f"{run.path}: has {last_step:,} steps on record, and no checkpoint to go on from"
        anew = f"begin anew elsewhere, from its weights: --set train.initial_weights={run.path}"
        raise UserError(f"{what}; put {run.checkpoints.name}/ back, or {anew}")
