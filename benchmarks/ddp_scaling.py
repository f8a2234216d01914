"""Steps per second with one and with two processes at the same batch per process.

    python benchmarks/ddp_scaling.py [--steps 20] [--preset demo] [--set KEY=VALUE ...]

Whole runs of the command line, clock time between the second and the last log line. Two processes
on one busy CPU say nothing: on a GPU machine each has its own card.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from counterpoise.json_lines import read_json_lines
from counterpoise.run_folder import RunFolder
from measuring import report


def seconds_per_step(preset: str, overrides: list[str], steps: int, processes: int) -> float:
    """The median of the later steps of a run."""
    with tempfile.TemporaryDirectory() as name:
        run = Path(name) / "run"
        options = [f"train.steps={steps}", "train.pretrain_steps=0", *overrides]
        command = [sys.executable, "-m", "counterpoise", "train", "--preset", preset]
        command += ["--run-dir", str(run), "--devices", str(processes)]
        command += [part for option in options for part in ("--set", option)]
        environment = {"OMP_NUM_THREADS": "1", **os.environ}
        subprocess.run(command, check=True, capture_output=True, env=environment)  # noqa: S603
        rows, _ = read_json_lines(RunFolder(run).signals)
    times = sorted(row["seconds"] for row in rows[len(rows) // 4 :])
    return float(times[len(times) // 2])


def measure(preset: str, overrides: list[str], steps: int, batch: int = 4) -> dict[str, Any]:
    """One process, then two with twice the batch."""
    results = {}
    for processes in (1, 2):
        size = f"train.batch_size={batch * processes}"
        seconds = seconds_per_step(preset, [*overrides, size], steps, processes)
        results[f"{processes} processes"] = {"images_per_second": batch * processes / seconds}
    one, two = (values["images_per_second"] for values in results.values())
    return {**results, "scaling": two / one}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    report("ddp_scaling", vars(given), measure(given.preset, given.set, given.steps))


if __name__ == "__main__":
    main()
