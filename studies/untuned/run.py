"""Play games under stressors with strategies, a row for each training.

    python studies/untuned/run.py --out runs/untuned
    python studies/untuned/run.py --out runs/untuned-short --games sr-real --steps 100

What the folder has already is skipped, so the same command goes on after an interruption.
"""

import argparse
import itertools
import json
import multiprocessing
import time
import traceback
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

from games import GAMES, Setting
from loop import play
from strategies import STRATEGIES
from stressors import STRESSORS

from counterpoise.json_lines import read_json_lines

ROWS = "rows.jsonl"
# For judging. Those below 10 are for whoever tunes.
JUDGING_SEEDS = (10, 11, 12)

Cell = tuple[str, str, int, str]


def play_cell(job: tuple[Cell, Path, int | None]) -> dict[str, Any]:
    """The row of one training; one that raised an error has its text."""
    (game, stressor, seed, strategy), data, steps = job
    row: dict[str, Any] = {"game": game, "stressor": stressor, "strategy": strategy, "seed": seed}
    setting = Setting(seed, data, STRESSORS[stressor].narrower, steps)
    try:
        return row | play(setting, game, STRESSORS[stressor], STRATEGIES[strategy])
    except Exception:  # one broken training does not take the others with it
        return row | {"error": traceback.format_exc()}


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """The newest row of each training, whole ones only: an interruption may have cut the last."""
    rows, _ = read_json_lines(folder / ROWS)
    return list({cell_of(row): row for row in rows}.values())


def cell_of(row: dict[str, Any]) -> Cell:
    """Which training a row is of."""
    return row["game"], row["stressor"], row["seed"], row["strategy"]


def cells(arguments: argparse.Namespace) -> list[Cell]:
    """What is to be played: strategies of a situation one after the other, so that an early stop
    leaves whole situations."""
    return [
        (game, stressor, seed, strategy)
        for seed, game, stressor, strategy in itertools.product(
            arguments.seeds, arguments.games, arguments.stressors, arguments.strategies
        )
        if stressor not in GAMES[game].without
    ]


def main() -> None:
    """Play what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help=f"folder of {ROWS}")
    parser.add_argument("--games", nargs="+", choices=GAMES, default=list(GAMES))
    parser.add_argument("--stressors", nargs="+", choices=STRESSORS, default=list(STRESSORS))
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=list(STRATEGIES))
    parser.add_argument("--seeds", nargs="+", type=int, default=JUDGING_SEEDS)
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--steps", type=int, help="in place of each game's own")
    arguments = parser.parse_args()

    arguments.out.mkdir(parents=True, exist_ok=True)
    done = {cell_of(row) for row in read_rows(arguments.out) if "error" not in row}
    wanted = [cell for cell in cells(arguments) if cell not in done]
    print(f"{len(wanted)} trainings to play, {len(done)} are there", flush=True)
    jobs = [(cell, arguments.data.resolve(), arguments.steps) for cell in wanted]
    began = time.monotonic()
    # Spawned: PyTorch's threads do not survive a fork. One alone needs no process of its own.
    several = arguments.workers > 1
    with (
        (multiprocessing.get_context("spawn").Pool if several else ThreadPool)(
            arguments.workers
        ) as pool,
        (arguments.out / ROWS).open("a", encoding="utf-8") as file,
    ):
        for count, row in enumerate(pool.imap_unordered(play_cell, jobs), start=1):
            file.write(json.dumps(row) + "\n")
            file.flush()
            outcome = f"{row['end']['quality']:.4g}" if "end" in row else row["error"]
            print(
                f"{count}/{len(wanted)} {time.monotonic() - began:.0f} s  {row['game']}, "
                f"{row['stressor']}, {row['strategy']}, seed {row['seed']}: {outcome}",
                flush=True,
            )


if __name__ == "__main__":
    main()
