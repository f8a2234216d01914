"""Writing a user's pictures without losing what is in them: alpha, grey, EXIF, colour profiles."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from counterpoise.data.images import WRITABLE_SUFFIXES, Picture
from counterpoise.errors import UserError
from counterpoise.plain_files import atomic_write

KEEPS_ALPHA = (".png", ".webp", ".tif", ".tiff")
# Of JPEG and WebP the quality; JPEG's colours as fine as its greys; of PNG how hard it tries.
OPTIONS: dict[str, Any] = {"quality": 95, "subsampling": 0, "compress_level": 3}
# The longest side that a format (for JPEG: its common library) can have.
LONGEST_SIDE_PX = {".webp": 16383, ".jpg": 65500, ".jpeg": 65500}


def check_writable(path: Path, longest_px: int = 1) -> None:
    """Raise `UserError` where the suffix is no format, or one that ends below `longest_px`."""
    suffix = path.suffix.lower()
    if suffix not in WRITABLE_SUFFIXES:
        raise UserError(f"{path}: cannot write '{suffix}'; use {', '.join(WRITABLE_SUFFIXES)}")
    longest = LONGEST_SIDE_PX.get(suffix, longest_px)
    if longest_px > longest:
        size = f"{longest_px} pixels a side, {suffix} ends at {longest}"
        raise UserError(f"{path}: {size}; write PNG or TIFF")


def write_picture(path: Path, picture: Picture) -> list[str]:
    """Write a picture whole or not at all, in the format of the suffix; notes on what was lost."""
    colour, alpha, notes = picture.colour, picture.alpha, []
    check_writable(path, max(colour.shape[:2]))
    suffix = path.suffix.lower()
    if alpha is not None and suffix not in KEEPS_ALPHA:
        notes.append(f"{path.name}: {suffix} has no alpha, the picture was laid on white")
        share = alpha[..., None].astype(np.float32) / 255
        colour, alpha = (colour * share + 255 * (1 - share)).round().astype(np.uint8), None
    pixels = colour if alpha is None else np.dstack([colour, alpha])
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    facts: dict[str, Any] = {"icc_profile": picture.icc_profile or b"", "exif": picture.exif or b""}
    with atomic_write(path) as temporary:
        image.save(temporary, **OPTIONS, **facts)
    if any(facts.values()) and suffix == ".bmp":
        notes.append(f"{path.name}: BMP has no place for its colour profile and EXIF tags")
    return notes
