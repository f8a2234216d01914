"""Methods against the field's tables: every image of a set, by every measure, and paired."""

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from counterpoise.config import DegradationConfig
from counterpoise.evaluate.measures import MEASURES, Measure, measure_image
from counterpoise.models.bicubic import bicubic_upsample
from counterpoise.plain_files import atomic_write
from counterpoise.statistics import Estimate, hierarchical_mean

# A percentile bootstrap of fewer values is notably too narrow.
FEW_IMAGES = 10

Pairs = Iterable[tuple[str, np.ndarray, np.ndarray]]
# From an image's name and its LR (h, w, 3), uint8, to float (3, scale h, scale w), 1 being white.
Upscale = Callable[[str, np.ndarray], Tensor]


@dataclass
class Scores:
    """Per-image measures of one method on one set; NaN where an image was too small for one."""

    method: str
    rows: list[tuple[str, dict[str, float]]] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """The measures, in order."""
        return list(self.rows[0][1]) if self.rows else []

    def values(self, name: str) -> np.ndarray:
        """One measure of all images, (N,)."""
        return np.array([row[name] for _, row in self.rows])

    def means(self) -> dict[str, float]:
        """The mean of each measure over the images that have it; NaN where none has."""
        means = {}
        for name in self.names:
            values = self.values(name)
            known = values[~np.isnan(values)]
            means[name] = float(known.mean()) if len(known) else float("nan")
        return means


@dataclass(frozen=True)
class Method:
    """A way to an image `scale` times as large, from LR that `degradation` makes."""

    name: str
    degradation: DegradationConfig
    upscale: Upscale


def score_pairs(method: str, pairs: Pairs, upscale: Upscale, measures: Sequence[Measure]) -> Scores:
    """What `upscale` makes of the LR of pairs (name, LR, HR) of uint8 images, by the measures."""
    scores = Scores(method)
    for name, lr, hr in pairs:
        row = measure_image(upscale(name, lr), to_tensor(hr), len(hr) // len(lr), measures)
        scores.rows.append((name, row))
    return scores


def by_bicubic(scale: int) -> Upscale:
    """Plain bicubic upscaling (MATLAB's imresize)."""

    return lambda name, lr: bicubic_upsample(to_tensor(lr)[None], scale, "half-pixel")[0]


def by_generator(generator: nn.Module, device: torch.device) -> Upscale:
    """Upscaling by a generator that is on that device; outputs are on the CPU."""

    def upscale(name: str, lr: np.ndarray) -> Tensor:
        with torch.inference_mode():
            output: Tensor = generator(to_tensor(lr)[None].to(device))[0].float().cpu()
        return output

    return upscale


def to_tensor(image: np.ndarray) -> Tensor:
    """An image (H, W, 3) of uint8 or floats in [0, 1] as float32 (3, H, W) in [0, 1]."""
    scale = 255 if image.dtype == np.uint8 else 1
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float() / scale


@dataclass(frozen=True)
class Difference:
    """Method B minus method A by one measure, over the images that both have."""

    measure: Measure
    mean_a: float
    mean_b: float
    # Over images, paired; no interval for a single image.
    difference: Estimate
    # Images where B is better.
    b_wins: int

    @property
    def verdict(self) -> str:
        """Which is better, or that the images do not tell."""
        interval, mean = self.difference.interval, self.difference.mean
        if mean == 0 and (interval is None or interval.low == interval.high):
            return "equal"
        if mean is None or interval is None or interval.low <= 0 <= interval.high:
            return "not told apart"
        return "B is better" if (mean > 0) == self.measure.higher_is_better else "A is better"


def differences_between(a: Scores, b: Scores) -> list[Difference]:
    """The differences by every measure of two methods that were scored on the same images.

    Images with a value that is not finite in either (too small, or equal to the original) are left
    out of that measure's row.
    """
    found = []
    for name in a.names:
        pairs = np.stack([a.values(name), b.values(name)], axis=1)
        pairs = pairs[np.isfinite(pairs).all(1)]
        if len(pairs) == 0:
            continue
        steps = pairs[:, 1] - pairs[:, 0]
        better = steps > 0 if MEASURES[name].higher_is_better else steps < 0
        mean_a, mean_b = (float(mean) for mean in pairs.mean(0))
        estimate = hierarchical_mean(steps[None])
        found.append(Difference(MEASURES[name], mean_a, mean_b, estimate, int(better.sum())))
    return found


def write_csv(path: Path, sets: Mapping[str, Iterable[Scores]]) -> None:
    """One row per set, method and image, and a row "mean" after each method's images.

    A cell is empty where an image was too small for a measure.
    """
    names = next(scores.names for methods in sets.values() for scores in methods)
    with (
        atomic_write(path) as temporary,
        # A file's name need not be text.
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["set", "method", "image", *names])
        for set_name, methods in sets.items():
            for scores in methods:
                for image, row in [*scores.rows, ("mean", scores.means())]:
                    cells = ["" if value != value else f"{value:.6f}" for value in row.values()]
                    writer.writerow([set_name, scores.method, image, *cells])
