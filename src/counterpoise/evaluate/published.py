"""Published points of the perception-distortion plane, each with its source.

Only figures that were read at their source. Protocol of the rows of Maclory/SPSR: one evaluator for
all methods, PSNR on luma, 4 pixels of border cropped, LPIPS 0.1 with AlexNet, x4 from MATLAB's
bicubic LR. PI is the perceptual index of PIRM 2018, ((10 - Ma) + NIQE) / 2, lower is better.
"""

from dataclasses import dataclass

SCALE = 4
SPSR = "README of github.com/Maclory/SPSR"
OFFICIAL = "measured by counterpoise (docs/official-weights.md); Lanczos LR"
# What a reader may miss, and why it is not there.
LEFT_OUT = (
    "ENet-E is left out: no figure of it could be read at its source. ENet-PAT has no LPIPS or PI "
    "with a source, so it is no point of the published plane"
)


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


def _enet_pat(psnr_y: float) -> tuple[PublishedPoint]:
    return (PublishedPoint("ENet-PAT (authors' weights)", psnr_y, None, None, OFFICIAL),)


# PI, LPIPS, PSNR, in the source's order.
PUBLISHED: dict[str, PublishedSet] = {
    "Set5": PublishedSet(
        5,
        _rows(
            ("bicubic", 7.370, 0.3407, 28.42),
            ("SRGAN", 3.982, 0.0882, 29.17),
            ("ESRGAN", 3.752, 0.0748, 30.45),
        )
        + _enet_pat(28.57),
    ),
    "Set14": PublishedSet(
        14,
        _rows(
            ("bicubic", 7.027, 0.4393, 26.10),
            ("SRGAN", 3.085, 0.1663, 26.17),
            ("ESRGAN", 2.926, 0.1329, 26.28),
        )
        + _enet_pat(25.77),
    ),
    "BSD100": PublishedSet(
        100,
        _rows(
            ("bicubic", 7.003, 0.5249, 25.96),
            ("SRGAN", 2.546, 0.1980, 25.46),
            ("ESRGAN", 2.479, 0.1614, 25.32),
        )
        + _enet_pat(24.94),
    ),
    "Urban100": PublishedSet(
        100,
        _rows(
            ("bicubic", 6.944, 0.4726, 23.15),
            ("SRGAN", 3.698, 0.1551, 24.40),
            ("ESRGAN", 3.770, 0.1229, 24.36),
        ),
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
    return known.points, LEFT_OUT
