"""Finding and decoding pictures: the one way in which files become pixels."""

import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from counterpoise.errors import UserError

# What is decoded, by Pillow's names, whatever a file is called: others of its decoders start
# programs or read vector graphics. (Telephones' MPO is a JPEG.)
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM", "TGA")
WRITABLE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
IMAGE_SUFFIXES = (*WRITABLE_SUFFIXES, ".avif", ".jp2", ".ppm", ".pgm", ".tga")

# The EXIF tags that are kept: maker, model, date, artist, copyright; the camera's own, the place.
# The others (a TIFF has many) describe pixels as they were.
KEPT_TAGS = {271, 272, 306, 315, 33432, 34665, 34853}
# TIFF's tags, and values of them.
BITS_PER_SAMPLE, PHOTOMETRIC = 258, 262
PLANAR_CONFIGURATION, EXTRA_SAMPLES = 284, 338
MIN_IS_WHITE, SEPARATE_PLANES, PREMULTIPLIED = 0, 2, 1
# Pillow's modes of 8 bits to the ones that they are read as; others become RGB.
MODES = {"1": "L", "L": "L", "LA": "LA", "La": "LA", "PA": "RGBA", "RGBA": "RGBA"}
OTHER_COLOURS = ("CMYK", "YCbCr", "LAB", "HSV")


class UnreadableImageError(UserError):
    """An image file that cannot be decoded, or used; `reason` says why."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = path, reason


@dataclass
class Picture:
    """Pixels of uint8 or uint16: colour (H, W, 1 or 3, grey or RGB), alpha (H, W) or None."""

    colour: np.ndarray
    alpha: np.ndarray | None = None
    icc_profile: bytes | None = None
    exif: bytes | None = None  # `KEPT_TAGS`
    # What could not be kept, in words.
    notes: list[str] = field(default_factory=list)


def find_images(folder: Path) -> list[Path]:
    """All images in a folder and the folders in it, sorted; hidden ones and link loops left out.

    Raises `UserError` where the folder is missing, is none, has no image in it, or where it or a
    folder in it may not be looked into.
    """
    found: list[Path] = []
    seen: set[str] = set()
    for place, folders, files in os.walk(folder, onerror=_refuse_folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        shown = [name for name in files if not name.startswith(".")]
        found += [Path(place, name) for name in shown if name.lower().endswith(IMAGE_SUFFIXES)]
    if not found:
        raise UserError(f"{folder}: no images in it; images end in {', '.join(IMAGE_SUFFIXES)}")
    return sorted(found)


def _refuse_folder(error: OSError) -> NoReturn:
    reason = str(error.strerror).lower()
    raise UserError(f"{error.filename}: {reason}; give a folder of images") from error


def read_rgb(path: Path) -> np.ndarray:
    """An image as uint8 RGB (H, W, 3): grey replicated, alpha dropped, 16 bits reduced to 8."""
    colour = to_8_bit(read_picture(path).colour)
    return np.ascontiguousarray(np.broadcast_to(colour, (*colour.shape[:2], 3)))


def to_8_bit(values: np.ndarray) -> np.ndarray:
    """Values of uint16 (or uint8, as they are) as uint8, rounded."""
    if values.dtype == np.uint8:
        return values
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def read_picture(path: Path) -> Picture:
    """A picture with all that is in it, upright by its EXIF orientation.

    Raises `UnreadableImageError` where it is damaged, no picture, or too large to be one.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns of large images and of sloppy metadata; neither keeps us from using them.
            warnings.simplefilter("ignore")
            Image.init()  # an older Pillow has not all of them
            with Image.open(path, formats=[f for f in FORMATS if f in Image.OPEN]) as image:
                return _decode(path, image)
    except UnreadableImageError:
        raise
    except Exception as error:  # decoders raise whatever they like on damaged files
        reason = f"damaged ({' '.join(str(error).split())})"
        if isinstance(error, FileNotFoundError):
            reason = "no such file"
        elif isinstance(error, UnidentifiedImageError):
            reason = f"not an image that can be decoded (of {', '.join(FORMATS)})"
        elif isinstance(error, Image.DecompressionBombError):
            millions = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000  # Pillow's limit
            reason = f"too large: more than {millions} million pixels"
        raise UnreadableImageError(path, reason) from error


def _decode(path: Path, image: ImageFile.ImageFile) -> Picture:
    tags = getattr(image, "tag_v2", {})
    is_16_bit = 16 in (tags.get(BITS_PER_SAMPLE) or ()) or ";16" in str(image.tile)
    notes = []
    if getattr(image, "is_animated", False):
        notes.append(f"{path.name} is animated or has several pages: the first one is used")
    image.load()
    icc_profile = image.info.get("icc_profile")
    if image.mode == "F":
        raise UnreadableImageError(path, "holds floats of no known range; convert to 8 or 16 bits")
    if image.mode.startswith("I") or (is_16_bit and image.mode in ("L", "LA", "RGB", "RGBA")):
        return Picture(*_deep(path, image), icc_profile, _exif(image), notes)
    if is_16_bit:
        notes.append(f"{path.name}: {image.mode} is read with 8 bits per channel, 16 were reduced")
    if image.mode in OTHER_COLOURS:
        notes.append(f"{path.name} is {image.mode}: it becomes RGB")
        icc_profile = None
    transparent = "transparency" in image.info
    upright = ImageOps.exif_transpose(image)
    exif = _exif(image)
    pixels = np.asarray(upright.convert("RGBA" if transparent else MODES.get(image.mode, "RGB")))
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[2] in (2, 4):
        return Picture(pixels[..., :-1], pixels[..., -1], icc_profile, exif, notes)
    return Picture(pixels, None, icc_profile, exif, notes)


def _exif(image: Image.Image) -> bytes | None:
    tags = image.getexif()
    for tag in set(tags) - KEPT_TAGS:
        del tags[tag]
    return tags.tobytes() if tags else None


def _deep(path: Path, image: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    """Colour and alpha of a PNG or TIFF of 16 bits.

    Pillow decodes 8 of them where it has colour, and does not turn grey upright; OpenCV does.
    PNGs of 16 bits with an EXIF orientation are not known to exist.
    """
    import cv2

    tags = getattr(image, "tag_v2", {})
    is_odd = (
        tags.get(PHOTOMETRIC) == MIN_IS_WHITE
        or tags.get(PLANAR_CONFIGURATION) == SEPARATE_PLANES
        or PREMULTIPLIED in (tags.get(EXTRA_SAMPLES) or ())
    )
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if is_odd or pixels is None or pixels.dtype != np.uint16:
        raise UnreadableImageError(path, "its 16-bit pixels cannot be decoded; convert it to PNG")
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    colour, alpha = pixels[..., 2::-1], None
    if pixels.shape[2] == 4:
        alpha = np.ascontiguousarray(pixels[..., 3])
    if image.mode in ("L", "LA"):
        colour = colour[..., :1]
    return np.ascontiguousarray(colour), alpha


def real_path(path: Path) -> Path:
    """Where a path leads, links followed; one that leads back to itself is left as it is."""
    return Path(os.path.realpath(path))
