"""Upscaling in tiles against the whole image at once: megapixels per second and peak memory.

    python benchmarks/upscale_speed.py [--megapixels 1] [--tile-px 256] [--width 64] [--tiled-only]

Megapixels are those of the result (40 is the aim: in 4 GiB). Each way runs in a process of its own,
whose peak memory is its own too (on a CUDA device that of the device is given beside it).
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np
import torch

from counterpoise.config import GeneratorConfig
from counterpoise.data.images import Picture
from counterpoise.models.generator import build_generator
from counterpoise.upscale import upscale_picture
from measuring import report

SCALE = 4


def run_once(way: str, megapixels: float, tile_px: int, width: int) -> dict[str, float]:
    """Upscale one picture in this process."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    generator = build_generator(GeneratorConfig(width=width)).to(device).eval()
    side = round((megapixels * 1e6) ** 0.5 / SCALE)
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    before = peak_mib()
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    started = clock()
    if way == "tiled":
        upscale_picture(generator, Picture(pixels, None, None, []), device, tile_px, _silent)
    else:
        with torch.no_grad():
            image = torch.from_numpy(pixels).permute(2, 0, 1)[None].to(device).float() / 255
            result = generator(image).clamp(0, 1).mul(255).round()
            result.byte()[0].permute(1, 2, 0).cpu().numpy()
    seconds = clock() - started
    cuda = torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else 0.0
    return {
        "megapixels_per_second": (SCALE * side) ** 2 / 1e6 / seconds,
        "peak_mib": peak_mib(),
        "peak_mib_before": before,
        "peak_cuda_mib": cuda,
    }


def peak_mib() -> float:
    """The most memory that this process has had so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def _silent(done: int, total: int) -> None:
    pass


def measure(
    megapixels: float, tile_px: int, width: int, *, tiled_only: bool = False
) -> dict[str, Any]:
    """Both ways, each in its process."""
    results = {}
    for way in ("tiled",) if tiled_only else ("tiled", "whole"):
        command = [sys.executable, __file__, "--once", way]
        command += ["--megapixels", megapixels, "--tile-px", tile_px, "--width", width]
        done = subprocess.run(  # noqa: S603
            [str(part) for part in command], check=True, capture_output=True, text=True
        )
        results[way] = json.loads(done.stdout)
    return results


def main() -> None:
    """Run the benchmark, or one of its processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megapixels", type=float, default=1)
    parser.add_argument("--tile-px", type=int, default=256)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--tiled-only", action="store_true")
    parser.add_argument("--once", help=argparse.SUPPRESS)
    given = parser.parse_args()
    size = (given.megapixels, given.tile_px, given.width)
    if given.once:
        print(json.dumps(run_once(given.once, *size)))
        return
    report("upscale_speed", vars(given), measure(*size, tiled_only=given.tiled_only))


if __name__ == "__main__":
    main()
