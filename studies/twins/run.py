"""Train games and their sick twins, one after the other, a row for each training.

    python studies/twins/run.py --out runs/twins --seeds 30 31
    python studies/twins/run.py --out runs/dcgan --games dcgan dcgan-sick --policies none auto

What the folder has already is skipped, so the same command goes on after an interruption.
"""

import argparse
import itertools
import time
import traceback
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from games import NAMES, play
from recipes import RECIPES
from trial import Trial

from counterpoise.errors import UserError
from counterpoise.json_lines import JsonLines, read_json_lines, without_non_finite

ROWS = "rows.jsonl"
# Those below 30 are for whoever chooses settings.
JUDGING_SEEDS = (30, 31, 32)


def row_of(game: str, trial: Trial) -> dict[str, Any]:
    """The row of one training; one that broke, which is a result too, has its error.

    Raises `UserError` or `OSError` for what says nothing of the training: no such policy, no data.
    """
    row: dict[str, Any] = {"game": game, "policy": trial.policy, "seed": trial.seed}
    began = time.process_time()
    try:
        row |= play(game, trial)
    except (UserError, OSError):
        raise
    except Exception:
        row["error"] = traceback.format_exc()
    return row | {"seconds": round(time.process_time() - began, 1)}


def main() -> None:
    """Train what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help=f"folder of {ROWS}")
    parser.add_argument("--games", nargs="+", choices=NAMES, default=NAMES, metavar="GAME")
    parser.add_argument(
        "--policies", nargs="+", default=["none", "auto"], help=f"or {', '.join(RECIPES)}"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=JUDGING_SEEDS)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--turns", type=int, help="in place of each game's own")
    arguments = parser.parse_args()

    torch.set_num_threads(1)  # sums of several threads differ in the last digits
    file = arguments.out / ROWS
    done = {(row["seed"], row["game"], row["policy"]) for row in read_json_lines(file)[0]}
    wanted = itertools.product(arguments.seeds, arguments.games, arguments.policies)
    for seed, game, policy in (each for each in wanted if each not in done):
        trial = Trial(policy, seed, arguments.data, arguments.turns)
        try:
            row = row_of(game, trial)
        except (UserError, OSError) as error:
            parser.exit(2, f"{parser.prog}: {error}\n")
        arguments.out.mkdir(parents=True, exist_ok=True)
        with closing(JsonLines(file)) as rows:
            rows.append(without_non_finite(row))
        print(row, flush=True)


if __name__ == "__main__":
    main()
