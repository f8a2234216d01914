"""Steps per second of ours over a bare loop and over BasicSR's order, with and without sensors.

    python benchmarks/training_speed.py [--preset demo] [--rounds 3] [--set KEY=VALUE ...]

The aim: with all default sensors never slower than the bare loop by more than 2 %; on a GPU at
least 1.5 times as fast as it is in eager float32 (`benchmarks/on_gpu.py` sets what that takes).
A round has as many steps as the sensors' longest cadence, so each takes every reading as often as a
training does, and one live diagnosis. Crops are of 64 pixels unless `--set` says otherwise: of 128,
a round takes several minutes on a CPU.
"""

import argparse
from collections.abc import Mapping
from functools import partial
from typing import Any

from counterpoise.config import SensorsConfig
from loops import Bare, BasicSROrder, Contestant, Ours
from measuring import interleave, report, summary

NO_SENSORS = "sensors={every: 0, probes_every: 0}"
CROPS = "data.crop_px=64"
OURS = {"ours": [], "ours, no sensors": [NO_SENSORS]}


def measure(
    preset: str,
    overrides: list[str],
    rounds: int,
    round_steps: int,
    turn_steps: int = 5,
    ours: Mapping[str, list[str]] = OURS,
) -> dict[str, Any]:
    """Seconds per step and ratios to the bare loop; `ours` names overrides of our training's."""
    trainings = {name: Ours(preset, [*overrides, *options]) for name, options in ours.items()}
    contestants: dict[str, Contestant] = {
        "bare loop": Bare(preset, overrides),
        "BasicSR's order": BasicSROrder(preset, overrides),
        **trainings,
    }
    device = next(iter(trainings.values())).training.fabric.device
    for contestant in contestants.values():
        contestant.steps(turn_steps)
    runs = {name: partial(c.steps, turn_steps) for name, c in contestants.items()}
    turns = max(1, round_steps // turn_steps)
    times = interleave(runs, rounds, device, turns)
    for contestant in contestants.values():
        contestant.close()
    results = summary(times, "bare loop", turns * turn_steps)
    for values in results.values():
        values["steps_per_second_over_bare"] = 1 / values.pop("ratio")
    return results


def main() -> None:
    """Run the benchmark."""
    sensors = SensorsConfig()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--round-steps", type=int, default=max(sensors.every, sensors.probes_every))
    parser.add_argument("--set", action="append", default=[CROPS], metavar="KEY=VALUE")
    given = parser.parse_args()
    results = measure(given.preset, given.set, given.rounds, given.round_steps)
    report("training_speed", vars(given), results)


if __name__ == "__main__":
    main()
