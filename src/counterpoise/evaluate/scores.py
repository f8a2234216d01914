"""Methods against the field's tables: every image of a set, by every measure."""

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from counterpoise.data.catalog import Catalog
from counterpoise.data.resize import Degradation, downscale, imresize
from counterpoise.evaluate.measures import HELD_OUT, Measure, measure_image, measures_named
from counterpoise.plain_files import atomic_write

Pairs = Iterable[tuple[str, np.ndarray, np.ndarray]]


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
    """A way to an image `scale` times as large.

    `upscale` takes the image's name and its LR (h, w, 3), uint8, made by `degradation`, and gives
    float (3, scale h, scale w), 1 being white.
    """

    name: str
    degradation: Degradation
    upscale: Callable[[str, np.ndarray], Tensor]


@dataclass(frozen=True)
class ImageOutputs:
    """One image of a set and what each method made of it: (3, H, W), 1 being white."""

    name: str
    lr: np.ndarray  # that of the last method
    hr: Tensor
    outputs: dict[str, Tensor]
    rows: dict[str, dict[str, float]]


def score_methods(
    catalog: Catalog,
    scale: int,
    methods: Sequence[Method],
    measures: Sequence[Measure],
    seen: Callable[[ImageOutputs], None] = lambda image: None,
) -> list[Scores]:
    """The measures of every method on every image of a set; `seen` is shown each image."""
    scores = [Scores(method.name) for method in methods]
    for index, entry in enumerate(catalog.files):
        pixels = catalog.load(index).hr
        hr = to_tensor(pixels)
        small = {d: downscale(pixels, scale, d) for d in {m.degradation for m in methods}}
        outputs, rows = {}, {}
        for method, method_scores in zip(methods, scores, strict=True):
            output = method.upscale(entry.name, small[method.degradation])
            row = measure_image(output, hr, scale, measures)
            method_scores.rows.append((entry.name, row))
            outputs[method.name], rows[method.name] = output, row
        seen(ImageOutputs(entry.name, small[methods[-1].degradation], hr, outputs, rows))
    return scores


def bicubic_method(scale: int, degradation: Degradation) -> Method:
    """Plain bicubic upscaling (MATLAB's imresize)."""
    name = f"bicubic ({degradation} LR)"
    return Method(name, degradation, lambda _, lr: bicubic_upscaled(lr, scale))


def generator_method(
    name: str, generator: nn.Module, degradation: Degradation, device: torch.device
) -> Method:
    """A generator's outputs from the LR images that it was made for."""
    return Method(
        f"{name} ({degradation} LR)",
        degradation,
        lambda _, lr: generated(generator, lr, device),
    )


def bicubic_upscaled(lr: np.ndarray, scale: int) -> Tensor:
    """A uint8 image (h, w, 3) enlarged by MATLAB's imresize: (3, H, W), 1 being white."""
    size = (lr.shape[0] * scale, lr.shape[1] * scale)
    return to_tensor(imresize(lr.astype(np.float64) / 255, size))


def generated(generator: nn.Module, lr: np.ndarray, device: torch.device) -> Tensor:
    """A generator's output for a uint8 image (h, w, 3): (3, H, W) on the CPU."""
    with torch.inference_mode():
        output: Tensor = generator(to_tensor(lr)[None].to(device))[0].float().cpu()
    return output


def score_bicubic(pairs: Pairs, scale: int, method: str = "bicubic") -> Scores:
    """Plain bicubic upscaling of pairs (name, LR, HR) of uint8 images, by `HELD_OUT`."""
    measures = measures_named(HELD_OUT)
    return score_pairs(method, pairs, scale, lambda lr: bicubic_upscaled(lr, scale), measures)


def score_generator(
    generator: nn.Module, pairs: Pairs, scale: int, device: torch.device, method: str
) -> Scores:
    """The generator's outputs on pairs (name, LR, HR) of uint8 images, by `HELD_OUT`."""
    measures = measures_named(HELD_OUT)
    return score_pairs(method, pairs, scale, lambda lr: generated(generator, lr, device), measures)


def score_pairs(
    method: str,
    pairs: Pairs,
    scale: int,
    upscale: Callable[[np.ndarray], Tensor],
    measures: Sequence[Measure],
) -> Scores:
    """What `upscale` makes of the LR of pairs (name, LR, HR) of uint8 images, by the measures."""
    rows = [
        (name, measure_image(upscale(lr), to_tensor(hr), scale, measures)) for name, lr, hr in pairs
    ]
    return Scores(method, rows)


def to_tensor(image: np.ndarray) -> Tensor:
    """An image (H, W, 3) of uint8 or floats in [0, 1] as float32 (3, H, W) in [0, 1]."""
    scale = 255 if image.dtype == np.uint8 else 1
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float() / scale


def write_csv(path: Path, sets: Mapping[str, Iterable[Scores]]) -> None:
    """One row per set, method and image, and a row "mean" after each method's images.

    A cell is empty where an image was too small for a measure.
    """
    names = list(
        dict.fromkeys(name for methods in sets.values() for s in methods for name in s.names)
    )
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
                    values = [row.get(name, float("nan")) for name in names]
                    cells = ["" if value != value else f"{value:.6f}" for value in values]
                    writer.writerow([set_name, scores.method, image, *cells])
