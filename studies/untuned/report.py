"""What came out: failures, quality of `auto` against each strategy, and what it cost.

python studies/untuned/report.py runs/untuned
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from games import GAMES
from strategies import STRATEGIES

from counterpoise.statistics import hierarchical_mean, standardised
from run import read_rows

AUTO, NONE = "auto", "none"

Row = dict[str, Any]
Situation = tuple[str, str, int]  # game, stressor, seed


def collapse_bar(rows: Iterable[Row], game: str) -> float:
    """The quality beyond which a training of a game counts as collapsed.

    Half of the way from the start to where the bare loop comes without any stressor, on the mean
    of its seeds. NaN where that has not been played: then nothing collapsed.
    """
    plain = [
        row
        for row in rows
        if row["game"] == game and row["stressor"] == NONE and row["strategy"] == NONE
    ]
    if not plain:
        return math.nan
    start = fmean(row["start"]["quality"] for row in plain)
    return (start + fmean(row["end"]["quality"] for row in plain)) / 2


def mark(rows: list[Row]) -> None:
    """Write into each row whether it failed and how, and its score in spreads of its game."""
    for game in {row["game"] for row in rows}:
        of_game = [row for row in rows if row["game"] == game]
        bar = collapse_bar([row for row in of_game if "error" not in row], game)
        qualities = []
        for row in of_game:
            finite = "error" not in row and row["finite"]
            qualities.append(row["end"]["quality"] if finite else math.nan)
            row["failed"] = not finite or qualities[-1] > bar
        # As in the package's own study: of limited scores, so that one explosion does not decide;
        # what has no quality has the worst of its game.
        done = np.ones(len(of_game), dtype=bool)
        for row, score in zip(of_game, standardised(np.array(qualities), False, done), strict=True):
            row["score"] = float(score)


def by_situation(rows: Iterable[Row], strategy: str) -> dict[Situation, Row]:
    """A strategy's rows."""
    return {
        (row["game"], row["stressor"], row["seed"]): row
        for row in rows
        if row["strategy"] == strategy
    }


def difference(rows: list[Row], other: str, value: Callable[[Row], float]) -> str:
    """`auto` minus another strategy, in pairs of the same game, stressor and seed."""
    own, others = by_situation(rows, AUTO), by_situation(rows, other)
    pairs: dict[tuple[str, str], list[float]] = {}
    for situation in sorted(own.keys() & others.keys()):
        apart = value(own[situation]) - value(others[situation])
        pairs.setdefault(situation[:2], []).append(apart)
    if not pairs:
        return "-"
    table = np.full((len(pairs), max(map(len, pairs.values()))), np.nan)
    for line, values in zip(table, pairs.values(), strict=True):
        line[: len(values)] = values
    estimate = hierarchical_mean(table)
    text = f"{estimate.mean:+.2f}"
    if estimate.interval is not None:
        text += f" ({estimate.interval.low:+.2f} to {estimate.interval.high:+.2f})"
    return text


def mean_of(rows: Iterable[Row], key: str) -> str:
    """The mean over the trainings that came to their end."""
    values = [row[key] for row in rows if key in row]
    return f"{fmean(values):.4g}" if values else "-"


def print_table(rows: list[Row]) -> None:
    """A line for each strategy."""
    print("| strategy | failed | auto's failures minus its | auto's quality minus its | " + COLUMNS)
    print("| --- " * (4 + len(COST)) + "|")
    for strategy in STRATEGIES:
        own = list(by_situation(rows, strategy).values())
        if not own:
            continue
        failed = sum(row["failed"] for row in own)
        versus = ["-", "-"]
        if strategy != AUTO:
            versus = [
                difference(rows, strategy, lambda row: float(row["failed"])),
                difference(rows, strategy, lambda row: float(row["score"])),
            ]
        cost = [mean_of(own, key) for key in COST]
        share = f"{failed} of {len(own)} ({failed / len(own):.0%})"
        print("| " + " | ".join([strategy, share, *versus, *cost]) + " |")
    print()


# Columns from the rows themselves.
COST = {
    "seconds": "seconds",
    "d_updates": "updates of D",
    "g_lowest_factor": "lowest G rate",
    "g_share_low": "G's steps under a quarter",
    "d_lowest_factor": "lowest D rate",
    "d_share_low": "D's steps under a quarter",
}
COLUMNS = " | ".join(COST.values()) + " |"


def print_game(rows: list[Row], game: str) -> None:
    """A game's measures by strategy, then its failures by stressor."""
    rows = [row for row in rows if row["game"] == game]
    print(f"## {game}: {GAMES[game].measure}, lower is better\n")
    print_table(rows)
    played = [row for row in rows if "error" not in row]
    for strategy in STRATEGIES:
        own = [row for row in played if row["strategy"] == strategy and row["stressor"] == NONE]
        if own:
            ends = ", ".join(
                f"{name} {fmean(row['start'][name] for row in own):.4g} to "
                f"{fmean(row['end'][name] for row in own):.4g}"
                for name in own[0]["end"]
            )
            print(f"- without stressor, {strategy}: {ends}")
    for row in rows:
        if row["failed"]:
            why = row["error"].strip().splitlines()[-1] if "error" in row else "collapsed"
            why = "not finite" if "error" not in row and not row["finite"] else why
            print(f"- failed: {row['stressor']}, {row['strategy']}, seed {row['seed']}: {why}")
    print()


def main() -> None:
    """Print the report of a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    rows = read_rows(parser.parse_args().folder)
    if not rows:
        sys.exit("no rows there; play some with run.py")
    mark(rows)
    print("# All games\n")
    print(
        "Differences are paired over game, stressor and seed, with 95 % intervals from a bootstrap "
        "over pairs of game and stressor;\nquality in spreads of its game, above 0: auto is "
        "better. Failures as shares, below 0: auto fails less.\n"
    )
    print_table(rows)
    for game in GAMES:
        if any(row["game"] == game for row in rows):
            print_game(rows, game)


if __name__ == "__main__":
    main()
