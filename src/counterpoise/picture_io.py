"""Reading and writing a user's pictures without losing what is in them: alpha, grey, 16 bits."""

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from counterpoise.data.images import (
    FORMATS,
    UnreadableImageError,
    open_image,
    same_size,
)
from counterpoise.errors import UserError
from counterpoise.plain_files import atomic_write
from counterpoise.png16 import SIGNATURE as PNG_SIGNATURE
from counterpoise.png16 import write_png

PILLOW_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
KEEPS_16_BITS = (".png", ".tif", ".tiff")
KEEPS_ALPHA = (".png", ".webp", ".tif", ".tiff")
QUALITY = 95  # of JPEG and WebP
# The longest side that a format (for JPEG: its common library) can have.
MOST_SIDE_PX = {".webp": 16383, ".jpg": 65500, ".jpeg": 65500}
# Pillow copies an RGB array into four bytes a pixel; larger pictures are written without it.
PILLOW_MOST_PIXELS = 100_000_000
TIFF_BITS_PER_SAMPLE = 258
TIFF_PHOTOMETRIC = 262
TIFF_EXTRA_SAMPLES = 338
MIN_IS_WHITE = 0
PREMULTIPLIED = 1
ORIENTATION = 0x0112

# EXIF orientation to what makes the picture upright: quarter turns (anticlockwise), then mirror.
UPRIGHT = {1: (0, False), 2: (0, True), 3: (2, False), 4: (2, True)}
UPRIGHT |= {5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False)}


@dataclass
class Picture:
    """Pixels of uint8 or uint16: colour (H, W, 1 or 3, grey or RGB), alpha (H, W) or None."""

    colour: np.ndarray
    alpha: np.ndarray | None = None
    icc_profile: bytes | None = None
    # What could not be kept, in words.
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Header:
    """What the file says beyond what Pillow's decoding of it tells."""

    frames: int
    is_16_bit: bool
    inverted: bool
    premultiplied: bool


def read_picture(path: Path) -> Picture:
    """Decode a picture, upright by its EXIF orientation; `UnreadableImageError` where damaged."""
    image = open_image(path)
    header = _read_header(path)
    notes = []
    if header.frames > 1:
        notes.append(f"{path.name} is animated or has several pages: the first one is used")
    icc_profile = image.info.get("icc_profile")
    if image.mode == "F":
        raise UnreadableImageError(path, "holds floats without a known range; convert it first")
    if image.mode.startswith("I"):
        return _read_deep_grey(path, image, header, notes)
    if header.is_16_bit and image.mode in ("L", "LA", "RGB", "RGBA"):
        picture = _read_16_bit(path, image, premultiplied=header.premultiplied)
        picture.icc_profile, picture.notes = icc_profile, notes
        return picture
    if header.is_16_bit:
        notes.append(f"{path.name}: {image.mode} is read with 8 bits per channel, 16 were reduced")
    if image.mode in ("P", "PA") or "transparency" in image.info:
        transparent = image.mode == "PA" or "transparency" in image.info
        image = image.convert("RGBA" if transparent else "RGB")
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        notes.append(f"{path.name} is {image.mode}: it becomes RGB")
        image, icc_profile = image.convert("RGB"), None
    if image.mode in ("1", "L", "LA", "La"):
        image = image.convert("LA" if "a" in image.mode.lower() else "L")
    elif image.mode != "RGBA":
        image = image.convert("RGB")
    pixels = np.asarray(image)
    if image.mode == "L":
        return Picture(pixels[..., None], None, icc_profile, notes)
    if image.mode in ("LA", "RGBA"):
        return Picture(pixels[..., :-1], pixels[..., -1], icc_profile, notes)
    return Picture(pixels, None, icc_profile, notes)


def check_writable(path: Path, longest_px: int = 1) -> None:
    """Raise `UserError` where the suffix is no format, or one that ends below `longest_px`."""
    suffix = path.suffix.lower()
    if suffix not in PILLOW_FORMATS:
        raise UserError(f"{path}: cannot write '{suffix}'; use {', '.join(PILLOW_FORMATS)}")
    most = MOST_SIDE_PX.get(suffix, longest_px)
    if longest_px > most:
        raise UserError(
            f"{path}: {longest_px} pixels a side, {suffix} ends at {most}; write PNG or TIFF"
        )


