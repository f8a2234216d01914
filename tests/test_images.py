import os

import numpy as np
import pytest
import tifffile
from PIL import Image

from counterpoise.data.images import UnreadableImageError, find_images, read_rgb
from counterpoise.errors import UserError
from helpers import random_pixels, smooth_pixels, write_images


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
        (lambda p: None, "no such folder"),
        (lambda p: p.write_text("x"), "not a folder"),
        (lambda p: p.mkdir() or (p / "a.txt").touch(), r"no images in it \(1 other files\)"),
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
    with pytest.raises(UserError, match="private: cannot be looked into .Permission denied"):
        find_images(tmp_path)


def test_an_impossible_folder_name_is_one_line(tmp_path):
    with pytest.raises(UserError, match="x: cannot be looked into"):
        find_images(tmp_path / ("x" * 300))


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA", "CMYK", "YCbCr"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    suffix = {"CMYK": ".jpg", "YCbCr": ".jpg"}.get(mode, ".png")
    rgb = Image.fromarray(smooth_pixels(0, 20, 30))
    expected = rgb.convert(mode)
    expected.save(tmp_path / f"i{suffix}", quality=100, subsampling=0)
    pixels = read_rgb(tmp_path / f"i{suffix}")
    assert (pixels.shape, pixels.dtype) == ((20, 30, 3), np.uint8)
    reference = np.asarray(
        expected.convert("RGBA").convert("RGB") if mode == "P" else expected.convert("RGB")
    )
    assert np.abs(pixels.astype(int) - reference).max() <= (6 if suffix == ".jpg" else 0)


def test_16_bit_grey_is_reduced(tmp_path):
    deep = np.array([[0, 257, 65535, 128, 129]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert read_rgb(tmp_path / "deep.png")[0, :, 0].tolist() == [0, 1, 255, 0, 1]


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_colour_tiff_is_rounded(tmp_path, planar, channels):
    deep = random_pixels(0, 6, 9, channels, np.uint16)
    tifffile.imwrite(
        tmp_path / "deep.tif",
        np.moveaxis(deep, -1, 0) if planar else deep,
        photometric="rgb",
        planarconfig="separate" if planar else "contig",
        extrasamples=["unassalpha"] if channels == 4 else None,
        extratags=[(0x0112, "H", 1, 6, True)],
    )
    expected = np.rot90(np.round(deep[..., :3] / 257), -1)
    np.testing.assert_array_equal(read_rgb(tmp_path / "deep.tif"), expected)


def test_16_bit_planes_that_cannot_be_decoded_are_not_guessed(tmp_path, monkeypatch):
    path = tmp_path / "deep.tif"
    deep = random_pixels(0, 6, 9, 3, np.uint16)
    tifffile.imwrite(path, np.moveaxis(deep, -1, 0), photometric="rgb", planarconfig="separate")

    def refuse(page):
        raise ValueError("compression")

    monkeypatch.setattr(tifffile.TiffPage, "asarray", refuse)
    with pytest.raises(UnreadableImageError, match="planes"):
        read_rgb(path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, orientation):
    upright = Image.fromarray(smooth_pixels(0, 16, 24))
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "i.png", exif=exif)
    np.testing.assert_array_equal(read_rgb(tmp_path / "i.png"), np.asarray(upright))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".bmp"])
def test_an_image_cut_in_half_is_unreadable(tmp_path, suffix):
    (path,) = write_images(tmp_path, 1, 200, 200, suffix)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableImageError, match="image0"):
        read_rgb(path)


def test_other_damage(tmp_path):
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "empty.png").touch()
    for name in ("text.png", "empty.png", "missing.png"):
        with pytest.raises(UnreadableImageError, match=name):
            read_rgb(tmp_path / name)


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    (path,) = write_images(tmp_path, 1)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UnreadableImageError, match="too large"):
        read_rgb(path)


def test_floats_are_refused(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(UnreadableImageError, match="floats"):
        read_rgb(tmp_path / "f.tif")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_no_permission(tmp_path):
    (path,) = write_images(tmp_path, 1)
    path.chmod(0)
    with pytest.raises(UnreadableImageError):
        read_rgb(path)


def test_decoding_is_exact(tmp_path):
    pixels = random_pixels(0, 5, 7)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    np.testing.assert_array_equal(read_rgb(tmp_path / "x.png"), pixels)
