import numpy as np
import pytest
from PIL import Image, ImageCms

from counterpoise.data.images import Picture, read_picture
from counterpoise.errors import UserError
from counterpoise.picture_io import write_picture
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
    profile = PROFILE if channels == 3 else None
    picture = Picture(random_pixels(0, 7, 9, channels, dtype), alpha, profile)
    before = picture.colour.copy()
    notes = write_picture(tmp_path / f"p{suffix}", picture)
    np.testing.assert_array_equal(picture.colour, before)
    read = read_picture(tmp_path / f"p{suffix}")
    if with_alpha and channels == 1 and dtype == np.uint16:
        assert "written as RGB with alpha" in notes[0]
        picture.colour = picture.colour.repeat(3, 2)
    else:
        assert notes == []
    equal(read, picture)
    assert read.icc_profile == profile


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_lossy_formats_stay_close(tmp_path, suffix):
    picture = Picture(smooth_pixels(0, 40, 50), None, PROFILE)
    assert write_picture(tmp_path / f"p{suffix}", picture) == []
    read = read_picture(tmp_path / f"p{suffix}")
    assert np.abs(read.colour.astype(int) - picture.colour).mean() < 6
    assert read.icc_profile == PROFILE


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_exif_is_kept_or_told(tmp_path, suffix, dtype):
    exif = Image.Exif()
    exif[271], exif[274] = "a camera", 6
    Image.new("RGB", (9, 7)).save(tmp_path / "photo.jpg", exif=exif)
    picture = read_picture(tmp_path / "photo.jpg")
    assert picture.colour.shape[:2] == (9, 7)
    picture.colour = picture.colour.astype(dtype)
    notes = write_picture(tmp_path / f"p{suffix}", picture)
    with Image.open(tmp_path / f"p{suffix}") as written:
        assert written.size == (7, 9)
        # Upright pixels, and no tag that would turn them once more.
        assert 274 not in written.getexif() or written.getexif()[274] == 1
        assert (written.getexif().get(271) == "a camera") != any("EXIF" in note for note in notes)


def test_tags_that_describe_a_tiffs_pixels_are_not_a_photographers(tmp_path):
    write_picture(tmp_path / "p.tif", Picture(random_pixels(0, 7, 9, 3)))
    read = read_picture(tmp_path / "p.tif")
    assert read.exif is None
    assert write_picture(tmp_path / "again.tif", read) == []


@pytest.mark.parametrize("suffix", [".avif", ".jp2", ".ppm", ".tga"])
def test_formats_that_are_only_read(tmp_path, suffix):
    pixels = np.full((16, 24, 3), (200, 100, 50), np.uint8)
    try:
        Image.fromarray(pixels).save(tmp_path / f"p{suffix}")
    except (KeyError, ValueError, OSError):
        pytest.skip(f"this Pillow has no {suffix}")
    read = read_picture(tmp_path / f"p{suffix}")
    assert np.abs(read.colour.astype(int) - pixels).max() <= 6


@pytest.mark.parametrize("channels", [1, 3])
def test_bitmaps_keep_pixels_but_no_profile(tmp_path, channels):
    picture = Picture(random_pixels(0, 7, 9, channels), None, PROFILE)
    assert "colour profile" in write_picture(tmp_path / "p.bmp", picture)[0]
    read = read_picture(tmp_path / "p.bmp").colour[..., :channels]
    np.testing.assert_array_equal(read, picture.colour)


def test_a_damaged_profile_is_left_out_and_told(tmp_path):
    picture = Picture(random_pixels(0, 6, 6, 3, np.uint16), None, b"\0" * 200)
    assert "colour profile" in write_picture(tmp_path / "p.png", picture)[0]
    equal(read_picture(tmp_path / "p.png"), picture)


def test_what_a_format_cannot_keep_is_said(tmp_path):
    deep = Picture(random_pixels(0, 6, 6, 3, np.uint16), random_pixels(1, 6, 6, 0, np.uint16))
    notes = write_picture(tmp_path / "p.jpg", deep)
    assert len(notes) == 2
    assert "16 were reduced" in notes[0]
    assert "laid on white" in notes[1]
    read = read_picture(tmp_path / "p.jpg")
    assert (read.colour.dtype, read.alpha) == (np.uint8, None)


def test_transparent_is_white_in_jpeg(tmp_path):
    black = np.zeros((16, 16, 3), np.uint8)
    alpha = np.zeros((16, 16), np.uint8)
    alpha[:, 8:] = 255
    write_picture(tmp_path / "p.jpg", Picture(black, alpha))
    read = read_picture(tmp_path / "p.jpg").colour
    assert read[:, :6].min() > 240
    assert read[:, 10:].max() < 15


def test_mistakes(tmp_path):
    picture = Picture(random_pixels(0, 4, 4))
    with pytest.raises(UserError, match="cannot write '.gif'"):
        write_picture(tmp_path / "p.gif", picture)
    for suffix, longest in [(".webp", 16383), (".jpg", 65500)]:
        long = Picture(np.zeros((1, longest + 1, 3), np.uint8))
        with pytest.raises(UserError, match=f"{longest + 1} pixels a side, {suffix} ends at"):
            write_picture(tmp_path / f"p{suffix}", long)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch, dtype):
    (path,) = write_images(tmp_path, 1)
    before = path.read_bytes()

    def full(self, where, **options):
        where.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    monkeypatch.setattr("cv2.imwrite", lambda *arguments: False)
    with pytest.raises(UserError, match="cannot be written"):
        write_picture(path, Picture(random_pixels(0, 4, 4, 3, dtype)))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
