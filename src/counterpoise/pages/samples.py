"""The samples of a run as small pictures inside a page: every crop, over the steps of the training.

LR, bicubic and HR of a crop are the same in all steps, so they are kept once and without loss; the
outputs are compressed, and only as many steps are taken as fit.
"""

import base64
import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from counterpoise.run_folder import SHEET_COLUMNS, SHEET_GAP_PX, SHEET_HEADER_PX

SHOWN_STEPS, SHOWN_CROPS = 60, 8
# A crop is shown at this side at most.
CROP_PX = 256
# A picture that claims to be larger is not opened: it would need more memory than it is worth.
MOST_FILE_PX = 16_384
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
    """The samples that are shown, and what is not."""

    steps: list[int] = field(default_factory=list)
    crops: list[SampleCrop] = field(default_factory=list)
    left_out: list[int] = field(default_factory=list)  # steps whose samples did not fit
    notes: list[str] = field(default_factory=list)


def read_samples(files: Sequence[Path], most_bytes: int) -> Samples:
    """The sheets of a run, oldest first, in at most about `most_bytes` of page."""
    notes: list[str] = []
    found = {int(m[1]): path for path in files if (m := _STEP.fullmatch(path.name))}
    sheets = {}
    for step in spread(sorted(found), SHOWN_STEPS):
        if (tiles := _tiles(found[step], notes)) is not None:
            sheets[step] = tiles
    if not sheets:
        return Samples(notes=notes)
    newest = sheets[max(sheets)]
    crops: list[SampleCrop] = []
    used = 0
    for row in newest[:SHOWN_CROPS]:
        lr, bicubic, hr = (_encoded(row[column], lossless=True) for column in (LR, BICUBIC, HR))
        used += len(lr + bicubic + hr)
        # The outputs are to have at least half of the room.
        if crops and used > most_bytes / 2:
            break
        crops.append(SampleCrop(lr, bicubic, hr, [], row[HR].shape[0], _key(row[HR])))
    if len(newest) > len(crops):
        notes.append(f"{len(crops)} of {len(newest)} crops are shown, to keep this page small")
    outputs = {
        step: [
            _encoded(row[OUTPUT]) if _key(row[HR]) == crop.key else None
            for row, crop in zip(tiles, crops, strict=False)
        ]
        for step, tiles in sheets.items()
    }
    sizes = {step: sum(len(uri or "") for uri in uris) for step, uris in outputs.items()}
    chosen = list(outputs)
    while len(chosen) > 1 and used + sum(sizes[step] for step in chosen) > most_bytes:
        chosen = spread(chosen, len(chosen) - 1)
    for step in chosen:
        if None in outputs[step]:
            notes.append(f"samples of step {step} are of other held-out pictures: left out")
        for place, crop in enumerate(crops):
            crop.outputs.append(outputs[step][place] if place < len(outputs[step]) else None)
    return Samples(chosen, crops, [step for step in sorted(found) if step not in chosen], notes)


def spread(steps: Sequence[int], count: int) -> list[int]:
    """`count` of the steps, evenly, with the first and the last; the last alone for one."""
    if count >= len(steps):
        return list(steps)
    if count == 1:
        return [steps[-1]]
    places = np.linspace(0, len(steps) - 1, count).round().astype(int)
    return [steps[place] for place in dict.fromkeys(places.tolist())]


def _tiles(path: Path, notes: list[str]) -> list[list[np.ndarray]] | None:
    """The crops of a sheet, each a row of `SHEET_COLUMNS`; None, with a note, where it is none."""
    try:
        with Image.open(path, formats=["PNG"]) as sheet:
            if max(sheet.size) > MOST_FILE_PX:
                raise ValueError(f"{sheet.width}x{sheet.height} pixels")
            pixels = np.asarray(sheet.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        notes.append(f"samples/{path.name} cannot be read ({error}): left out")
        return None
    side, odd_columns = divmod(pixels.shape[1] + SHEET_GAP_PX, len(SHEET_COLUMNS))
    height = pixels.shape[0] - SHEET_HEADER_PX + SHEET_GAP_PX
    side -= SHEET_GAP_PX
    if odd_columns or side < 1 or height < side or height % (side + SHEET_GAP_PX):
        notes.append(f"samples/{path.name} is not a sheet of samples of this version: left out")
        return None
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
