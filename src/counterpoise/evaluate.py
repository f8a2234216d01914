"""A generator against the field's tables: PSNR and SSIM on luma and on RGB, bicubic beside it."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from counterpoise.data.resize import imresize
from counterpoise.metrics.functional import crop_border, psnr, quantise, ssim, to_luma
from counterpoise.run_folder import atomic_write

COLUMNS = ("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb")


def image_metrics(fake: Tensor, hr: Tensor, border_px: int) -> dict[str, float]:
    """PSNR (dB) and SSIM of one image (3, H, W) in [0, 1] against its original; higher is better.

    Both are rounded to 8 bit and lose `border_px` pixels on each side, as the field's tables have
    it (the scale factor). `_y` is BT.601 luma as MATLAB's rgb2ycbcr gives it, `_rgb` all channels.
    """
    pair = [crop_border(quantise(x[None]), border_px) for x in (fake, hr)]
    luma = [to_luma(x) for x in pair]
    return {
        "psnr_y": float(psnr(*luma)),
        "ssim_y": float(ssim(*luma)),
        "psnr_rgb": float(psnr(*pair)),
        "ssim_rgb": float(ssim(*pair)),
    }


@dataclass
class Scores:
    """Per-image metrics of one method on one set."""

    method: str
    rows: list[tuple[str, dict[str, float]]] = field(default_factory=list)

    def means(self) -> dict[str, float]:
        """The mean of each metric over the images."""
        return {name: float(np.mean([row[name] for _, row in self.rows])) for name in COLUMNS}


def to_tensor(image: np.ndarray) -> Tensor:
    """An image (H, W, 3) of uint8 or floats in [0, 1] as float32 (3, H, W) in [0, 1]."""
    scale = 255 if image.dtype == np.uint8 else 1
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float() / scale


def score_bicubic(
    pairs: Iterable[tuple[str, np.ndarray, np.ndarray]], scale: int, method: str = "bicubic"
) -> Scores:
    """Plain bicubic upscaling (MATLAB's imresize) of pairs (name, LR, HR) of uint8 images."""
    scores = Scores(method)
    for name, lr, hr in pairs:
        upscaled = imresize(lr.astype(np.float64) / 255, hr.shape[:2])
        scores.rows.append((name, image_metrics(to_tensor(upscaled), to_tensor(hr), scale)))
    return scores


def score_generator(
    generator: nn.Module,
    pairs: Iterable[tuple[str, np.ndarray, np.ndarray]],
    scale: int,
    device: torch.device,
    method: str,
) -> Scores:
    """The generator's outputs on pairs (name, LR, HR) of uint8 images."""
    scores = Scores(method)
    for name, output, hr in _outputs(generator, pairs, device):
        scores.rows.append((name, image_metrics(output, hr, scale)))
    return scores


def _outputs(
    generator: nn.Module, pairs: Iterable[tuple[str, np.ndarray, np.ndarray]], device: torch.device
) -> Iterator[tuple[str, Tensor, Tensor]]:
    with torch.inference_mode():
        for name, lr, hr in pairs:
            output = generator(to_tensor(lr)[None].to(device))[0].float().cpu()
            yield name, output, to_tensor(hr)


def write_csv(path: Path, sets: Mapping[str, Iterable[Scores]]) -> None:
    """One row per set, method and image, and a row "mean" after each method's images."""
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["set", "method", "image", *COLUMNS])
        for set_name, methods in sets.items():
            for scores in methods:
                for image, row in [*scores.rows, ("mean", scores.means())]:
                    values = [f"{row[name]:.6f}" for name in COLUMNS]
                    writer.writerow([set_name, scores.method, image, *values])