def write_picture(path: Path, picture: Picture) -> list[str]:
    """Write a picture whole or not at all, in the format of the suffix; notes on what was lost."""
    colour, alpha, notes = picture.colour, picture.alpha, []
    check_writable(path, max(colour.shape[:2]))
    suffix = path.suffix.lower()
    if colour.dtype == np.uint16 and suffix not in KEEPS_16_BITS:
        notes.append(f"{path.name}: {suffix} has 8 bits per channel, 16 were reduced")
        colour, alpha = _to_8_bit(colour), None if alpha is None else _to_8_bit(alpha)
    if alpha is not None and suffix not in KEEPS_ALPHA:
        notes.append(f"{path.name}: {suffix} has no alpha, the picture was laid on white")
        colour, alpha = _on_white(colour, alpha), None
    channels = colour.shape[2] + (alpha is not None)
    deep = colour.dtype == np.uint16 and channels > 1
    large = colour.shape[0] * colour.shape[1] > PILLOW_MOST_PIXELS
    if deep and channels == 2:  # hardly any program reads 16-bit grey with alpha
        notes.append(f"{path.name}: 16-bit grey with alpha is written as RGB with alpha")
        colour = colour.repeat(3, axis=2)
    with atomic_write(path) as temporary:
        if (deep or large) and suffix == ".png":
            write_png(temporary, colour, alpha, picture.icc_profile)
            return notes
        pixels = colour if alpha is None else np.dstack([colour, alpha])
        if (deep or large) and suffix in (".tif", ".tiff"):
            _write_tiff(temporary, pixels, picture.icc_profile)
        elif large and suffix != ".webp":
            if picture.icc_profile:
                notes.append(f"{path.name}: its colour profile could not be kept")
            _write_with_opencv(temporary, pixels, suffix)
        else:
            image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
            image.save(
                temporary,
                format=PILLOW_FORMATS[suffix],
                quality=QUALITY,
                subsampling=0,  # JPEG's default would halve the resolution of colour
                icc_profile=picture.icc_profile or b"",
            )
    return notes


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without Pillow's warnings of sloppy metadata in a file that it has decoded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _read_header(path: Path) -> _Header:
    with path.open("rb") as file:
        head = file.read(25)
    with _quietly(), Image.open(path, formats=FORMATS) as image:
        tags = getattr(image, "tag_v2", {})
        is_16_bit = 16 in _numbers(tags.get(TIFF_BITS_PER_SAMPLE))
        return _Header(
            frames=_frames(image),
            is_16_bit=head[24] == 16 if head.startswith(PNG_SIGNATURE) else is_16_bit,
            inverted=tags.get(TIFF_PHOTOMETRIC) == MIN_IS_WHITE,
            premultiplied=PREMULTIPLIED in _numbers(tags.get(TIFF_EXTRA_SAMPLES)),
        )


def _numbers(tag: object) -> tuple[object, ...]:
    """The values of a TIFF's tag, which may have one or be missing."""
    return tag if isinstance(tag, tuple) else (tag,)


def _frames(image: Image.Image) -> int:
    """How many frames or pages there are; 1 where those after the first are damaged."""
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:  # decoders raise whatever they like; the first frame has been decoded
        return 1


def _read_deep_grey(path: Path, image: Image.Image, header: _Header, notes: list[str]) -> Picture:
    """A grey picture of 16 bits, or of 32 where the values are those of 16."""
    values = np.asarray(image, dtype=np.int64)
    grey = np.clip(values, 0, 65535)
    if not np.array_equal(grey, values):
        notes.append(f"{path.name}: values below 0 or above 65535 were clipped")
    alpha = None
    transparent = image.info.get("transparency")
    if transparent is not None:
        alpha = np.where(grey == transparent, 0, 65535).astype(np.uint16)
    if header.inverted:  # Pillow inverts those of 8 bits by itself
        grey = 65535 - grey
    return Picture(grey[..., None].astype(np.uint16), alpha, image.info.get("icc_profile"), notes)


