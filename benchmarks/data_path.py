"""Images per second from disk to crop, ours against a plain PIL `Dataset`.

    python benchmarks/data_path.py [--images 24] [--batches 20] [--workers 2]

Both cut random 128-pixel crops with their low-resolution twins, in batches of 16, from the same
PNG files. The plain one opens, crops and shrinks with Pillow, as many repositories do. Clock time,
since workers (ours are threads, its are processes) do the work: on a busy machine look at the
ratio.
"""

import argparse
import itertools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from counterpoise.config import DataConfig, DegradationConfig
from counterpoise.data.catalog import scan
from counterpoise.data.dataset import CropPairs
from counterpoise.data.sampler import batches, shares
from measuring import report

CROP_PX, SCALE, BATCH = 128, 4, 16


class PlainDataset(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Opens a file for each crop."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return 10**9

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        random = np.random.default_rng(index)
        image = Image.open(self._paths[index % len(self._paths)]).convert("RGB")
        left, top = (int(random.integers(side - CROP_PX + 1)) for side in image.size)
        hr = image.crop((left, top, left + CROP_PX, top + CROP_PX))
        lr = hr.resize((CROP_PX // SCALE,) * 2, Image.Resampling.BICUBIC)
        arrays = [np.asarray(x).transpose(2, 0, 1).copy() for x in (lr, hr)]
        return torch.from_numpy(arrays[0]), torch.from_numpy(arrays[1])


def write_images(folder: Path, count: int, side: int = 1024) -> list[Path]:
    """PNG files as large as photographs for training are, with some structure to decode."""
    paths = []
    for number in range(count):
        random = np.random.default_rng(number)
        small = random.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
        image = Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)
        paths.append(folder / f"{number:03}.png")
        image.save(paths[-1])
    return paths


def images_per_second(stream: Iterator[Any], count: int) -> float:
    """After a first batch, which starts the workers."""
    next(stream)
    started = time.perf_counter()
    for _ in itertools.islice(stream, count):
        pass
    return count * BATCH / (time.perf_counter() - started)


def measure(images: int, count: int, workers: int, rounds: int = 3) -> dict[str, Any]:
    """Images per second of both, in turn, and their ratio."""
    rates: dict[str, list[float]] = {"ours": [], "plain": []}
    with tempfile.TemporaryDirectory() as name:
        paths = write_images(Path(name), images)
        catalog, _ = scan(DataConfig(folders=(Path(name),)), SCALE)
        for seed in range(rounds):
            plain = DataLoader(
                PlainDataset(paths), BATCH, num_workers=workers, persistent_workers=workers > 0
            )
            rates["plain"].append(images_per_second(iter(plain), count))
            pairs = CropPairs(catalog, SCALE, DegradationConfig(), CROP_PX, seed, True, True)
            ours = batches(pairs, shares(BATCH, 0, 1, 0), workers)
            rates["ours"].append(images_per_second(ours, count))
    median = {name: float(np.median(values)) for name, values in rates.items()}
    return {"images_per_second": median, "ratio": median["ours"] / median["plain"]}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    report("data_path", vars(given), measure(given.images, given.batches, given.workers))


if __name__ == "__main__":
    main()
