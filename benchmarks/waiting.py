"""The share of a step that the training spends waiting for its next batch.

    python benchmarks/waiting.py [--preset demo] [--steps 20] [--workers 2] [--set KEY=VALUE ...]

Clock time in `next_batch` over clock time of the step; the aim on a GPU at batch 16: under 5 %.
"""

import argparse
import time

import torch

from loops import Ours
from measuring import report


def measure(preset: str, overrides: list[str], steps: int) -> dict[str, float]:
    """The share, and both times."""
    ours = Ours(preset, overrides)
    batches, waited = ours.training.state.batches, 0.0
    next_batch = batches.next

    def timed() -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal waited
        started = time.perf_counter()
        batch = next_batch()
        waited += time.perf_counter() - started
        return batch

    ours.steps(2)
    batches.next = timed  # type: ignore[method-assign]
    started = time.perf_counter()
    ours.steps(steps)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    ours.close()
    return {
        "seconds_per_step": seconds / steps,
        "waiting_per_step": waited / steps,
        "share": waited / seconds,
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    overrides = [*given.set, f"data.worker_threads={given.workers}"]
    report("waiting", vars(given), measure(given.preset, overrides, given.steps))


if __name__ == "__main__":
    main()
