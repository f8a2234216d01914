"""Fuzzes the readers of pictures: for training and evaluation (`read_rgb`), and for `upscale`.

    python fuzz/fuzz_images.py --count 50000 --seed 1

PNG, JPEG, WebP, TIFF, BMP and GIF in every mode and depth, animated and turned, truncated, with
damaged bytes, with sizes that lie, under the wrong suffix.
"""

import io
import logging
import random
import struct
import sys
import tempfile
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import tifffile
from harness import Target, UnclearError, main
from mutate import TOKENS, mutated
from PIL import Image, PngImagePlugin

from counterpoise.data.images import IMAGE_SUFFIXES, read_rgb
from counterpoise.picture_io import read_picture, write_picture

MOST_BYTES = 30_000
SIZES = (0, 1, 2, 255, 256, 65535, 65536, 50_000, 100_000, 1 << 31, (1 << 32) - 1)


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG with its checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """A PNG that says these sizes, whatever its rows are."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@cache
def seeds() -> list[bytes]:
    """Small pictures of every kind."""
    found: list[bytes] = []
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 4), np.uint8)
    whole = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6

    def add(image: Image.Image, kind: str, **options: object) -> None:
        file = io.BytesIO()
        image.save(file, kind, **options)
        found.append(file.getvalue())

    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257) if mode == "I;16" else None
        image = image or whole.convert("RGB" if mode == "P" else mode)
        image = image.quantize(16) if mode == "P" else image
        add(image, "PNG")
        add(image, "TIFF")
    for mode in ("L", "RGB", "CMYK", "YCbCr"):
        add(whole.convert("RGB").convert(mode), "JPEG", exif=exif, icc_profile=b"x" * 300)
    for mode in ("CMYK", "LAB", "F", "I"):
        image = whole.convert("RGB" if mode == "LAB" else "L" if mode in "FI" else mode)
        add(image.convert(mode) if mode != "LAB" else Image.new("LAB", (5, 4)), "TIFF")
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        more = [whole.convert("RGB").rotate(turn) for turn in (90, 180)]
        add(whole.convert("RGB"), kind, save_all=True, append_images=more)
    add(whole.convert("P"), "GIF", transparency=3)
    add(whole.quantize(8), "PNG", transparency=bytes([0, 128, 255]))
    add(whole.convert("RGB"), "BMP")
    add(whole, "WEBP", exif=exif)
    add(whole.convert("RGB"), "TIFF", compression="jpeg")
    text = PngImagePlugin.PngInfo()
    text.add_text("a", "b" * 100_000, zip=True)
    add(whole, "PNG", pnginfo=text, icc_profile=b"\0" * 50_000)
    deep = pixels.astype(np.uint16) * 257
    for array, options in (
        (deep[..., :3], {"photometric": "rgb"}),
        (deep, {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
        (deep[..., :3].transpose(2, 0, 1), {"photometric": "rgb", "planarconfig": "separate"}),
        (deep[..., :3].astype(np.float32), {"photometric": "rgb"}),
        (deep[..., 0].astype(np.float32), {}),
        (deep[..., 0], {"compression": "zlib"}),
    ):
        file = io.BytesIO()
        tifffile.imwrite(file, array, **options)
        found.append(file.getvalue())
    deep_rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep[..., :3])
    found += [
        png(12, 9, 16, 2, deep_rows),
        png(1, 1, 8, 2, b"\0abc"),
        png(100_000, 1, 8, 0, b"\0" * 100_001),
        png(1, 100_000, 1, 0, b"\0" * 200_000),
        png(50_000, 50_000, 1, 0, b"\0" * 1_000_000),
        png(13_000, 13_000, 8, 2, b"\0" * 1000),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
        b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
    ]
    return found


def make(source: random.Random) -> bytes:
    """A mutated picture; some with other sizes in a header that is right otherwise."""
    data, other = source.choice(seeds()), source.choice(seeds())
    if data[:8] == b"\x89PNG\r\n\x1a\n" and source.random() < 0.3:
        head = bytearray(data[16:29])
        at = source.choice((0, 4))
        head[at : at + 4] = struct.pack(">I", source.choice(SIZES))
        if source.random() < 0.5:
            head[source.randrange(8, 13)] = source.randrange(20)
        return data[:8] + chunk(b"IHDR", bytes(head)) + data[33:]
    if data[:4] in (b"II*\0", b"MM\0*") and source.random() < 0.5:
        changed = bytearray(data)
        for _ in range(source.choice((1, 2, 4))):
            at = source.randrange(max(1, len(changed) - 4))
            order = "<I" if data[:1] == b"I" else ">I"
            changed[at : at + 4] = struct.pack(order, source.choice(SIZES))
        return bytes(changed)
    return mutated(data, other, source, MOST_BYTES, TOKENS)


@cache
def _folder() -> Path:
    # Libraries that are asked about damaged files say so; the answer is what counts here.
    logging.disable(logging.CRITICAL)
    return Path(tempfile.mkdtemp(prefix="fuzz-images-"))


def check(data: bytes, source: random.Random) -> str:
    """Read a picture as training does, or as `upscale` does, which writes it again."""
    path = _folder() / f"in{source.choice(IMAGE_SUFFIXES)}"
    path.write_bytes(data)
    if source.random() < 0.5:
        pixels = read_rgb(path)
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise UnclearError(f"not RGB of 8 bits: {pixels.shape} {pixels.dtype}")
        return "read"
    picture = read_picture(path)
    if picture.colour.dtype not in (np.uint8, np.uint16) or picture.colour.shape[2] not in (1, 3):
        raise UnclearError(f"not a picture: {picture.colour.shape} {picture.colour.dtype}")
    if picture.colour.size < 1_000_000:
        write_picture(_folder() / f"out{source.choice(IMAGE_SUFFIXES)}", picture)
    return "read"


TARGET = Target("images", make, check)

if __name__ == "__main__":
    sys.exit(main(__doc__, TARGET, 50_000, atheris=True))
