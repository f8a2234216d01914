"""A picture of what a configuration's degradations do to training crops."""

import textwrap
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from counterpoise.data.dataset import CropPairs
from counterpoise.data.degrade import degrade
from counterpoise.data.resize import imresize
from counterpoise.plain_files import atomic_write

CROPS, DRAWS = 4, 4
CELL_PX, TEXT_PX, GAP_PX, LETTERS_A_LINE = 208, 96, 8, 34


def save_sheet(path: Path, pairs: CropPairs) -> None:
    """Write a PNG: a row per crop, with HR, bicubic LR and several draws of LR, their steps
    beneath."""
    across, down = CELL_PX + GAP_PX, CELL_PX + TEXT_PX
    canvas = Image.new("RGB", ((2 + DRAWS) * across, CROPS * down), "white")
    draw = ImageDraw.Draw(canvas)
    for row in range(CROPS):
        hr = np.ascontiguousarray(pairs[row][1].permute(1, 2, 0).numpy())
        cells = [(hr, ["HR"]), (imresize(hr, (pairs.lr_crop_px, pairs.lr_crop_px)), ["bicubic"])]
        for n in range(DRAWS):
            random = np.random.default_rng([pairs.seed, row, n])
            cells.append(degrade(hr, pairs.scale, pairs.degradation, random))
        for column, (pixels, steps) in enumerate(cells):
            x, y = column * across, row * down
            cell = Image.fromarray(pixels).resize((CELL_PX, CELL_PX), Image.Resampling.NEAREST)
            canvas.paste(cell, (x, y))
            text = textwrap.fill(", ".join(steps), LETTERS_A_LINE)
            draw.text((x, y + CELL_PX), text, fill="black")
    with atomic_write(path) as temporary:
        canvas.save(temporary, format="PNG")
