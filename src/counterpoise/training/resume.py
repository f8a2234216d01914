"""Whether a run can be resumed, and what was changed since its checkpoint was made."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from counterpoise.config import RunConfig
from counterpoise.errors import UserError
from counterpoise.json_lines import iterate_json_lines
from counterpoise.models.weights import trained_words
from counterpoise.run_folder import ENDED, INTERRUPTED, STOPPED_EARLY, UNSAVED, RunFolder
from counterpoise.training.checkpoint import Checkpoint
from counterpoise.training.loop import Training

# Keys, and sections with all of theirs, that a training cannot be resumed with others of.
FIXED = (
    "generator",
    "discriminator",
    "train.pretrain_steps",
    "train.seed",
    "train.initial_weights",
)
# Not worth a word: what the command line asks for, and where the same images and weights lie now.
SILENT = ("train.steps", "train.stop", "data.folders", "data.lr_folders",
          "data.held_out_folders", "features.weights")  # fmt: skip

# What a run says that was stopped and saved.
SAVED = rf"interrupted after(?!.*{UNSAVED})"


def resume_from(training: Training, saved: Checkpoint, run: RunFolder) -> list[str]:
    """Let a training that was just built go on from a checkpoint; what was changed since, in words.

    Raises `UserError` where it cannot, before anything of the run is changed.
    """
    values, parts = saved.values, training.parts
    if "readings" not in values:
        raise UserError(
            f"{run.path}: its checkpoints are of an older version of counterpoise; start a new run"
        )
    changed = changed_settings(values, parts.config)
    _refuse_other_inputs(training, values, run, [key for key in changed if key.startswith("data.")])
    for key, (then, now) in changed.items():
        if any(key == fixed or key.startswith(f"{fixed}.") for fixed in FIXED):
            raise UserError(
                f"{run.config}: {key} is {now}, and was {then} when this run was begun; "
                "set it back, or start a new run"
            )
    if "balance.policy" in changed:  # It has nothing of the other's to remember.
        values["policy"] = parts.policy.state_dict()
    named = [key for key in changed if key not in SILENT]
    step, total = values.get("step"), training.total_steps
    if isinstance(step, int) and step > total:
        raise UserError(
            f"{run.path}: has {step} steps already (pretraining included), more than the "
            f"{total} asked for; give a larger --steps"
        )
    if named and step == total:
        raise UserError(
            f"{run.path}: all its {step} steps are done, so none is left to be trained with "
            f"another {', '.join(named)}; give --steps too"
        )
    try:
        training.state.restore(saved)
    except UserError as error:
        has_earlier = run.checkpoint_files()[:1] != [saved.path]
        other = "delete this checkpoint to go on from the one before"
        todo = f"undo the edit of {run.config.name}, or {other if has_earlier else 'start anew'}"
        raise UserError(f"{saved.path}: {error}; {todo}") from error
    return [f"changed from here on: {k}: {changed[k][0]} -> {changed[k][1]}" for k in named]


def _refuse_other_inputs(
    training: Training, then: Mapping[str, Any], run: RunFolder, changed: list[str]
) -> None:
    """Raise `UserError` where images or the loss network are others than a run began with: its
    numbers before and after would not compare. `changed` are settings of the data."""
    parts = training.parts
    now = parts.fingerprints
    todo = f"set {', '.join(changed)} back" if changed else "put them back as they were"
    # Checkpoints of earlier versions have no `images`, but the names alone.
    if any(then.get(name, now[name]) != now[name] for name in ("data", "images")):
        raise UserError(
            f"{run.path}: training or held-out images are not those that this run began with (a "
            f"name or a file's size differs); {todo}, or start a new run"
        )
    if "features" in now and then.get("features", now["features"]) != now["features"]:
        about = "; ".join(note for note in parts.notes if "features:" in note or "VGG" in note)
        raise UserError(
            f"{run.path}: the loss network is not the one that this run began with ({about}); put "
            "its weights where they were, set features.extractor to what it was, or start a new run"
        )


def refuse_lost_checkpoints(run: RunFolder) -> None:
    """Raise `UserError` where a run without a checkpoint has had one: to begin anew would be to
    throw away what it has come to.

    It has had one where it ended, or saved when it was stopped, or went on after its weights were
    written, which is done just before each checkpoint.
    """
    events, rows = (
        [row for _, row in iterate_json_lines(path) if row is not None]
        for path in (run.events, run.signals)
    )
    saved = any(
        row.get("kind") in (ENDED, STOPPED_EARLY)
        or (row.get("kind") == INTERRUPTED and re.match(SAVED, str(row.get("message"))))
        for row in events
    )
    steps = [step for row in rows if isinstance(step := row.get("step"), int)]
    last_step = max(steps, default=0)
    trained = re.search(r"step (\d+)$", trained_words(run.generator))
    if saved or (trained is not None and last_step > int(trained[1])):
        raise UserError(
            f"{run.path}: has {last_step:,} steps on record, and no checkpoint to go on from; put "
            f"{run.checkpoints.name}/ back, or begin anew in another --run-dir (from its weights: "
            f"--set train.initial_weights={run.path})"
        )


def changed_settings(values: Mapping[str, Any], config: RunConfig) -> dict[str, tuple[Any, Any]]:
    """The settings that differ from those that a checkpoint was made with: then, and now.

    Empty for a checkpoint of before they were kept in it.
    """
    then = values.get("config")
    if not isinstance(then, Mapping):
        return {}
    old, new = (dict(_leaves(tree)) for tree in (then, config.model_dump(mode="json")))
    # A key that is new in this version has its default, as it had then.
    return {key: (old[key], new[key]) for key in new if key in old and old[key] != new[key]}


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        key = f"{prefix}{name}"
        # What may have any keys is one setting: the options of a policy, the layers of a loss.
        if isinstance(value, Mapping) and not key.endswith((".options", ".layers")):
            yield from _leaves(value, f"{key}.")
        else:
            yield key, value
