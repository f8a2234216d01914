"""Writing a user's pictures without losing what is in them: alpha, grey, 16 bits, profiles."""

from pathlib import Path

import numpy as np
from PIL import Image

from counterpoise.data.images import WRITABLE_SUFFIXES, Picture, to_8_bit
from counterpoise.errors import UserError
from counterpoise.plain_files import atomic_write

TIFF = (".tif", ".tiff")
# Pillow copies an RGB array into four bytes a pixel, and has no 16 bits of colour.
BY_OPENCV = (".png", ".jpg", ".jpeg")
KEEPS_16_BITS = (".png", *TIFF)
KEEPS_ALPHA = (".png", ".webp", *TIFF)
QUALITY = 95  # of JPEG and WebP
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
    if colour.dtype == np.uint16 and suffix not in KEEPS_16_BITS:
        notes.append(f"{path.name}: {suffix} has 8 bits per channel, 16 were reduced")
        colour, alpha = to_8_bit(colour), None if alpha is None else to_8_bit(alpha)
    if alpha is not None and suffix not in KEEPS_ALPHA:
        notes.append(f"{path.name}: {suffix} has no alpha, the picture was laid on white")
        most = np.iinfo(colour.dtype).max
        share = alpha[..., None].astype(np.float32) / most
        laid = (colour * share + most * (1 - share)).round()
        colour, alpha = laid.astype(colour.dtype), None
    if alpha is not None and colour.shape[2] == 1 and colour.dtype == np.uint16:
        # Hardly any program reads it.
        notes.append(f"{path.name}: 16-bit grey with alpha is written as RGB with alpha")
        colour = colour.repeat(3, axis=2)
    pixels = colour if alpha is None else np.dstack([colour, alpha])
    keeps = suffix != ".bmp"
    with atomic_write(path) as temporary:
        if suffix in TIFF:
            _write_tiff(temporary, pixels, picture.icc_profile)
        elif suffix in BY_OPENCV and pixels.shape[2] != 2:
            keeps = _write_with_opencv(temporary, pixels, picture)
        else:
            Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(
                temporary,
                quality=QUALITY,
                icc_profile=picture.icc_profile or b"",
                exif=picture.exif or b"",
            )
    if picture.icc_profile and not keeps:
        notes.append(f"{path.name}: its colour profile could not be kept")
    if picture.exif and (not keeps or suffix in TIFF):
        notes.append(f"{path.name}: its EXIF tags could not be kept")
    return notes


def _write_tiff(path: Path, pixels: np.ndarray, icc_profile: bytes | None) -> None:
    import tifffile

    tifffile.imwrite(
        path,
        pixels if pixels.shape[2] > 1 else pixels[..., 0],
        photometric="rgb" if pixels.shape[2] > 2 else "minisblack",
        planarconfig="contig",
        extrasamples=["unassalpha"] if pixels.shape[2] in (2, 4) else None,
        iccprofile=icc_profile,
    )


def _write_with_opencv(path: Path, pixels: np.ndarray, picture: Picture) -> bool:
    """Encode grey or RGB pixels of 8 or 16 bits, without a second copy of them in memory.

    Whether the colour profile and the EXIF tags are in the file: libpng refuses damaged ones.
    """
    import cv2

    options = [cv2.IMWRITE_PNG_COMPRESSION, 3]  # its default makes large files
    if path.suffix.lower() != ".png":
        # JPEG's default would halve the resolution of colour.
        options = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
        options += [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    pixels = np.require(pixels, requirements=["C", "W"])
    _swap_red_and_blue(pixels)
    try:
        asked = {
            cv2.IMAGE_METADATA_ICCP: picture.icc_profile,
            cv2.IMAGE_METADATA_EXIF: picture.exif,
        }
        found = {kind: np.frombuffer(data, np.uint8) for kind, data in asked.items() if data}
        if found and cv2.imwriteWithMetadata(
            str(path), pixels, list(found), list(found.values()), options
        ):
            return True
        if not cv2.imwrite(str(path), pixels, options):
            raise OSError("its encoder could not write it")
        return False
    finally:
        _swap_red_and_blue(pixels)


def _swap_red_and_blue(pixels: np.ndarray) -> None:
    """Between RGB and OpenCV's BGR, in place and row by row."""
    if pixels.shape[2] > 2:
        for row in pixels:
            row[:, [0, 2]] = row[:, [2, 0]]
