"""Everything of a GPU's in one go: run it once on a machine with one.

    python benchmarks/on_gpu.py [--preset enet-pat] [--rounds 6]

Ours against the bare eager float32 loop and BasicSR's order, first in plain float32, then with each
means of speed added to those before it; then the sensors, the wait for data, growth and upscaling.
"""

import argparse
import sys
from typing import Any

import torch

import growth
import training_speed
import upscale_speed
import waiting
from measuring import report

STAGES = {
    "eager float32": [
        "train.compile=never",
        "train.channels_last=never",
        "train.fused_adam=never",
    ],
    "+ fused Adam": ["train.compile=never", "train.channels_last=never"],
    "+ channels last": ["train.compile=never"],
    "+ bf16": ["train.compile=never", "train.precision=bf16-mixed"],
    "+ compiled": ["train.precision=bf16-mixed"],
}


def measure(preset: str, overrides: list[str], rounds: int, round_steps: int = 100) -> Any:
    """Every stage, against the same two loops."""
    return {
        stage: training_speed.measure(preset, [*overrides, *options], rounds, round_steps)
        for stage, options in STAGES.items()
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="enet-pat")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("no CUDA device here")
    report("gpu_training_speed", vars(given), measure(given.preset, given.set, given.rounds))
    fast = [*given.set, *STAGES["+ compiled"]]
    workers = [*fast, "data.worker_processes=4"]
    report("gpu_waiting", vars(given), waiting.measure(given.preset, workers, 100))
    sizes = ([1, 4, 16, 64], [64, 128, 256])
    report("gpu_growth", vars(given), growth.measure(given.preset, *sizes, fast))
    report("gpu_upscale_speed", {"megapixels": 40}, upscale_speed.measure(40, 256, 64))


if __name__ == "__main__":
    main()