def _read_16_bit(path: Path, image: Image.Image, *, premultiplied: bool) -> Picture:
    """A 16-bit picture with colour or alpha; `image` is Pillow's decoding of it."""
    pixels = _decode_tiff(path, image) if path.suffix.lower() in (".tif", ".tiff") else None
    if pixels is None:
        pixels = _decode_with_opencv(path)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[2] not in (1, 2, 3, 4):
        raise UnreadableImageError(path, f"has {pixels.shape[2]} channels")
    has_alpha = pixels.shape[2] in (2, 4)
    colour = pixels[..., :-1] if has_alpha else pixels
    if image.mode in ("L", "LA"):
        colour = colour[..., :1]
    alpha = np.ascontiguousarray(pixels[..., -1]) if has_alpha else None
    if alpha is not None and premultiplied:
        share = np.maximum(alpha, 1)[..., None] / 65535
        colour = (colour / share).round().clip(0, 65535).astype(np.uint16)
    return Picture(np.ascontiguousarray(colour), alpha)


def _decode_tiff(path: Path, image: Image.Image) -> np.ndarray | None:
    """The pixels of a 16-bit TIFF, upright; None where its compression needs another decoder."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            if page.dtype != np.uint16 or not same_size(page, image):
                return None
            pixels: np.ndarray = page.asarray()
            tag = page.tags.get(ORIENTATION)
            planar = page.planarconfig == tifffile.PLANARCONFIG.SEPARATE
    except Exception:  # Pillow has decoded the file: it is the compression that is unknown here
        return None
    if planar and pixels.ndim == 3:
        pixels = np.moveaxis(pixels, 0, -1)
    turns, mirrored = UPRIGHT.get(1 if tag is None else int(tag.value), (0, False))
    pixels = np.rot90(pixels, turns)
    return pixels[:, ::-1] if mirrored else pixels


def _decode_with_opencv(path: Path) -> np.ndarray:
    """The pixels of a 16-bit PNG or TIFF in RGB order, upright."""
    import cv2

    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise UnreadableImageError(path, "its 16-bit pixels cannot be decoded")
    if path.suffix.lower() == ".png":  # OpenCV turns TIFFs upright by itself, and PNGs never
        with _quietly(), Image.open(path, formats=FORMATS) as raw:
            turns, mirrored = UPRIGHT.get(raw.getexif().get(ORIENTATION, 1), (0, False))
        pixels = np.rot90(pixels, turns)
        pixels = pixels[:, ::-1] if mirrored else pixels
    if pixels.ndim == 3 and pixels.shape[2] > 2:
        pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    return pixels


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


def _write_with_opencv(path: Path, pixels: np.ndarray, suffix: str) -> None:
    """Encode grey or RGB pixels as JPEG or BMP, without a second copy of them in memory."""
    import cv2

    pixels = np.require(pixels, requirements=["C", "W"])
    _swap_red_and_blue(pixels)
    try:
        quality = [] if suffix == ".bmp" else [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
        done, encoded = cv2.imencode(suffix, pixels, quality)
    finally:
        _swap_red_and_blue(pixels)
    if not done:
        raise OSError("the encoder refused the picture")
    encoded.tofile(path)


def _swap_red_and_blue(pixels: np.ndarray) -> None:
    """Between RGB and OpenCV's BGR, in place and row by row."""
    if pixels.shape[2] > 2:
        for row in pixels:
            row[:, [0, 2]] = row[:, [2, 0]]


def _to_8_bit(values: np.ndarray) -> np.ndarray:
    reduced: np.ndarray = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return reduced


def _on_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    most = np.iinfo(colour.dtype).max
    share = alpha[..., None].astype(np.float32) / most
    laid: np.ndarray = (colour * share + most * (1 - share)).round().astype(colour.dtype)
    return laid
