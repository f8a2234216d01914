"""Finding pictures, and decoding what is in them; what is none or damaged is named."""

import io
import os
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from counterpoise.config import DataConfig
from counterpoise.data.catalog import scan
from counterpoise.data.images import (
    Picture,
    UnreadableImageError,
    find_images,
    read_picture,
    read_rgb,
)
from counterpoise.errors import UserError
from counterpoise.picture_io import write_picture
from counterpoise.upscale import plan_pictures
from helpers import random_pixels, smooth_pixels, write_images

ORIENTATION = 274
TRANSPOSED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def png_chunk(kind, data):
    checked = kind + data
    return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))


def insert_chunk(path, kind, data):
    """Insert a PNG chunk before the pixels."""
    content = path.read_bytes()
    at = content.index(b"IDAT") - 4
    path.write_bytes(content[:at] + png_chunk(kind, data) + content[at:])


def bomb():
    """A small PNG that says that it is huge."""
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0))
    body = png_chunk(b"IDAT", zlib.compress(b"\0"))
    return b"\x89PNG\r\n\x1a\n" + head + body + png_chunk(b"IEND", b"")


def test_finds_nested_images_sorted(tmp_path):
    (tmp_path / "b ü" / "c").mkdir(parents=True)
    names = ["a.PNG", "b ü/x.jpeg", "b ü/c/y.TIFF", "z.webp"]
    for name in [*names, ".hidden.png", "notes.txt"]:
        (tmp_path / name).touch()
    (tmp_path / "b ü" / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert find_images(tmp_path) == sorted(tmp_path / name for name in names)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "no such file or directory; give a folder"),
        (lambda p: p.write_text("x"), "not a directory"),
        (lambda p: p.mkdir() or (p / "a.txt").touch(), "no images in it; images end in"),
    ],
)
def test_a_folder_without_images_is_one_line(tmp_path, make, message):
    folder = tmp_path / "data"
    make(folder)
    with pytest.raises(UserError, match=message):
        find_images(folder)


def test_a_folder_that_may_not_be_looked_into_is_one_line(tmp_path, monkeypatch):
    write_images(tmp_path, 1)
    write_images(tmp_path / "private", 1)
    scandir = os.scandir

    def guarded(place):
        if str(place).endswith("private"):
            raise PermissionError(13, "Permission denied", str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(UserError, match="private: permission denied"):
        find_images(tmp_path)


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA", "CMYK", "YCbCr"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    suffix = {"CMYK": ".jpg", "YCbCr": ".jpg"}.get(mode, ".png")
    expected = Image.fromarray(smooth_pixels(0, 20, 30)).convert(mode)
    expected.save(tmp_path / f"i{suffix}", quality=100, subsampling=0)
    pixels = read_rgb(tmp_path / f"i{suffix}")
    assert (pixels.shape, pixels.dtype) == ((20, 30, 3), np.uint8)
    reference = np.asarray(expected.convert("RGB"))
    assert np.abs(pixels.astype(int) - reference).max() <= (6 if suffix == ".jpg" else 0)


DEEP = random_pixels(0, 6, 9, 4, np.uint16)
RGB, ALPHA, GREY = DEEP[..., :3], DEEP[..., 3], DEEP[..., :1]
CYAN = np.broadcast_to(np.array([65535, 0, 0, 0], np.uint16), (4, 4, 4))
INK = {"photometric": "miniswhite"}


@pytest.mark.parametrize(
    ("stored", "options", "colour", "alpha", "note"),
    [
        (RGB, {"photometric": "rgb"}, RGB, None, ""),
        (RGB, {"photometric": "rgb", "compression": "zlib"}, RGB, None, ""),
        (DEEP, {"photometric": "rgb", "extrasamples": ["unassalpha"]}, RGB, ALPHA, ""),
        (GREY[..., 0].astype(np.uint8), INK, 255 - GREY.astype(np.uint8), None, ""),
        (
            CYAN,
            {"photometric": "separated"},
            np.broadcast_to(np.array([0, 255, 255], np.uint8), (4, 4, 3)),
            None,
            "16 were reduced",
        ),
    ],
)
def test_tiffs_of_all_kinds(tmp_path, stored, options, colour, alpha, note):
    tifffile.imwrite(tmp_path / "a.tif", stored, **options)
    picture = read_picture(tmp_path / "a.tif")
    np.testing.assert_array_equal(picture.colour, colour)
    assert picture.colour.dtype == colour.dtype
    assert (picture.alpha is None) == (alpha is None)
    if alpha is not None:
        np.testing.assert_array_equal(picture.alpha, alpha)
    assert note in " ".join(picture.notes)
    assert bool(picture.notes) == bool(note)
    rounded = colour if colour.dtype == np.uint8 else np.round(colour / 257)  # Pillow would cut
    rgb = read_rgb(tmp_path / "a.tif")
    np.testing.assert_array_equal(rgb, np.broadcast_to(rounded, rgb.shape))


@pytest.mark.parametrize(
    ("stored", "options"),
    [
        (np.moveaxis(RGB, -1, 0), {"photometric": "rgb", "planarconfig": "separate"}),
        (DEEP, {"photometric": "rgb", "extrasamples": ["assocalpha"]}),
        (GREY[..., 0], INK),
        (GREY[..., 0].astype(np.uint32), {}),
    ],
)
def test_odd_tiffs_of_16_bits_are_refused(tmp_path, stored, options):
    tifffile.imwrite(tmp_path / "odd.tif", stored, **options)
    with pytest.raises(UnreadableImageError, match="cannot be decoded; convert it to PNG"):
        read_rgb(tmp_path / "odd.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("suffix", "dtype", "channels"),
    [(".png", np.uint8, 3), (".tif", np.uint8, 3), (".tif", np.uint16, 3), (".tif", np.uint16, 0)],
)
def test_exif_orientation(tmp_path, orientation, suffix, dtype, channels):
    stored = random_pixels(0, 6, 9, channels, dtype)
    path = tmp_path / f"p{suffix}"
    if suffix == ".png":
        cv2.imwrite(str(path), stored[..., ::-1])
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        insert_chunk(path, b"eXIf", exif.tobytes()[6:])
    else:
        tag = (ORIENTATION, 3, 1, orientation, True)
        kind = "rgb" if channels else "minisblack"
        tifffile.imwrite(path, stored, photometric=kind, extratags=[tag])
    high_bits = (stored >> (8 if dtype == np.uint16 else 0)).astype(np.uint8)
    expected = Image.fromarray(high_bits)
    if orientation > 1:
        expected = expected.transpose(TRANSPOSED[orientation])
    read = read_picture(path).colour
    assert read.dtype == dtype
    read = (read >> (8 if dtype == np.uint16 else 0)).astype(np.uint8)
    np.testing.assert_array_equal(read.squeeze(), np.asarray(expected))


def test_palettes_with_and_without_transparency(tmp_path):
    palette = Image.fromarray(smooth_pixels(0, 10, 10)).quantize(8)
    palette.save(tmp_path / "plain.png")
    palette.save(tmp_path / "clear.png", transparency=0)
    assert read_picture(tmp_path / "plain.png").alpha is None
    clear = read_picture(tmp_path / "clear.png")
    np.testing.assert_array_equal(clear.alpha == 0, np.asarray(palette) == 0)


def test_what_cannot_be_kept_is_said(tmp_path):
    Image.fromarray(smooth_pixels(0, 10, 10)).convert("CMYK").save(tmp_path / "c.jpg")
    assert "CMYK" in read_picture(tmp_path / "c.jpg").notes[0]
    Image.new("LAB", (5, 4)).save(tmp_path / "a.tif")
    assert "LAB" in read_picture(tmp_path / "a.tif").notes[0]
    frames = [Image.fromarray(random_pixels(seed, 8, 8)) for seed in range(3)]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], lossless=True)
    picture = read_picture(tmp_path / "a.webp")
    np.testing.assert_array_equal(picture.colour, np.asarray(frames[0]))
    assert "animated or has several pages" in picture.notes[0]


