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


def _rows(*rows: tuple[str, float, float, float]) -> tuple[PublishedPoint, ...]:
    return tuple(PublishedPoint(name, psnr, lpips, pi, SPSR) for name, pi, lpips, psnr in rows)


def _enet(e: float, pat: float) -> tuple[PublishedPoint, ...]:
    return tuple(
        PublishedPoint(name, psnr, None, None, ENHANCENET)
        for name, psnr in (("ENet-E", e), ("ENet-PAT", pat))
    )


# PI, LPIPS, PSNR, in the source's order.
PUBLISHED: dict[str, PublishedSet] = {
    "Set5": PublishedSet(
        5,
        _rows(
            ("bicubic", 7.370, 0.3407, 28.42),
            ("SRGAN", 3.982, 0.0882, 29.17),
            ("ESRGAN", 3.752, 0.0748, 30.45),
        )
        + _enet(31.74, 28.56),
    ),
    "Set14": PublishedSet(
        14,
        _rows(
            ("bicubic", 7.027, 0.4393, 26.10),
            ("SRGAN", 3.085, 0.1663, 26.17),
            ("ESRGAN", 2.926, 0.1329, 26.28),
        )
        + _enet(28.42, 25.77),
    ),
    "BSD100": PublishedSet(
        100,
        _rows(
            ("bicubic", 7.003, 0.5249, 25.96),
            ("SRGAN", 2.546, 0.1980, 25.46),
            ("ESRGAN", 2.479, 0.1614, 25.32),
        )
        + _enet(27.50, 24.93),
    ),
    "Urban100": PublishedSet(
        100,
        _rows(
            ("bicubic", 6.944, 0.4726, 23.15),
            ("SRGAN", 3.698, 0.1551, 24.40),
            ("ESRGAN", 3.770, 0.1229, 24.36),
        )
        + _enet(25.66, 23.54),
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
