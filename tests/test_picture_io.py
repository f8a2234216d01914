import itertools
import struct
import tempfile
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from counterpoise import picture_io, png16
from counterpoise.data.images import UnreadableImageError
from counterpoise.errors import UserError
from counterpoise.picture_io import Picture, read_picture, write_picture
from counterpoise.png16 import write_png
from helpers import random_pixels, smooth_pixels, write_images

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def equal(one, other):
    np.testing.assert_array_equal(one.colour, other.colour)
    assert one.colour.dtype == other.colour.dtype
    assert (one.alpha is None) == (other.alpha is None)
    if one.alpha is not None:
        np.testing.assert_array_equal(one.alpha, other.alpha)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("with_alpha", [False, True])
def test_lossless_round_trip(tmp_path, suffix, dtype, channels, with_alpha):
    alpha = random_pixels(1, 7, 9, 0, dtype) if with_alpha else None
    picture = Picture(random_pixels(0, 7, 9, channels, dtype), alpha)
    notes = write_picture(tmp_path / f"p{suffix}", picture)
    read = read_picture(tmp_path / f"p{suffix}")
    if with_alpha and channels == 1 and dtype == np.uint16:
        assert "written as RGB with alpha" in notes[0]
        picture.colour = picture.colour.repeat(3, 2)
    else:
        assert notes == []
    equal(read, picture)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_lossy_formats_stay_close(tmp_path, suffix):
    picture = Picture(smooth_pixels(0, 40, 50))
    assert write_picture(tmp_path / f"p{suffix}", picture) == []
    difference = read_picture(tmp_path / f"p{suffix}").colour.astype(int) - picture.colour
    assert np.abs(difference).mean() < 6


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_colour_profile_is_kept(tmp_path, suffix):
    write_picture(tmp_path / f"p{suffix}", Picture(random_pixels(0, 8, 8), None, PROFILE))
    assert read_picture(tmp_path / f"p{suffix}").icc_profile == PROFILE


def test_what_a_format_cannot_keep_is_said(tmp_path):
    deep = Picture(random_pixels(0, 6, 6, 3, np.uint16), random_pixels(1, 6, 6, 0, np.uint16))
    notes = write_picture(tmp_path / "p.jpg", deep)
    assert len(notes) == 2
    assert "16 were reduced" in notes[0]
    assert "laid on white" in notes[1]
    read = read_picture(tmp_path / "p.jpg")
    assert (read.colour.dtype, read.alpha) == (np.uint8, None)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_deep_pictures_keep_their_profile(tmp_path, suffix):
    profiled = Picture(random_pixels(0, 6, 6, 3, np.uint16), None, PROFILE)
    assert write_picture(tmp_path / f"p{suffix}", profiled) == []
    read = read_picture(tmp_path / f"p{suffix}")
    equal(read, profiled)
    assert read.icc_profile == PROFILE


def test_16_bit_cmyk_is_not_taken_for_rgb_with_alpha(tmp_path):
    inks = np.zeros((4, 4, 4), np.uint16)
    inks[..., 0] = 65535  # cyan
    tifffile.imwrite(tmp_path / "c.tif", inks, photometric="separated")
    picture = read_picture(tmp_path / "c.tif")
    assert (picture.colour.dtype, picture.alpha) == (np.uint8, None)
    assert picture.colour[0, 0].tolist() == [0, 255, 255]
    assert "16 were reduced" in picture.notes[0]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_stored_as_ink_is_turned_round(tmp_path, dtype):
    stored = random_pixels(0, 5, 6, 0, dtype)
    tifffile.imwrite(tmp_path / "g.tif", stored, photometric="miniswhite")
    read = read_picture(tmp_path / "g.tif").colour[..., 0]
    np.testing.assert_array_equal(read, np.iinfo(dtype).max - stored)


def test_premultiplied_16_bit_colour_is_divided_by_its_alpha(tmp_path):
    stored = np.full((4, 4, 4), 10000, np.uint16)
    stored[..., 3] = 32768
    stored[0, 0] = 0
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", extrasamples=["assocalpha"])
    picture = read_picture(tmp_path / "a.tif")
    assert picture.colour[1, 1].tolist() == [20000] * 3  # 10000 * 65535 / 32768
    assert picture.colour[0, 0].tolist() == [0] * 3
    assert (picture.alpha[0, 0], picture.alpha[1, 1]) == (0, 32768)


