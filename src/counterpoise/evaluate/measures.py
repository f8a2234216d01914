"""What images are measured by: every measure's name, direction, needs, and how to choose some."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from counterpoise.errors import UserError
from counterpoise.metrics import functional
from counterpoise.metrics.niqe import LEAST_PX as NIQE_LEAST_PX
from counterpoise.metrics.niqe import niqe_model, why_no_niqe
from counterpoise.metrics.perceptual import LPIPS_LEAST_PX, lpips, why_no_lpips
from counterpoise.metrics.sliced_wasserstein import PATCH_PX, image_sliced_wasserstein


@dataclass(frozen=True)
class Measure:
    """A number for an output against its original (for NIQE, of the output alone)."""

    name: str  # as in `metrics.jsonl`, CSV files and `--metrics`
    title: str
    digits: int  # decimals in tables
    higher_is_better: bool
    channels: Literal["rgb", "y"]
    # Of these channels of an output and its original, (1, C, H, W) in [0, 1] as 8-bit files hold
    # them, border cut.
    of: Callable[[Tensor, Tensor], Tensor | float]
    least_px: int = 1  # sides that an image must have, its border cut
    needs: str = ""  # files that do not come with counterpoise
    why_not: Callable[[], str] = str  # what is missing, and what to do; empty where nothing is

    def text(self, value: float) -> str:
        """The value for a table; `-` where there is none."""
        return "-" if value != value else f"{value:.{self.digits}f}"


_ALL = (
    Measure("psnr_y", "PSNR (Y)", 2, True, "y", functional.psnr),
    Measure("ssim_y", "SSIM (Y)", 4, True, "y", functional.ssim, functional.SSIM_WINDOW_PX),
    Measure("psnr_rgb", "PSNR (RGB)", 2, True, "rgb", functional.psnr),
    Measure("ssim_rgb", "SSIM (RGB)", 4, True, "rgb", functional.ssim, functional.SSIM_WINDOW_PX),
    Measure("rmse", "RMSE (Y)", 2, False, "y", functional.rmse),
    Measure("sliced_wasserstein", "sliced W.", 1, False, "rgb", image_sliced_wasserstein, PATCH_PX),
    Measure(
        "lpips",
        "LPIPS",
        4,
        False,
        "rgb",
        lambda fake, real: lpips()(fake, real),
        LPIPS_LEAST_PX,
        needs="AlexNet's weights",
        why_not=why_no_lpips,
    ),
    Measure(
        "niqe",
        "NIQE",
        2,
        False,
        "y",
        lambda fake, _: niqe_model()(fake),
        NIQE_LEAST_PX,
        needs="its authors' model",
        why_not=why_no_niqe,
    ),
)
MEASURES: dict[str, Measure] = {measure.name: measure for measure in _ALL}
# What a training's held-out images are measured by.
HELD_OUT = tuple(measure for measure in _ALL if not measure.needs)
GROUPS = {"psnr": ("psnr_y", "psnr_rgb"), "ssim": ("ssim_y", "ssim_rgb")}


def choose_measures(names: str | None) -> tuple[list[Measure], list[str]]:
    """The measures of a list `psnr,ssim_y,lpips`, or all that can be computed here.

    With them a line for each that cannot. Raises `UserError` for an unknown name, and where one
    was asked for by name that cannot be computed.
    """
    if names is None:
        missing = [why for measure in MEASURES.values() if (why := measure.why_not())]
        return [measure for measure in MEASURES.values() if not measure.why_not()], missing
    wanted: dict[str, Measure] = {}
    for name in (part.strip().lower().replace("-", "_") for part in names.split(",")):
        known = GROUPS.get(name, (name,))
        if known[0] not in MEASURES:
            choices = ", ".join([*GROUPS, *MEASURES])
            raise UserError(f"--metrics: no metric '{name}'; known: {choices}")
        wanted |= {one: MEASURES[one] for one in known}
    if lacking := [why for measure in wanted.values() if (why := measure.why_not())]:
        raise UserError(f"--metrics: {'; '.join(lacking)}")
    return list(wanted.values()), []


def measure_image(
    fake: Tensor, hr: Tensor, border_px: int, measures: Sequence[Measure]
) -> dict[str, float]:
    """The measures of one image (3, H, W) in [0, 1] against its original, by name.

    Both are rounded to 8 bit and lose `border_px` pixels on each side, as the field's tables have
    it (the scale factor). `_y`, RMSE and NIQE are of BT.601 luma as MATLAB's rgb2ycbcr gives it,
    the others of all channels. NaN where the image is too small.
    """
    rgb = [functional.crop_border(functional.quantise(x[None]), border_px) for x in (fake, hr)]
    pairs = {"rgb": rgb, "y": [functional.to_luma(x) for x in rgb]}
    side = min(rgb[0].shape[-2:])
    return {
        m.name: float(m.of(*pairs[m.channels])) if side >= m.least_px else float("nan")
        for m in measures
    }
