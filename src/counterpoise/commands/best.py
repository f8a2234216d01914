"""`best`: which checkpoint of a run to take, by the held-out metrics that its training recorded."""

import json
from pathlib import Path

from counterpoise.best_step import best_checkpoint, stage_rows
from counterpoise.commands.console import print_metrics, say
from counterpoise.errors import UserError
from counterpoise.json_lines import read_json_lines
from counterpoise.run_folder import BICUBIC, RunFolder


def run(run: Path, as_json: bool) -> None:
    """Recommend a checkpoint of a run's newest stage."""
    folder = RunFolder.open(run)
    metrics, notes = read_json_lines(folder.metrics)
    best = best_checkpoint(folder, metrics)
    if best is None:
        raise UserError(
            f"{run}: no checkpoint that was scored yet (train.checkpoint_every, "
            "train.sample_every). Score what a loop of your own made with "
            "`counterpoise evaluate --outputs FOLDER --data HR`"
        )
    candidates = [row for row in stage_rows(metrics) if folder.checkpoint(row["step"]).is_file()]
    if as_json:
        found = {"checkpoint": str(best), "candidates": candidates, "notes": notes}
        print(json.dumps({"version": 3} | found))  # noqa: T201
        return
    bicubic = [(BICUBIC, row) for row in metrics if row.get("stage") == BICUBIC]
    table = [*bicubic, *((f"step {row['step']}", row) for row in candidates)]
    print_metrics(f"{run}: held-out images", table)
    for note in notes:
        say(f"note: {note}")
    say(
        f"Take {best}: of {len(candidates)} checkpoints its distortion and perception are nearest "
        "to the best. It goes wherever weights do."
    )