def test_a_wrong_suffix_is_no_matter(tmp_path):
    pixels = random_pixels(0, 5, 7)
    for kind in ("PNG", "BMP", "TIFF"):
        Image.fromarray(pixels).save(tmp_path / "a.jpg", kind)
        assert np.array_equal(read_rgb(tmp_path / "a.jpg"), pixels)


@pytest.mark.parametrize(
    ("name", "make", "reason"),
    [
        ("missing.png", lambda path: None, "no such file"),
        ("empty.png", lambda path: path.touch(), "not an image"),
        ("text.png", lambda path: path.write_text("not an image"), "not an image"),
        # Pillow would hand EPS to another program, whatever the file is called.
        ("eps.png", lambda path: path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n"), "not an image"),
        ("bomb.png", lambda path: path.write_bytes(bomb()), "too large"),
        ("float.tif", lambda p: Image.fromarray(np.zeros((4, 4), np.float32)).save(p), "floats"),
    ],
)
def test_what_is_refused(tmp_path, name, make, reason):
    make(tmp_path / name)
    with pytest.raises(UnreadableImageError, match=f"{name}: .*{reason}"):
        read_rgb(tmp_path / name)


@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [
        *((suffix, np.uint8) for suffix in (".png", ".jpg", ".webp", ".tif", ".bmp")),
        *((suffix, np.uint16) for suffix in (".png", ".tif")),
    ],
)
def test_an_image_cut_in_half_is_unreadable(tmp_path, suffix, dtype):
    path = tmp_path / f"a{suffix}"
    write_picture(path, Picture(random_pixels(0, 90, 90, 3, dtype)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableImageError, match=f"a{suffix}: damaged"):
        read_rgb(path)


def test_a_folder_with_odd_names_and_bad_files(tmp_path):
    """What is usable is used, and the rest is named."""
    folder = tmp_path / "in"
    (folder / "deep er").mkdir(parents=True)
    names = ["a b.png", "n\nl.png", "-rf.png", "\u00fc\u202e.png", "deep er/[bold].png"]
    names += [os.fsdecode(b"\xff\xfe.png"), "x" * 240 + ".png"]
    for seed, name in enumerate(names):
        file = io.BytesIO()
        Image.fromarray(random_pixels(seed, 64, 64)).save(file, "PNG")
        (folder / name).write_bytes(file.getvalue())
    (folder / "broken.png").symlink_to("nowhere")
    (folder / "bomb.png").write_bytes(bomb())
    (folder / "dir.png").mkdir()
    config = DataConfig(folders=(folder,), held_out_images=1, crop_px=64)
    training, held_out = scan(config, 4)
    assert sorted([*training.names, *held_out.names]) == sorted(names)
    reasons = {skipped.path.name: skipped.reason for skipped in training.skipped}
    assert reasons.keys() == {"broken.png", "bomb.png"}
    assert reasons["bomb.png"].startswith("too large")
    inside = plan_pictures(folder, folder / "out", overwrite=False)
    assert len(inside) == len(names) + 2
