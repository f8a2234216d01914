"""Published points of the perception-distortion plane, each with its source.

Protocol of the rows of Maclory/SPSR: one evaluator for all methods, PSNR on luma, 4 pixels of
border cropped, LPIPS 0.1 with AlexNet, x4 from MATLAB's bicubic LR. PI is the perceptual index of
PIRM 2018, ((10 - Ma) + NIQE) / 2, lower is better. The rows of EnhanceNet are of its own table of
PSNR, as remembered, and nothing else of them is known: its ENet-PAT and bicubic are what the
authors' weights and ours give (docs/official-weights.md), its ENet-E could not be checked.
"""

from dataclasses import dataclass

SCALE = 4
SPSR = "README of github.com/Maclory/SPSR"
ENHANCENET = "EnhanceNet (arXiv 1612.07919), its table of PSNR, from memory; LR images by Lanczos"


@dataclass(frozen=True)
class PublishedPoint:
    """One method on one set; None where the source has no such figure."""

    method: str
    psnr_y: float
    lpips: float | None
    perceptual_index: float | None
    source: str


# How many images the published figures are means of.
IMAGES = {"Set5": 5, "Set14": 14, "BSD100": 100, "Urban100": 100}
# PI, LPIPS and PSNR.
SPSR_METHODS = ("bicubic", "SRGAN", "ESRGAN")
SPSR_ROWS = {
    "Set5": ((7.370, 0.3407, 28.42), (3.982, 0.0882, 29.17), (3.752, 0.0748, 30.45)),
    "Set14": ((7.027, 0.4393, 26.10), (3.085, 0.1663, 26.17), (2.926, 0.1329, 26.28)),
    "BSD100": ((7.003, 0.5249, 25.96), (2.546, 0.1980, 25.46), (2.479, 0.1614, 25.32)),
    "Urban100": ((6.944, 0.4726, 23.15), (3.698, 0.1551, 24.40), (3.770, 0.1229, 24.36)),
}
# PSNR.
ENHANCENET_ROWS = {
    "Set5": {"ENet-E": 31.74, "ENet-PAT": 28.56},
    "Set14": {"ENet-E": 28.42, "ENet-PAT": 25.77},
    "BSD100": {"ENet-E": 27.50, "ENet-PAT": 24.93},
    "Urban100": {"ENet-E": 25.66, "ENet-PAT": 23.54},
}


def _points(name: str) -> tuple[PublishedPoint, ...]:
    methods = zip(SPSR_METHODS, SPSR_ROWS[name], strict=True)
    others = [PublishedPoint(m, psnr, lpips, pi, SPSR) for m, (pi, lpips, psnr) in methods]
    enets = ENHANCENET_ROWS[name].items()
    return (*others, *(PublishedPoint(m, psnr, None, None, ENHANCENET) for m, psnr in enets))


PUBLISHED = {name: _points(name) for name in IMAGES}


def published_points(
    set_name: str, images: int, scale: int
) -> tuple[tuple[PublishedPoint, ...], str]:
    """The points to show beside a set's scores, and a note on why there are none."""
    name = next((name for name in IMAGES if name.lower() == set_name.lower()), None)
    if name is None or scale != SCALE:
        return (), ""
    if IMAGES[name] != images:
        return (), f"no published points: they are means over {IMAGES[name]} images, not {images}"
    return PUBLISHED[name], ""
