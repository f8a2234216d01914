"""The same crop from every method, side by side: where they differ most, or where one says."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from counterpoise.errors import UserError
from counterpoise.evaluate.scores import ImageOutputs
from counterpoise.plain_files import atomic_write

CROP_PX = 72
ROWS = 4
# Cells are about this wide, whatever the crop: pixels are enlarged by a whole number.
CELL_PX = 216
GAP_PX, TITLE_PX, NAME_PX = 6, 20, 18
INK, PALE = "#1c1e21", "#6d727b"


@dataclass(frozen=True)
class CropPlace:
    """A square in HR pixels; of one image, or (`image` empty) of every image that it fits in."""

    x: int
    y: int
    size: int
    image: str = ""


def parse_crop(text: str) -> CropPlace:
    """`X,Y,SIZE` or `IMAGE:X,Y,SIZE` in HR pixels from the top left; `UserError` otherwise."""
    found = re.fullmatch(r"(?:(.+):)?\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*", text)
    if found is None or int(found[4]) < 1:
        raise UserError(
            f"--crop {text}: expected X,Y,SIZE or IMAGE:X,Y,SIZE in pixels of the HR image"
        )
    return CropPlace(int(found[2]), int(found[3]), int(found[4]), found[1] or "")


@dataclass
class CropRow:
    """One image's crops, left to right, and how much the methods differ there."""

    image: str
    place: CropPlace
    cells: dict[str, np.ndarray]
    psnr: dict[str, float]
    difference: float


@dataclass
class CropSheet:
    """Collects the rows of a figure while a set is scored: the images where methods differ most."""

    scale: int
    place: CropPlace | None = None
    rows: list[CropRow] = field(default_factory=list)

    def add(self, image: ImageOutputs) -> None:
        """Look at an image; it is kept where it is among the most different."""
        found = self._place(image)
        if found is None:
            return
        place, difference = found
        side = slice(place.y, place.y + place.size), slice(place.x, place.x + place.size)
        enlarged = np.kron(image.lr, np.ones((self.scale, self.scale, 1), np.uint8))
        cells = {"LR (pixels enlarged)": enlarged[side]}
        cells |= {name: _pixels(output)[side] for name, output in image.outputs.items()}
        cells["HR"] = _pixels(image.hr)[side]
        values = {name: row["psnr_y"] for name, row in image.rows.items() if "psnr_y" in row}
        self.rows.append(CropRow(image.name, place, cells, values, difference))
        self.rows.sort(key=lambda row: -row.difference)
        del self.rows[ROWS:]

    def save(self, path: Path) -> None:
        """Write the figure as PNG, whole or not at all. Raises `UserError` without rows."""
        if not self.rows:
            assert self.place is not None, "else every image has a place"
            where = f"image {self.place.image}" if self.place.image else "any image"
            raise UserError(
                f"--crop: {self.place.x},{self.place.y},{self.place.size} does not fit into {where}"
            )
        with atomic_write(path) as temporary:
            self._drawn().save(temporary, format="PNG")

    def _place(self, image: ImageOutputs) -> tuple[CropPlace, float] | None:
        """The crop of an image and its difference there; None where the asked one does not fit."""
        errors = [(output - image.hr).clamp(-1, 1) for output in image.outputs.values()]
        pairs = [a - b for i, a in enumerate(errors) for b in errors[:i]] or errors
        difference = sum((p.square().mean(0) for p in pairs), start=pairs[0].new_zeros(()))
        height, width = image.hr.shape[-2:]
        if self.place is not None:
            x, y, size, only = self.place.x, self.place.y, self.place.size, self.place.image
            if only not in ("", image.name, Path(image.name).stem):
                return None
            if x + size > width or y + size > height:
                return None
            return CropPlace(x, y, size), float(difference[y : y + size, x : x + size].mean())
        # On the grid of the LR pixels, a border of the scale away from the edges.
        border = self.scale
        size = min(CROP_PX, height - 2 * border, width - 2 * border) // self.scale * self.scale
        if size < self.scale:
            return None
        inner = difference[border : height - border, border : width - border]
        means = F.avg_pool2d(inner[None, None], size, stride=self.scale)[0, 0]
        row, column = divmod(int(means.argmax()), means.shape[1])
        place = CropPlace(border + column * self.scale, border + row * self.scale, size)
        return place, float(means.max())

    def _drawn(self) -> Image.Image:
        names = list(self.rows[0].cells)
        heights = [row.place.size * max(1, round(CELL_PX / row.place.size)) for row in self.rows]
        cell = max(heights)
        width = len(names) * (cell + GAP_PX) + GAP_PX
        height = TITLE_PX + sum(NAME_PX + high + GAP_PX for high in heights)
        canvas = Image.new("RGB", (width, height), "white")
        draw = ImageDraw.Draw(canvas)
        title_font, font = ImageFont.load_default(size=13), ImageFont.load_default(size=11)
        for column, name in enumerate(names):
            x, y = GAP_PX + column * (cell + GAP_PX), TITLE_PX
            draw.text((x, 4), name[: cell // 7], fill=INK, font=title_font)
            for row, high in zip(self.rows, heights, strict=True):
                text = f"image: {row.psnr[name]:.2f} dB (Y)" if name in row.psnr else ""
                if column == 0:
                    text = f"{row.image} at {row.place.x},{row.place.y},{row.place.size}"
                draw.text((x, y + 3), text[: cell // 6], fill=PALE, font=font)
                picture = Image.fromarray(np.ascontiguousarray(row.cells[name]))
                larger = picture.resize((high, high), Image.Resampling.NEAREST)
                canvas.paste(larger, (x, y + NAME_PX))
                y += NAME_PX + high + GAP_PX
        return canvas


def _pixels(image: Tensor) -> np.ndarray:
    """(3, H, W) in [0, 1] as uint8 (H, W, 3)."""
    rounded: np.ndarray = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    return rounded
