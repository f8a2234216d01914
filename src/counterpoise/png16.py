"""Writing PNG of 8 or 16 bits band by band, with its colour profile and without a second copy."""

import struct
import zlib
from pathlib import Path
from typing import IO

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by channels: grey, grey with alpha, RGB, RGB with alpha
UP = 2  # the filter: every byte minus the one above it
BAND_BYTES = 1 << 22
LEVEL = 3  # of zlib; higher ones cost much time for a few percent of photographs


def write_png(
    path: Path, colour: np.ndarray, alpha: np.ndarray | None, icc_profile: bytes | None
) -> None:
    """Write colour (H, W, 1 or 3) and alpha (H, W) of uint8 or uint16 as PNG; not atomic.

    Pillow writes no 16-bit colour, and holds a second copy of what it writes, as OpenCV does.
    Source: PNG specification (third edition), sections 5, 9 and 11.
    """
    height, width, channels = colour.shape
    channels += alpha is not None
    row_bytes = width * channels * colour.itemsize
    above = np.zeros((1, row_bytes), np.uint8)
    rows = max(1, BAND_BYTES // row_bytes)
    deflate = zlib.compressobj(LEVEL)
    with path.open("wb") as file:
        file.write(SIGNATURE)
        kind = (8 * colour.itemsize, COLOUR_TYPES[channels], 0, 0, 0)
        _write_chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, *kind))
        if icc_profile:
            _write_chunk(file, b"iCCP", b"ICC profile\0\0" + zlib.compress(icc_profile))
        for y in range(0, height, rows):
            band = colour[y : y + rows]
            if alpha is not None:
                band = np.dstack([band, alpha[y : y + rows]])
            big_endian = np.ascontiguousarray(band, dtype=band.dtype.newbyteorder(">"))
            raw = big_endian.view(np.uint8).reshape(len(band), row_bytes)
            filtered = np.full((len(band), 1 + row_bytes), UP, np.uint8)
            filtered[:, 1:] = raw - np.vstack([above, raw[:-1]])
            above = raw[-1:]
            _write_chunk(file, b"IDAT", deflate.compress(filtered.tobytes()))
        _write_chunk(file, b"IDAT", deflate.flush())
        _write_chunk(file, b"IEND", b"")


def _write_chunk(file: IO[bytes], kind: bytes, data: bytes) -> None:
    file.write(struct.pack(">I", len(data)) + kind)
    file.write(data)
    file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))
