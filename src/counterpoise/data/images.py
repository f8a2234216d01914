"""Finding and decoding images."""

import contextlib
import os
import threading
import warnings
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from counterpoise.errors import UserError

ORIENTATION = 0x0112  # the EXIF and TIFF tag
# What is decoded, by Pillow's names, whatever a file is called: others of its decoders start
# programs or read vector graphics. (Telephones' MPO is a JPEG.)
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")
# Pillow's limit of pixels, twice its threshold for a warning.
MOST_MILLION_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
# Larger images are decoded one at a time: each may take gigabytes.
LARGE_PIXELS = 16_000_000
_large = threading.Lock()
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")


class UnreadableImageError(UserError):
    """An image file that cannot be decoded; `reason` says why."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = path, reason


def find_images(folder: Path) -> list[Path]:
    """All images in a folder and the folders in it, sorted; hidden ones and link loops left out.

    Raises `UserError` where the folder is missing, is none, has no image in it, or where it or a
    folder in it may not be looked into.
    """
    try:
        exists, is_folder = folder.exists(), folder.is_dir()
    except OSError as error:
        _refuse_folder(error)
    if not exists:
        raise UserError(f"{folder}: no such folder; give a folder of images")
    if not is_folder:
        raise UserError(f"{folder}: not a folder; give the folder that the images are in")
    found: list[Path] = []
    others = 0
    seen: set[str] = set()
    for place, folders, files in os.walk(folder, onerror=_refuse_folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if name.startswith("."):
                continue
            if name.lower().endswith(IMAGE_SUFFIXES):
                found.append(Path(place, name))
            else:
                others += 1
    if not found:
        kinds = ", ".join(IMAGE_SUFFIXES)
        raise UserError(f"{folder}: no images in it ({others} other files); images end in {kinds}")
    return sorted(found)


def _refuse_folder(error: OSError) -> NoReturn:
    raise UserError(
        f"{error.filename}: cannot be looked into ({error.strerror}); "
        "make it readable or give another folder"
    ) from error


def real_path(path: Path) -> Path:
    """Where a path leads, links followed; one that leads back to itself is left as it is."""
    return Path(os.path.realpath(path))


def open_image(path: Path) -> Image.Image:
    """A decoded image, upright by its EXIF orientation; `UnreadableImageError` where damaged."""
    try:
        if path.exists() and not path.is_file():  # to open a pipe is to wait for its writer
            raise UnreadableImageError(path, "not a file, but a folder, a pipe or a device")
        with warnings.catch_warnings():
            # Pillow warns of large images and of sloppy metadata; neither keeps us from using them.
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as image:
                large = image.width * image.height > LARGE_PIXELS
                with _large if large else contextlib.nullcontext():
                    image.load()
                    return ImageOps.exif_transpose(image)
    except UnreadableImageError:
        raise
    except FileNotFoundError:
        raise UnreadableImageError(path, "no such file") from None
    except UnidentifiedImageError:
        raise UnreadableImageError(
            path, f"not an image that can be decoded (of {', '.join(FORMATS)})"
        ) from None
    except Image.DecompressionBombError:
        raise UnreadableImageError(
            path, f"too large: more than {MOST_MILLION_PIXELS} million pixels"
        ) from None
    except Exception as error:  # decoders raise whatever they like on damaged files
        detail = " ".join(str(error).split())
        raise UnreadableImageError(path, f"damaged ({detail})") from error


def read_rgb(path: Path) -> np.ndarray:
    """An image as uint8 RGB (H, W, 3): grey replicated, alpha dropped, 16 bits reduced to 8."""
    image = open_image(path)
    if path.suffix.lower() in (".tif", ".tiff") and image.mode in ("RGB", "RGBA"):
        image = _deep_tiff(path, image) or image
    return to_rgb(image, path)


def to_rgb(image: Image.Image, path: Path) -> np.ndarray:
    """A decoded image of any mode as uint8 RGB (H, W, 3)."""
    if image.mode == "F":
        raise UnreadableImageError(
            path, "holds floats without a known range; convert it to 8 or 16 bits"
        )
    if image.mode.startswith("I"):
        grey = _to_8_bit(np.clip(np.asarray(image, dtype=np.int64), 0, 65535))
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode == "P":
        image = image.convert("RGBA")
    return np.asarray(image.convert("RGB"))


def same_size(page: Any, image: Image.Image) -> bool:
    """Whether a TIFF's page is as large as Pillow's image of it, in either orientation."""
    return {page.imagewidth, page.imagelength} == {image.width, image.height}


def _deep_tiff(path: Path, image: Image.Image) -> Image.Image | None:
    """A colour TIFF of 16 bits as 8-bit RGB, upright; None for all that Pillow can be left to.

    Pillow cuts 16 bits off instead of rounding, and garbles them where each channel has its own
    plane.
    """
    import tifffile

    planar = False
    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            # Sizes that tifffile reads otherwise than Pillow, which has checked them, are a lie.
            if page.dtype != np.uint16 or not same_size(page, image):
                return None
            planar = page.planarconfig == tifffile.PLANARCONFIG.SEPARATE
            pixels = page.asarray()
            tag = page.tags.get(ORIENTATION)
    except Exception as error:  # Pillow has decoded it: it is the compression that is unknown here
        if planar:
            raise UnreadableImageError(
                path, "its 16-bit planes are compressed in a way that cannot be decoded"
            ) from error
        return None
    pixels = np.moveaxis(pixels, 0, -1) if planar else pixels
    reduced = Image.fromarray(np.ascontiguousarray(_to_8_bit(pixels[..., :3])))
    reduced.getexif()[ORIENTATION] = 1 if tag is None else int(tag.value)
    return ImageOps.exif_transpose(reduced)


def _to_8_bit(values: np.ndarray) -> np.ndarray:
    reduced: np.ndarray = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return reduced
