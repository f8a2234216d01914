"""Pictures and folders that somebody made to break their reader."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from counterpoise.config import DataConfig
from counterpoise.data.catalog import scan
from counterpoise.data.images import UnreadableImageError, read_rgb
from counterpoise.picture_io import read_picture
from counterpoise.upscale import plan_pictures
from helpers import random_pixels


def png_of_size(width, height, rows=b"\0"):
    """A PNG that says this size."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def refusal(path):
    messages = []
    for read in (read_rgb, read_picture):
        with pytest.raises(UnreadableImageError) as caught:
            read(path)
        messages.append(caught.value.reason)
    assert messages[0] == messages[1]
    return messages[0]


@pytest.mark.parametrize("side", [20_000, 50_000, 2**31 - 1])
def test_bombs_are_refused_by_what_they_say(tmp_path, side):
    (tmp_path / "a.png").write_bytes(png_of_size(side, side))
    assert refusal(tmp_path / "a.png") in (
        "too large: more than 178 million pixels",
        "damaged (Invalid dimensions)",
    )


def test_what_is_no_file_is_not_opened(tmp_path):
    """To open a pipe is to wait for its writer."""
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    (tmp_path / "folder.png").mkdir()
    for name in ("pipe.png", "device.png", "folder.png"):
        assert refusal(tmp_path / name) == "not a file, but a folder, a pipe or a device"
    (tmp_path / "broken.png").symlink_to("nowhere")
    assert refusal(tmp_path / "broken.png") == "no such file"


@pytest.mark.parametrize("content", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b""])
def test_only_pictures_formats_are_decoded(tmp_path, content):
    """Pillow hands EPS to another program, whatever the file is called."""
    (tmp_path / "a.png").write_bytes(content)
    assert refusal(tmp_path / "a.png").startswith("not an image that can be decoded")


def test_a_wrong_suffix_is_no_matter(tmp_path):
    pixels = random_pixels(0, 5, 7)
    for kind in ("PNG", "BMP", "TIFF"):
        Image.fromarray(pixels).save(tmp_path / "a.jpg", kind)
        assert np.array_equal(read_rgb(tmp_path / "a.jpg"), pixels)


def test_other_colours_become_rgb(tmp_path):
    Image.new("LAB", (5, 4)).save(tmp_path / "a.tif")
    assert read_rgb(tmp_path / "a.tif").shape == (4, 5, 3)
    assert read_picture(tmp_path / "a.tif").notes == ["a.tif is LAB: it becomes RGB"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"])
def test_truncated_anywhere(tmp_path, kind):
    """A picture that lacks its end is refused, or read as large as it says."""
    file = io.BytesIO()
    Image.fromarray(random_pixels(0, 16, 16)).save(file, kind)
    whole = file.getvalue()
    path, reasons = tmp_path / "a.png", []
    for kept in range(0, len(whole) - 1, max(1, len(whole) // 25)):
        path.write_bytes(whole[:kept])
        try:
            assert read_rgb(path).shape == (16, 16, 3)
        except UnreadableImageError as error:
            reasons.append(error.reason)
        try:
            assert read_picture(path).colour.shape[:2] == (16, 16)
        except UnreadableImageError as error:
            reasons.append(error.reason)
    assert reasons
    assert all(reasons)


@pytest.mark.parametrize("shape", [(1, 1), (1, 100_000), (100_000, 1)])
def test_extreme_shapes(tmp_path, shape):
    Image.fromarray(np.zeros((*shape, 3), np.uint8)).save(tmp_path / "a.png")
    assert read_rgb(tmp_path / "a.png").shape == (*shape, 3)
    assert read_picture(tmp_path / "a.png").colour.shape == (*shape, 3)


def test_a_folder_full_of_traps(tmp_path):
    """What is usable is used, the rest is named, and nothing is waited for."""
    folder = tmp_path / "in"
    (folder / "deep er").mkdir(parents=True)
    names = ["a b.png", "n\nl.png", "-rf.png", "\u00fc\u202e.png", "deep er/[bold].png"]
    names += [os.fsdecode(b"\xff\xfe.png"), "x" * 240 + ".png"]
    for seed, name in enumerate(names):
        file = io.BytesIO()
        Image.fromarray(random_pixels(seed, 64, 64)).save(file, "PNG")
        (folder / name).write_bytes(file.getvalue())
    os.mkfifo(folder / "pipe.png")
    (folder / "self.png").symlink_to("self.png")
    (folder / "loop").symlink_to(".")
    (folder / "deep er" / "up").symlink_to("..")
    (folder / "zero.png").symlink_to("/dev/zero")
    (folder / "bomb.png").write_bytes(png_of_size(50_000, 50_000))
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "dir.png").mkdir()
    config = DataConfig(folders=(folder,), held_out_images=1, crop_px=64)
    training, held_out = scan(config, 4)
    assert sorted([*training.names, *held_out.names]) == sorted(names)
    reasons = {skipped.path.name: skipped.reason for skipped in training.skipped}
    assert reasons.keys() == {"pipe.png", "self.png", "zero.png", "bomb.png"}
    assert reasons["bomb.png"].startswith("too large")
    inside = plan_pictures(folder, folder / "out", overwrite=False)
    assert len(inside) == len(names) + 4
