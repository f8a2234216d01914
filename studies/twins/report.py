"""What came out: each game's measure, `auto` and recipes against none, the sick by the healthy.

python studies/twins/report.py runs/twins
"""

import argparse
import sys
from math import exp, isfinite, isnan, log, nan
from pathlib import Path
from typing import Any

import numpy as np
from games import GAMES, SICK

from counterpoise.json_lines import read_json_lines
from counterpoise.statistics import Estimate, hierarchical_mean, student_mean
from run import ROWS

# From this change of a measure on, a game counts as worse or better.
NOTABLE = log(1.05)

# The measure by seed, of a game and policy; NaN where the training failed.
Results = dict[tuple[str, str], dict[int, float]]


def results_of(rows: list[dict[str, Any]]) -> Results:
    """The measures that games are judged by."""
    found: Results = {}
    for row in rows:
        measured = row.get(GAMES[row["game"].removesuffix(SICK)].measure)
        value = nan if measured is None else float(measured)
        by_seed = found.setdefault((row["game"], row["policy"]), {})
        by_seed[row["seed"]] = value if isfinite(value) else nan
    return found


def pairs(results: Results, one: tuple[str, str], other: tuple[str, str]) -> np.ndarray:
    """The measures (2, seeds) of two games or policies, of the seeds of both."""
    a, b = results.get(one, {}), results.get(other, {})
    return np.array([[found[seed] for seed in sorted(a.keys() & b.keys())] for found in (a, b)])


def shown(estimate: Estimate) -> str:
    """A mean of logarithms as a ratio, with its interval."""
    if estimate.mean is None:
        return "-"
    if estimate.interval is None:
        return f"{exp(estimate.mean):.3f}"
    low, high = exp(estimate.interval.low), exp(estimate.interval.high)
    return f"{exp(estimate.mean):.3f} ({low:.3f} to {high:.3f})"


def print_table(results: Results, twin: str) -> None:
    """`auto` against none in all games, or in all sick twins."""
    print("| game | measure | none | auto | auto / none |\n| --- | --- | --- | --- | --- |")
    ratios, failed = {}, []
    for name, game in GAMES.items():
        none, auto = (name + twin, "none"), (name + twin, "auto")
        values = [
            " ".join(f"{value:.3f}" for _, value in sorted(results.get(key, {}).items())) or "-"
            for key in (none, auto)
        ]
        of_auto, of_none = pairs(results, auto, none)
        ratios[name] = np.log(of_auto / of_none)
        if (np.isnan(of_auto) & ~np.isnan(of_none)).any():
            failed.append(name)
        cells = [name + twin, game.measure, *values, shown(student_mean(ratios[name]))]
        print("| " + " | ".join(cells) + " |")
    means = {name: student_mean(each).mean or 0.0 for name, each in ratios.items()}
    print("\nFailed with auto alone:", *failed or ["none"])
    print("Over 5 % worse:", *[name for name in means if means[name] > NOTABLE] or ["none"])
    print("Over 5 % better:", *[name for name in means if means[name] < -NOTABLE] or ["none"])
    print("\nMean ratio over games, of each policy to none:")
    for policy in sorted({policy for _, policy in results} - {"none"}):
        print(f"- {policy}: {shown(mean_over_games(results, twin, policy))}")


def mean_over_games(results: Results, twin: str, policy: str) -> Estimate:
    """The mean logarithm of a policy's measure over that of none, over games and their seeds."""
    names = [name + twin for name in GAMES]
    both = [pairs(results, (name, policy), (name, "none")) for name in names]
    ratios = [np.log(own / none) for own, none in both if own.size]
    most = max(map(len, ratios), default=0)
    padded = [np.pad(each, (0, most - len(each)), constant_values=nan) for each in ratios]
    return hierarchical_mean(np.array(padded or [[nan]]))


def main() -> None:
    """Print the report of a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    rows, _ = read_json_lines(parser.parse_args().folder / ROWS)
    if not rows:
        sys.exit("no rows there; train some with run.py")
    results = results_of(rows)
    print("Measures are of held-out data, by seed, lower is better; intervals are of 95 %.")
    for twin, title in (("", "Healthy"), (SICK, "Sick")):
        print(f"\n## {title}\n")
        print_table(results, twin)
    print("\n## How sick the twins are: sick / healthy, policy none\n")
    for name in GAMES:
        sick, healthy = pairs(results, (name + SICK, "none"), (name, "none"))
        print(f"- {name}: {shown(student_mean(np.log(sick / healthy)))}")
    print("\n## Failed\n")
    for (game, policy), by_seed in results.items():
        for seed in (seed for seed, value in by_seed.items() if isnan(value)):
            print(f"- {game}, {policy}, seed {seed}")


if __name__ == "__main__":
    main()
