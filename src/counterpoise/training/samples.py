"""Sample grids: LR, bicubic, output and HR of the same held-out crops, side by side."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from counterpoise.models.bicubic import bicubic_upsample
from counterpoise.plain_files import atomic_write
from counterpoise.run_folder import SHEET_COLUMNS, SHEET_GAP_PX, SHEET_HEADER_PX


def sample_grid(generator: nn.Module, lr: Tensor, hr: Tensor, scale: int) -> np.ndarray:
    """The grid as uint8 (H, W, 3): a row per crop, columns as in `SHEET_COLUMNS`.

    `lr` (N, 3, h, w) and `hr` (N, 3, H, W) are in [0, 1]; the generator is used as it is.
    """
    with torch.inference_mode():
        output = generator(lr).float()
    nearest = lr.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    columns = (nearest, bicubic_upsample(lr, scale, "half-pixel"), output, hr)
    pixels = [
        (column.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        for column in columns
    ]
    count, height, width, _ = pixels[0].shape
    canvas = Image.new(
        "RGB",
        (
            len(columns) * (width + SHEET_GAP_PX) - SHEET_GAP_PX,
            SHEET_HEADER_PX + count * (height + SHEET_GAP_PX) - SHEET_GAP_PX,
        ),
        "white",
    )
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=11)
    for column, (title, images) in enumerate(zip(SHEET_COLUMNS, pixels, strict=True)):
        x = column * (width + SHEET_GAP_PX)
        draw.text((x + 2, 2), _fitting(title, width, font), fill="black", font=font)
        for row, image in enumerate(images):
            canvas.paste(
                Image.fromarray(image), (x, SHEET_HEADER_PX + row * (height + SHEET_GAP_PX))
            )
    return np.asarray(canvas)


def save_grid(grid: np.ndarray, path: Path) -> None:
    """Write a grid as PNG, whole or not at all."""
    with atomic_write(path) as temporary:
        Image.fromarray(grid).save(temporary, format="PNG")


def _fitting(title: str, width_px: int, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    """The title, or its first word where the column is too narrow for all of it."""
    return title if font.getlength(title) <= width_px else title.split()[0]
