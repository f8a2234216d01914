"""Run every benchmark with its default settings, one after the other: `make bench`.

    python benchmarks/run.py

Each prints its numbers and writes `benchmarks/results/NAME.json` with what it was measured on.
`on_gpu.py` is for a machine with a CUDA device and runs there beside these.
"""

import subprocess
import sys
from pathlib import Path

import torch

ALL = (
    "training_speed",
    "balance_cost",
    "r1_cost",
    "waiting",
    "data_path",
    "upscale_speed",
    "growth",
    "signals_growth",
    "ddp_scaling",
    "read_log",
)


def main() -> None:
    """Run them; the first that fails ends it."""
    names = [*ALL, "on_gpu"] if torch.cuda.is_available() else ALL
    for name in names:
        path = Path(__file__).with_name(f"{name}.py")
        subprocess.run([sys.executable, str(path)], check=True)  # noqa: S603


if __name__ == "__main__":
    main()
