"""The same crop from every method, side by side, where they differ most."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from counterpoise.evaluate.scores import ImageOutputs
from counterpoise.plain_files import atomic_write

CROP_PX = 72
ROWS = 4
# Side of a cell: three times a crop that is not cut short by a small image.
CELL_PX = 216
GAP_PX, TITLE_PX, NAME_PX = 6, 20, 18
INK, PALE = "#1c1e21", "#6d727b"


@dataclass
class CropRow:
    """One image's crops, left to right, and how much the methods differ there."""

    image: str
    # Of the square, in HR pixels.
    x: int
    y: int
    size: int
    cells: dict[str, np.ndarray]
    psnr: dict[str, float]
    difference: float


@dataclass
class CropSheet:
    """Collects the rows of a figure while a set is scored: the images where methods differ most."""

    scale: int
    rows: list[CropRow] = field(default_factory=list)

    def add(self, image: ImageOutputs) -> None:
        """Look at an image; it is kept where it is among the most different.

        The crop is where methods differ most: on the grid of the LR pixels, a border of the scale
        away from the edges.
        """
        errors = [(output - image.hr).clamp(-1, 1) for output in image.outputs.values()]
        pairs = [a - b for i, a in enumerate(errors) for b in errors[:i]] or errors
        difference = sum((p.square().mean(0) for p in pairs), start=pairs[0].new_zeros(()))
        height, width = image.hr.shape[-2:]
        scale = self.scale
        size = min(CROP_PX, height - 2 * scale, width - 2 * scale) // scale * scale
        inner = difference[scale : height - scale, scale : width - scale]
        means = F.avg_pool2d(inner[None, None], size, stride=scale)[0, 0]
        y, x = (scale * (1 + n) for n in divmod(int(means.argmax()), means.shape[1]))
        square = slice(y, y + size), slice(x, x + size)
        enlarged = np.kron(image.lr, np.ones((scale, scale, 1), np.uint8))
        cells = {"LR (pixels enlarged)": enlarged[square]}
        cells |= {name: _pixels(output)[square] for name, output in image.outputs.items()}
        cells["HR"] = _pixels(image.hr)[square]
        psnr = {name: row["psnr_y"] for name, row in image.rows.items() if "psnr_y" in row}
        self.rows.append(CropRow(image.name, x, y, size, cells, psnr, float(means.max())))
        self.rows.sort(key=lambda row: -row.difference)
        del self.rows[ROWS:]

    def save(self, path: Path) -> None:
        """Write the figure as PNG, whole or not at all."""
        names = list(self.rows[0].cells)
        width = len(names) * (CELL_PX + GAP_PX) + GAP_PX
        height = TITLE_PX + len(self.rows) * (NAME_PX + CELL_PX + GAP_PX)
        canvas = Image.new("RGB", (width, height), "white")
        draw = ImageDraw.Draw(canvas)
        title_font, font = ImageFont.load_default(size=13), ImageFont.load_default(size=11)
        for column, name in enumerate(names):
            x, y = GAP_PX + column * (CELL_PX + GAP_PX), TITLE_PX
            draw.text((x, 4), name[: CELL_PX // 7], fill=INK, font=title_font)
            for row in self.rows:
                text = f"image: {row.psnr[name]:.2f} dB (Y)" if name in row.psnr else ""
                if column == 0:
                    text = f"{row.image} at {row.x},{row.y},{row.size}"
                draw.text((x, y + 3), text[: CELL_PX // 6], fill=PALE, font=font)
                picture = Image.fromarray(np.ascontiguousarray(row.cells[name]))
                larger = picture.resize((CELL_PX, CELL_PX), Image.Resampling.NEAREST)
                canvas.paste(larger, (x, y + NAME_PX))
                y += NAME_PX + CELL_PX + GAP_PX
        with atomic_write(path) as temporary:
            canvas.save(temporary, format="PNG")


def _pixels(image: Tensor) -> np.ndarray:
    """(3, H, W) in [0, 1] as uint8 (H, W, 3)."""
    return (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