def test_integers_beyond_16_bits_are_said_to_be_clipped(tmp_path):
    for name, value, notes in [("fits", 65535, 0), ("beyond", 65536, 1)]:
        tifffile.imwrite(tmp_path / f"{name}.tif", np.full((4, 4), value, np.uint32))
        picture = read_picture(tmp_path / f"{name}.tif")
        assert picture.colour.max() == 65535
        assert len(picture.notes) == notes


@pytest.mark.parametrize(("channels", "transparent"), [(1, ">H"), (3, ">HHH")])
def test_a_transparent_colour_of_16_bits_becomes_alpha(tmp_path, channels, transparent):
    stored = random_pixels(0, 5, 6, channels, np.uint16)
    path = tmp_path / "t.png"
    write_png(path, stored, None, None)
    insert_chunk(path, b"tRNS", struct.pack(transparent, *map(int, stored[2, 3])))
    expected = np.full((5, 6), 65535, np.uint16)
    expected[2, 3] = 0
    equal(read_picture(path), Picture(stored, expected))


@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.sampled_from([1, 3]),
    st.booleans(),
    st.sampled_from([np.uint8, np.uint16]),
    st.integers(1, 60),
)
def test_png_bands_are_what_another_decoder_reads(
    height, width, channels, with_alpha, dtype, band_bytes
):
    colour = random_pixels(0, height, width, channels, dtype)
    alpha = random_pixels(1, height, width, 0, dtype) if with_alpha else None
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(png16, "BAND_BYTES", band_bytes)
        path = Path(folder) / "p.png"
        write_png(path, colour, alpha, None)
        decoded = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    assert decoded.dtype == dtype
    pixels = decoded[..., None] if decoded.ndim == 2 else decoded
    if with_alpha:
        np.testing.assert_array_equal(pixels[..., 3], alpha)
        pixels = pixels[..., :3]
    expected = np.broadcast_to(colour[..., ::-1], pixels.shape)
    np.testing.assert_array_equal(pixels, expected)


def test_transparent_is_white_in_jpeg(tmp_path):
    black = np.zeros((16, 16, 3), np.uint8)
    alpha = np.zeros((16, 16), np.uint8)
    alpha[:, 8:] = 255
    write_picture(tmp_path / "p.jpg", Picture(black, alpha))
    read = read_picture(tmp_path / "p.jpg").colour
    assert read[:, :6].min() > 240
    assert read[:, 10:].max() < 15


def test_16_bits_are_really_16(tmp_path):
    ramp = np.arange(60000, dtype=np.uint16).reshape(100, 200, 3)
    write_picture(tmp_path / "p.png", Picture(ramp))
    assert len(np.unique(read_picture(tmp_path / "p.png").colour)) == 60000


