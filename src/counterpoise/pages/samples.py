"""The samples of a run as small pictures inside a page: every crop, over the steps of the training.

LR, bicubic and HR of a crop are the same in all steps, so they are kept once and without loss; the
outputs are compressed, and only as many steps are taken as fit.
"""

import base64
import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from counterpoise.run_folder import SHEET_COLUMNS, SHEET_GAP_PX, SHEET_HEADER_PX

SHOWN_STEPS, SHOWN_CROPS = 60, 8
# A crop is shown at this side at most.
CROP_PX = 256
QUALITY = 90  # WebP, of the outputs
LR, BICUBIC, OUTPUT, HR = range(len(SHEET_COLUMNS))
_STEP = re.compile(r"step-(\d+)\.png")


@dataclass(frozen=True)
class SampleCrop:
    """One crop: data URIs, and the outputs by step (None where that sheet lacks the crop)."""

    lr: str
    bicubic: str
    hr: str
    outputs: list[str | None]
    side_px: int
    key: str  # alike for the same picture in two runs


@dataclass(frozen=True)
class Samples:
    """The samples that are shown, and what could not be read."""

    steps: list[int] = field(default_factory=list)
    crops: list[SampleCrop] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_samples(files: Sequence[Path], most_bytes: int) -> Samples:
    """The sheets of a run, oldest first, in at most about `most_bytes` of page."""
    notes: list[str] = []
    found = {int(m[1]): path for path in files if (m := _STEP.fullmatch(path.name))}
    sheets = {}
    for step in spread(sorted(found), SHOWN_STEPS):
        try:
            sheets[step] = _tiles(found[step])
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            notes.append(f"samples/{found[step].name} cannot be read ({error}): left out")
    if not sheets:
        return Samples(notes=notes)
    crops = []
    for place, row in enumerate(sheets[max(sheets)][:SHOWN_CROPS]):
        lr, bicubic, hr = (_encoded(row[column], lossless=True) for column in (LR, BICUBIC, HR))
        key = _key(row[HR])
        outputs = [
            _encoded(tiles[place][OUTPUT])
            if len(tiles) > place and _key(tiles[place][HR]) == key
            else None
            for tiles in sheets.values()
        ]
        crops.append(SampleCrop(lr, bicubic, hr, outputs, row[HR].shape[0], key))

    def used(places: Sequence[int]) -> int:
        outputs = sum(len(crop.outputs[place] or "") for crop in crops for place in places)
        return outputs + sum(len(crop.lr + crop.bicubic + crop.hr) for crop in crops)

    # The outputs are to have at least half of the room.
    while len(crops) > 1 and used(()) > most_bytes / 2:
        crops.pop()
    places = list(range(len(sheets)))
    while len(places) > 1 and used(places) > most_bytes:
        places = spread(places, len(places) - 1)
    crops = [replace(crop, outputs=[crop.outputs[place] for place in places]) for crop in crops]
    steps = [list(sheets)[place] for place in places]
    return Samples(steps, crops, notes)


def spread(steps: Sequence[int], count: int) -> list[int]:
    """`count` of the steps, evenly, with the first and the last; the last alone for one."""
    if count == 1:
        return [steps[-1]]
    places = np.linspace(0, len(steps) - 1, min(count, len(steps))).round().astype(int)
    return [steps[place] for place in places]


def _tiles(path: Path) -> list[list[np.ndarray]]:
    """The crops of a sheet, each a row of `SHEET_COLUMNS`; `ValueError` where it is none."""
    with Image.open(path, formats=["PNG"]) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    side, odd_columns = divmod(pixels.shape[1] + SHEET_GAP_PX, len(SHEET_COLUMNS))
    height = pixels.shape[0] - SHEET_HEADER_PX + SHEET_GAP_PX
    side -= SHEET_GAP_PX
    if odd_columns or side < 1 or height < side or height % (side + SHEET_GAP_PX):
        raise ValueError("not a sheet of samples of this version")
    tops = range(SHEET_HEADER_PX, pixels.shape[0], side + SHEET_GAP_PX)
    lefts = range(0, pixels.shape[1], side + SHEET_GAP_PX)
    return [[pixels[top : top + side, left : left + side] for left in lefts] for top in tops]


def _key(pixels: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()[:16]


def _encoded(pixels: np.ndarray, *, lossless: bool = False) -> str:
    """A picture as a data URI (WebP)."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if max(image.size) > CROP_PX:
        image.thumbnail((CROP_PX, CROP_PX), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format="WEBP", lossless=lossless, quality=QUALITY, method=2)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
