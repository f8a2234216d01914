"""The sheets of a run's samples inside a page, as many steps as fit."""

import base64
import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

SHOWN_STEPS = 60
QUALITY = 90  # WebP
_STEP = re.compile(r"step-(\d+)\.png")


@dataclass(frozen=True)
class Samples:
    """What is shown of samples: sheets as data URIs, by step."""

    steps: list[int] = field(default_factory=list)
    sheets: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what could not be read

    @property
    def key(self) -> str:
        """Alike for the same samples."""
        return hashlib.sha256("".join(self.sheets).encode()).hexdigest()[:16]


def read_samples(files: Sequence[Path], most_bytes: int) -> Samples:
    """The sheets of a run, oldest first, in at most about `most_bytes` of page; of those that do
    not fit, the first and the newest stay."""
    found = {int(m[1]): path for path in files if (m := _STEP.fullmatch(path.name))}
    sheets, notes = {}, []
    for step in spread(sorted(found), SHOWN_STEPS):
        try:
            sheets[step] = _as_webp(found[step])
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            notes.append(f"samples/{found[step].name} cannot be read ({error}): left out")
    steps = list(sheets)
    while len(steps) > 1 and sum(len(sheets[step]) for step in steps) > most_bytes:
        steps = spread(steps, len(steps) - 1)
    return Samples(steps, [sheets[step] for step in steps], notes)


def spread(steps: Sequence[int], count: int) -> list[int]:
    """`count` of the steps, evenly, with the first and the last; the last alone for one."""
    if count == 1:
        return [steps[-1]]
    places = np.linspace(0, len(steps) - 1, min(count, len(steps))).round().astype(int)
    return [steps[place] for place in places]


def _as_webp(path: Path) -> str:
    """A picture as a data URI."""
    buffer = io.BytesIO()
    with Image.open(path, formats=["PNG"]) as sheet:
        sheet.convert("RGB").save(buffer, format="WEBP", quality=QUALITY, method=2)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