def add_orientation_to_png(path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    insert_chunk(path, b"eXIf", exif.tobytes()[6:])


def insert_chunk(path, kind, data):
    """Insert a PNG chunk before the pixels."""
    content = path.read_bytes()
    chunk = struct.pack(">I", len(data)) + kind + data
    chunk += struct.pack(">I", zlib.crc32(kind + data))
    at = content.index(b"IDAT") - 4
    path.write_bytes(content[:at] + chunk + content[at:])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("kind", [".png", ".tif", "opencv"])
def test_exif_orientation_in_either_depth(tmp_path, monkeypatch, orientation, dtype, kind):
    stored = random_pixels(0, 6, 9, 3, dtype)
    path = tmp_path / ("p.png" if kind == ".png" else "p.tif")
    tag = [(274, 3, 1, orientation, True)]
    if kind == ".png":
        write_picture(path, Picture(stored))
        add_orientation_to_png(path, orientation)
    else:
        tifffile.imwrite(path, stored, photometric="rgb", extratags=tag)
    if kind == "opencv":  # what a compression that tifffile does not know comes to
        monkeypatch.setattr(picture_io, "_decode_tiff", lambda path, image: None)
    expected = Image.fromarray((stored >> (8 if dtype == np.uint16 else 0)).astype(np.uint8))
    transposed = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    if orientation > 1:
        expected = expected.transpose(transposed[orientation])
    read = read_picture(path).colour
    high_bits = (read >> (8 if dtype == np.uint16 else 0)).astype(np.uint8)
    np.testing.assert_array_equal(high_bits, np.asarray(expected))


def test_palettes_with_and_without_transparency(tmp_path):
    palette = Image.fromarray(smooth_pixels(0, 10, 10)).quantize(8)
    palette.save(tmp_path / "plain.png")
    palette.save(tmp_path / "clear.png", transparency=0)
    assert read_picture(tmp_path / "plain.png").alpha is None
    clear = read_picture(tmp_path / "clear.png")
    np.testing.assert_array_equal(clear.alpha == 0, np.asarray(palette) == 0)


def test_cmyk_and_bilevel(tmp_path):
    Image.fromarray(smooth_pixels(0, 10, 10)).convert("CMYK").save(tmp_path / "c.jpg")
    picture = read_picture(tmp_path / "c.jpg")
    assert picture.colour.shape == (10, 10, 3)
    assert "CMYK" in picture.notes[0]
    Image.fromarray(smooth_pixels(0, 10, 10)).convert("1").save(tmp_path / "b.png")
    assert set(np.unique(read_picture(tmp_path / "b.png").colour)) <= {0, 255}


def test_first_frame_of_an_animation_is_said(tmp_path):
    frames = [Image.fromarray(random_pixels(seed, 8, 8)) for seed in range(3)]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], lossless=True)
    picture = read_picture(tmp_path / "a.webp")
    np.testing.assert_array_equal(picture.colour, np.asarray(frames[0]))
    assert "animated or has several pages" in picture.notes[0]


def test_large_pictures_go_another_way_with_the_same_result(tmp_path, monkeypatch):
    monkeypatch.setattr(picture_io, "PILLOW_MOST_PIXELS", 10)
    for channels, suffix in itertools.product([1, 3], [".png", ".tif", ".bmp"]):
        for with_alpha in [False] if suffix == ".bmp" else [False, True]:
            alpha = random_pixels(1, 7, 9, 0) if with_alpha else None
            picture = Picture(random_pixels(0, 7, 9, channels), alpha)
            assert write_picture(tmp_path / f"p{suffix}", picture) == []
            read = read_picture(tmp_path / f"p{suffix}")
            if suffix == ".bmp":  # OpenCV's grey BMP has a palette
                read.colour = read.colour[..., :channels]
            equal(read, picture)


def test_large_jpegs_go_another_way_and_leave_the_pixels_alone(tmp_path, monkeypatch):
    picture = Picture(smooth_pixels(0, 40, 50), None, PROFILE)
    picture.colour = picture.colour.copy()
    before = picture.colour.copy()
    monkeypatch.setattr(picture_io, "PILLOW_MOST_PIXELS", 10)
    notes = write_picture(tmp_path / "p.jpg", picture)
    assert "colour profile could not be kept" in notes[0]
    np.testing.assert_array_equal(picture.colour, before)
    difference = read_picture(tmp_path / "p.jpg").colour.astype(int) - before
    assert np.abs(difference).mean() < 6


def test_mistakes(tmp_path, monkeypatch):
    picture = Picture(random_pixels(0, 4, 4))
    with pytest.raises(UserError, match="cannot write '.gif'"):
        write_picture(tmp_path / "p.gif", picture)
    for suffix, most in [(".webp", 16383), (".jpg", 65500)]:
        long = Picture(np.zeros((1, most + 1, 3), np.uint8))
        with pytest.raises(UserError, match=f"{most + 1} pixels a side, {suffix} ends at {most}"):
            write_picture(tmp_path / f"p{suffix}", long)
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(UnreadableImageError, match="floats"):
        read_picture(tmp_path / "f.tif")
    assert [p.name for p in tmp_path.iterdir()] == ["f.tif"]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_half_a_picture_is_unreadable(tmp_path, dtype):
    path = tmp_path / "p.png"
    write_picture(path, Picture(random_pixels(0, 90, 90, 3, dtype)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableImageError, match="damaged"):
        read_picture(path)


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    (path,) = write_images(tmp_path, 1)
    before = path.read_bytes()

    def fail(self, where, **options):
        where.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(UserError, match="No space left"):
        write_picture(path, Picture(random_pixels(0, 4, 4)))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
