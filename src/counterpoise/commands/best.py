"""`best`: which checkpoint of a run to take, by the held-out metrics that its training recorded."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from counterpoise.best_step import nearest_to_ideal, stage_rows
from counterpoise.commands.console import print_metrics, say
from counterpoise.config_file import load_config
from counterpoise.errors import UserError
from counterpoise.json_lines import read_json_lines
from counterpoise.models.generator import build_generator
from counterpoise.models.weights import save_generator
from counterpoise.run_folder import BICUBIC, RunFolder
from counterpoise.training import checkpoint
from counterpoise.training.checkpoint import Checkpoint

Row = Mapping[str, Any]


def run(run: Path, as_json: bool) -> None:
    """Recommend a checkpoint of a run's newest stage; write its averaged weights to its folder."""
    folder = RunFolder.open(run)
    metrics, notes = read_json_lines(folder.metrics)
    rows = stage_rows(metrics)
    step, saved, candidates = _nearest_to_ideal(folder, rows, notes)
    config = load_config(folder.config)
    average = saved.part("g_average")
    generator = build_generator(config.generator, average)
    generator.load_state_dict(average)
    stage = str(rows[-1].get("stage"))
    facts = {"trained": f"stage {stage}, step {step}, average"}
    if licence := saved.values.get("licence"):
        facts["licence"] = str(licence)
    save_generator(folder.best_generator, generator, facts)
    why = f"its distortion and perception are nearest to the best of {len(candidates)} checkpoints"
    if as_json:
        place = str(folder.checkpoint(step).relative_to(run))
        best = {"step": step, "weights": "average", "checkpoint": place, "why": why}
        result = {"version": 2, "stage": stage, "recommended": best}
        print(json.dumps(result | {"candidates": candidates, "notes": notes}))  # noqa: T201
        return
    bicubic = [(BICUBIC, row) for row in metrics if row.get("stage") == BICUBIC]
    table = [*bicubic, *((f"step {row['step']}", row) for row in candidates)]
    print_metrics(f"{run}: held-out images", table)
    for note in notes:
        say(f"note: {note}")
    say(f"Recommended: step {step}, since {why}.")
    say(f"weights      {folder.best_generator}")


def _nearest_to_ideal(
    folder: RunFolder, rows: list[Row], notes: list[str]
) -> tuple[int, Checkpoint, list[Row]]:
    """The checkpoint to recommend with its step, and the rows of all that can be read."""
    if not folder.checkpoint_files():
        raise UserError(
            f"{folder.path}: this run has no checkpoint yet; wait for its first. Score what a loop "
            "of your own made with `counterpoise evaluate --outputs FOLDER --data HR`"
        )
    candidates = [row for row in rows if folder.checkpoint(row["step"]).is_file()]
    while (step := nearest_to_ideal(candidates)) is not None:
        try:
            saved = checkpoint.load(folder.checkpoint(step))
        except UserError as error:
            notes.append(f"{error}; left out")
            candidates = [row for row in candidates if row["step"] != step]
            continue
        if (ideal := nearest_to_ideal(rows)) != step:
            notes.append(
                f"the held-out metrics were nearest to the ideal at step {ideal}, of which there "
                "is no checkpoint (train.checkpoint_every, train.sample_every)"
            )
        return step, saved, candidates
    why = "; ".join(notes) or "none has held-out metrics (train.sample_every)"
    raise UserError(f"{folder.path}: no checkpoint that can be read: {why}")
