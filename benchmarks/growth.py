"""How a step's time and memory grow with the batch and the crop, and its share of the roofline.

    python benchmarks/growth.py [--preset demo] [--batches 1 4 16] [--crops 64 128] [--set ...]

FLOPs are counted by PyTorch's counter over a whole step (a multiply-add counts two). Bytes are the
least a step must move: weights, gradients and Adam's moments, each read or written as often as an
update does; activations are left out, so the true intensity is lower. The peak is measured here
with a large matrix product of the training's precision. The fit is seconds = a + b * batch *
(crop / 128)^2, by least squares.
"""

import argparse
from functools import cache
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from loops import Ours
from measuring import report, seconds_of


@cache
def peak_flops(device: torch.device, precision: str) -> float:
    """What a matrix product reaches, in FLOP per second, in the precision of a training."""
    side = 8192 if device.type == "cuda" else 1024
    kind = torch.bfloat16 if precision == "bf16-mixed" else torch.float32
    a, b = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
    times = [seconds_of(lambda: torch.mm(a, b), device) for _ in range(8)]
    return 2 * side**3 / float(np.median(times[2:]))


def measure_one(preset: str, overrides: list[str], steps: int) -> dict[str, float]:
    """A step of one size."""
    overrides = ["sensors={every: 0, probes_every: 0}", *overrides]
    # Of a training whose operations the counter sees.
    counted = Ours(preset, [*overrides, "train.cuda_graphs=never"])
    counted.steps(1)
    with FlopCounterMode(display=False) as counter:
        counted.steps(1)
    counted.close()
    del counted
    ours = Ours(preset, overrides)
    training = ours.training
    device = training.fabric.device
    ours.steps(2)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    times = [seconds_of(lambda: ours.steps(1), device) for _ in range(steps)]
    cuda = torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else 0.0
    networks = training.parts.networks.modules().values()
    weights = sum(p.numel() for network in networks for p in network.parameters())
    ours.close()
    seconds, flops = float(np.median(times)), float(counter.get_total_flops())
    peak = peak_flops(device, training.config.train.precision)
    return {
        "seconds": seconds,
        "gflop": flops / 1e9,
        "peak_gflops": peak / 1e9,
        "share_of_peak": flops / seconds / peak,
        "least_mib_moved": 4 * 7 * weights / 2**20,
        "peak_cuda_mib": cuda,
    }


def measure(
    preset: str, batches: list[int], crops: list[int], overrides: list[str], steps: int = 3
) -> dict[str, Any]:
    """Every size, and the fit."""
    results: dict[str, Any] = {}
    work, seconds = [], []
    for batch in batches:
        for crop in crops:
            size = [f"train.batch_size={batch}", f"data.crop_px={crop}", "data.held_out_px=256"]
            row = measure_one(preset, [*overrides, *size], steps)
            results[f"batch {batch}, crop {crop}"] = row
            work.append(batch * (crop / 128) ** 2)
            seconds.append(row["seconds"])
    if len(work) > 1:
        slope, constant = np.polyfit(work, seconds, 1)
        results["fit"] = {"constant_seconds": constant, "seconds_per_128px_image": slope}
    return results


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--crops", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    results = measure(given.preset, given.batches, given.crops, given.set)
    report("growth", vars(given), results)


if __name__ == "__main__":
    main()
