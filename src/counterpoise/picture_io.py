"""Reading and writing a user's pictures without losing what is in them: alpha, grey, 16 bits."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from counterpoise.data.images import UnreadableImageError, open_image
from counterpoise.errors import UserError
from counterpoise.run_folder import atomic_write

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
WEBP_MOST_PX = 16383
# Pillow copies an RGB array into four bytes a pixel; larger pictures are written by OpenCV.
PILLOW_MOST_PIXELS = 100_000_000
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
TIFF_BITS_PER_SAMPLE = 258
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


def read_picture(path: Path) -> Picture:
    """Decode a picture, upright by its EXIF orientation; `UnreadableImageError` where damaged."""
    image = open_image(path)
    notes = []
    if getattr(image, "n_frames", 1) > 1 or _frames(path) > 1:
        notes.append(f"{path.name} is animated or has several pages: the first one is used")
    icc_profile = image.info.get("icc_profile")
    if image.mode == "F":
        raise UnreadableImageError(path, "holds floats without a known range; convert it first")
    if image.mode.startswith("I"):
        grey = np.clip(np.asarray(image, dtype=np.int64), 0, 65535).astype(np.uint16)
        return Picture(grey[..., None], None, icc_profile, notes)
    if _is_16_bit(path):
        picture = _read_16_bit(path, image)
        picture.icc_profile, picture.notes = icc_profile, notes
        return picture
    if image.mode == "P" or "transparency" in image.info:
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
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


def write_picture(path: Path, picture: Picture) -> list[str]:
    """Write a picture whole or not at all, in the format of the suffix; notes on what was lost."""
    suffix = path.suffix.lower()
    if suffix not in PILLOW_FORMATS:
        raise UserError(f"{path}: cannot write '{suffix}'; use {', '.join(PILLOW_FORMATS)}")
    colour, alpha, notes = picture.colour, picture.alpha, []
    if colour.dtype == np.uint16 and suffix not in KEEPS_16_BITS:
        notes.append(f"{path.name}: {suffix} has 8 bits per channel, 16 were reduced")
        colour, alpha = _to_8_bit(colour), None if alpha is None else _to_8_bit(alpha)
    if alpha is not None and suffix not in KEEPS_ALPHA:
        notes.append(f"{path.name}: {suffix} has no alpha, the picture was laid on white")
        colour, alpha = _on_white(colour, alpha), None
    if suffix == ".webp" and max(colour.shape[:2]) > WEBP_MOST_PX:
        raise UserError(f"{path}: WebP ends at {WEBP_MOST_PX} pixels a side; write PNG or TIFF")
    pixels = colour if alpha is None else np.dstack([colour, alpha])
    deep = pixels.dtype == np.uint16 and pixels.shape[2] > 1
    large = pixels.shape[0] * pixels.shape[1] > PILLOW_MOST_PIXELS
    if (deep or large) and pixels.shape[2] == 2:
        # Hardly any program reads 16-bit grey with alpha, and OpenCV writes no grey with alpha.
        notes.append(f"{path.name}: grey with alpha is written as RGB with alpha")
        pixels = pixels[..., [0, 0, 0, 1]]
    with atomic_write(path) as temporary:
        if deep and suffix != ".png":
            _write_deep_tiff(temporary, pixels, picture.icc_profile)
        elif deep or large:
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


def _frames(path: Path) -> int:
    with Image.open(path) as image:
        return getattr(image, "n_frames", 1)


def _is_16_bit(path: Path) -> bool:
    """Whether the file has 16 bits per channel, which Pillow reads as 8 where there is colour."""
    with path.open("rb") as file:
        head = file.read(25)
    if head.startswith(PNG_SIGNATURE):
        return head[24] == 16
    with Image.open(path) as image:
        tags = getattr(image, "tag_v2", {})
        return 16 in tags.get(TIFF_BITS_PER_SAMPLE, ())


def _read_16_bit(path: Path, image: Image.Image) -> Picture:
    """A 16-bit picture with colour or alpha; `image` is Pillow's decoding of it."""
    pixels = _decode_tiff(path) if path.suffix.lower() in (".tif", ".tiff") else None
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
    return Picture(np.ascontiguousarray(colour), alpha)


def _decode_tiff(path: Path) -> np.ndarray | None:
    """The pixels of a 16-bit TIFF, upright; None where its compression needs another decoder."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
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
        with Image.open(path) as raw:
            turns, mirrored = UPRIGHT.get(raw.getexif().get(ORIENTATION, 1), (0, False))
        pixels = np.rot90(pixels, turns)
        pixels = pixels[:, ::-1] if mirrored else pixels
    if pixels.ndim == 3 and pixels.shape[2] > 2:
        pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    return pixels


def _write_deep_tiff(path: Path, pixels: np.ndarray, icc_profile: bytes | None) -> None:
    import tifffile

    tifffile.imwrite(
        path,
        pixels,
        photometric="rgb",
        planarconfig="contig",
        extrasamples=["unassalpha"] if pixels.shape[2] == 4 else None,
        iccprofile=icc_profile,
    )


def _write_with_opencv(path: Path, pixels: np.ndarray, suffix: str) -> None:
    """Encode grey, RGB or RGBA pixels; without a second copy of them in memory."""
    import cv2

    pixels = np.require(pixels, requirements=["C", "W"])
    _swap_red_and_blue(pixels)
    try:
        done, encoded = cv2.imencode(suffix, pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
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
