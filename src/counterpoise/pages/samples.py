"""The crops of a run's samples inside a page, as many steps as fit. LR, bicubic and HR are the same
in all steps: kept once, without loss."""

import base64
import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from counterpoise.run_folder import SHEET_COLUMNS, SHEET_GAP_PX, SHEET_HEADER_PX

SHOWN_STEPS, SHOWN_CROPS = 60, 8
CROP_PX = 256  # a crop is shown at this side at most
QUALITY = 90  # WebP, of the outputs
LR, BICUBIC, OUTPUT, HR = range(len(SHEET_COLUMNS))
_STEP = re.compile(r"step-(\d+)\.png")


@dataclass(frozen=True)
class Samples:
    """What is shown of samples: data URIs of strips, with all crops one below the other."""

    steps: list[int] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)  # by step
    lr: str = ""
    bicubic: str = ""
    hr: str = ""
    crops: int = 0
    side_px: int = 0
    key: str = ""  # alike for the same pictures in two runs
    notes: list[str] = field(default_factory=list)  # what could not be read


@lru_cache(maxsize=1)
def read_samples(files: tuple[Path, ...], changed: tuple[int, ...], most_bytes: int) -> Samples:
    """The sheets of a run, oldest first, in at most about `most_bytes` of page; those that were
    read last are not read again, as long as they `changed` at these times."""
    notes: list[str] = []
    found = {int(m[1]): path for path in files if (m := _STEP.fullmatch(path.name))}
    sheets = {}
    for step in spread(sorted(found), SHOWN_STEPS):
        try:
            sheets[step] = _columns(found[step])
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            notes.append(f"samples/{found[step].name} cannot be read ({error}): left out")
    if not sheets:
        return Samples(notes=notes)
    newest = sheets[max(sheets)]
    others = [step for step, one in sheets.items() if not np.array_equal(one[HR], newest[HR])]
    for step in others:
        notes.append(f"samples of step {step} are of other held-out pictures: left out")
        del sheets[step]
    # The outputs are to have at least half of the room.
    for crops in range(min(len(newest[HR]), SHOWN_CROPS), 0, -1):
        lr, bicubic, hr = (_strip(newest[c][:crops], lossless=True) for c in (LR, BICUBIC, HR))
        room = most_bytes - len(lr + bicubic + hr)
        if room >= most_bytes / 2:
            break
    outputs = {step: _strip(one[OUTPUT][:crops]) for step, one in sheets.items()}
    steps = list(outputs)
    while len(steps) > 1 and sum(len(outputs[step]) for step in steps) > room:
        steps = spread(steps, len(steps) - 1)
    return Samples(
        steps,
        [outputs[step] for step in steps],
        lr,
        bicubic,
        hr,
        crops,
        side_px=newest.shape[2],
        key=hashlib.sha256(newest[HR].tobytes()).hexdigest()[:16],
        notes=notes,
    )


def spread(steps: Sequence[int], count: int) -> list[int]:
    """`count` of the steps, evenly, with the first and the last; the last alone for one."""
    if count == 1:
        return [steps[-1]]
    places = np.linspace(0, len(steps) - 1, min(count, len(steps))).round().astype(int)
    return [steps[place] for place in places]


def _columns(path: Path) -> np.ndarray:
    """The crops of a sheet (`SHEET_COLUMNS`, crops, height, width, RGB); else `ValueError`."""
    with Image.open(path, formats=["PNG"]) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    side, odd_columns = divmod(pixels.shape[1] + SHEET_GAP_PX, len(SHEET_COLUMNS))
    height = pixels.shape[0] - SHEET_HEADER_PX + SHEET_GAP_PX
    side -= SHEET_GAP_PX
    if odd_columns or side < 1 or height < side or height % (side + SHEET_GAP_PX):
        raise ValueError("not a sheet of samples of this version")
    tops = range(SHEET_HEADER_PX, pixels.shape[0], side + SHEET_GAP_PX)
    lefts = range(0, pixels.shape[1], side + SHEET_GAP_PX)
    return np.array([[pixels[y : y + side, x : x + side] for y in tops] for x in lefts])


def _strip(crops: np.ndarray, *, lossless: bool = False) -> str:
    """Crops (crops, height, width, RGB) one below the other as a data URI (WebP)."""
    count, side = crops.shape[:2]
    image = Image.fromarray(crops.reshape(count * side, side, 3))
    if side > CROP_PX:
        image = image.resize((CROP_PX, count * CROP_PX), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format="WEBP", lossless=lossless, quality=QUALITY, method=2)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
