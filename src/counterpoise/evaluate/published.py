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


@dataclass(frozen=True)
class PublishedSet:
    """A benchmark set: how many images its published figures are means of, and the points."""

    images: int
    points: tuple[PublishedPoint, ...]


def _known(
    images: int, enet_e: float, enet_pat: float, **spsr: tuple[float, float, float]
) -> PublishedSet:
    """How many images; PSNR of EnhanceNet's networks; of others PI, LPIPS and PSNR."""
    others = (PublishedPoint(n, psnr, lpips, pi, SPSR) for n, (pi, lpips, psnr) in spsr.items())
    enets = (("ENet-E", enet_e), ("ENet-PAT", enet_pat))
    ours = (PublishedPoint(name, psnr, None, None, ENHANCENET) for name, psnr in enets)
    return PublishedSet(images, (*others, *ours))


PUBLISHED: dict[str, PublishedSet] = {
    "Set5": _known(
        5,
        enet_e=31.74,
        enet_pat=28.56,
        bicubic=(7.370, 0.3407, 28.42),
        SRGAN=(3.982, 0.0882, 29.17),
        ESRGAN=(3.752, 0.0748, 30.45),
    ),
    "Set14": _known(
        14,
        enet_e=28.42,
        enet_pat=25.77,
        bicubic=(7.027, 0.4393, 26.10),
        SRGAN=(3.085, 0.1663, 26.17),
        ESRGAN=(2.926, 0.1329, 26.28),
    ),
    "BSD100": _known(
        100,
        enet_e=27.50,
        enet_pat=24.93,
        bicubic=(7.003, 0.5249, 25.96),
        SRGAN=(2.546, 0.1980, 25.46),
        ESRGAN=(2.479, 0.1614, 25.32),
    ),
    "Urban100": _known(
        100,
        enet_e=25.66,
        enet_pat=23.54,
        bicubic=(6.944, 0.4726, 23.15),
        SRGAN=(3.698, 0.1551, 24.40),
        ESRGAN=(3.770, 0.1229, 24.36),
    ),
}


def published_points(
    set_name: str, images: int, scale: int
) -> tuple[tuple[PublishedPoint, ...], str]:
    """The points to show beside a set's scores, and a note on why there are none."""
    known = {name.lower(): found for name, found in PUBLISHED.items()}.get(set_name.lower())
    if known is None or scale != SCALE:
        return (), ""
    if known.images != images:
        return (), (
            f"no published points: they are means over {known.images} images, and here are {images}"
        )
    return known.points, ""
