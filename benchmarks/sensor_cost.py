"""What the sensors cost: a training step with them at their default cadence over one without.

    python benchmarks/sensor_cost.py [--preset demo] [--rounds 8] [--set KEY=VALUE ...]

Both trainings run in this process, in short turns, so that a busy machine slows both. A round is as
many steps as the longest cadence, so that each round with sensors takes every reading as often as a
training does, and one live diagnosis. On a CPU its time is that of this process alone,
not the clock's, so that other programs count less. Printed are the medians over rounds and of
their ratios.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from counterpoise.commands.training import make_fabric
from counterpoise.config import SensorsConfig, load_config
from counterpoise.run_folder import RunFolder
from counterpoise.training.checks import check_training
from counterpoise.training.interruption import StopRequest
from counterpoise.training.loop import Training
from counterpoise.training.recorder import FileRecorder, SilentReporter
from counterpoise.training.setup import build_parts

AIM = 1.03
TURN_STEPS = 5


def make_training(preset: str, overrides: list[str], folder: Path) -> Training:
    """A training at its first step, all of its stages adversarial."""
    overrides = ["train.pretrain_steps=0", "train.steps=1000000", *overrides]
    config = load_config(preset, overrides, checks=(check_training,))
    fabric = make_fabric(config)
    run = RunFolder(folder)
    run.create(config.to_yaml())
    reporter = SilentReporter()
    return Training(build_parts(config, fabric), run, FileRecorder(run, reporter, None), reporter)


def seconds(training: Training, steps: int, *, diagnose: bool) -> float:
    """What the next `steps` steps take, with their recording."""
    on_gpu = training.fabric.device.type == "cuda"
    clock = time.perf_counter if on_gpu else time.process_time
    with StopRequest() as stop:
        started = clock()
        for _ in range(steps):
            training.step += 1
            record, _ = training.iterate(training.step, stop)
            training.recorder.step(record)
            training.diagnosis.add(record.to_json())
        if diagnose:
            training.diagnose()
        if on_gpu:
            torch.cuda.synchronize()
        return clock() - started


def main() -> None:
    """Run the benchmark and print its numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    sensors = SensorsConfig()
    round_steps = max(sensors.every, sensors.probes_every)
    off = ["sensors={every: 0, probes_every: 0}"]
    times: dict[str, list[float]] = {"with": [], "without": []}
    with tempfile.TemporaryDirectory() as folder:
        trainings = {
            "without": make_training(given.preset, [*given.set, *off], Path(folder) / "without"),
            "with": make_training(given.preset, given.set, Path(folder) / "with"),
        }
        for training in trainings.values():
            seconds(training, TURN_STEPS, diagnose=False)
        for _ in range(given.rounds):
            for values in times.values():
                values.append(0.0)
            for turn in range(round_steps // TURN_STEPS):
                # Who goes first alternates.
                for name in sorted(trainings, reverse=bool(turn % 2)):
                    diagnose = name == "with" and turn == 0
                    taken = seconds(trainings[name], TURN_STEPS, diagnose=diagnose)
                    times[name][-1] += taken / round_steps
        for training in trainings.values():
            training.recorder.close()
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratios = [a / b for a, b in zip(times["with"], times["without"], strict=True)]
    for name, median in medians.items():
        print(f"{name:>8} sensors: {1e3 * median:8.2f} ms per step, {1 / median:6.2f} steps per s")
    print(
        f"ratio of the medians: {medians['with'] / medians['without']:.4f}; median of the "
        f"{given.rounds} ratios: {statistics.median(ratios):.4f} (aim: under {AIM})"
    )


if __name__ == "__main__":
    main()
