"""Crops side by side, and the perception-distortion front."""

import numpy as np
import pytest
from PIL import Image

from counterpoise.config import DegradationConfig
from counterpoise.data.catalog import catalog_folder
from counterpoise.evaluate.crops import CROP_PX, ROWS, CropSheet
from counterpoise.evaluate.measures import MEASURES
from counterpoise.evaluate.scores import (
    ImageOutputs,
    Method,
    by_bicubic,
    score_methods,
    to_tensor,
)
from helpers import smooth_pixels


def image(name, wrong_at, error=0.5, height=200, width=240):
    hr = to_tensor(smooth_pixels(0, height, width)) * 0.5
    other = hr.clone()
    top, left = wrong_at
    other[:, top : top + 20, left : left + 20] += error
    lr = np.zeros((height // 4, width // 4, 3), np.uint8)
    rows = {"plain": {"psnr_y": 30.0}, "other": {"psnr_y": 25.0}}
    return ImageOutputs(name, lr, hr, {"plain": hr, "other": other}, rows)


def test_the_crop_is_where_methods_differ_most():
    sheet = CropSheet(4)
    sheet.add(image("a.png", (120, 40)))
    place = sheet.rows[0]
    assert place.size == CROP_PX
    assert place.y <= 120
    assert place.y + CROP_PX >= 140
    assert place.x <= 40
    assert place.x + CROP_PX >= 60
    assert (place.x % 4, place.y % 4) == (0, 0)


def test_the_most_different_images_are_kept():
    sheet = CropSheet(4)
    for number in range(ROWS + 2):
        sheet.add(image(f"{number}.png", (100, 100), error=0.1 * (number + 1)))
    assert [row.image for row in sheet.rows] == ["5.png", "4.png", "3.png", "2.png"]


def test_cells_are_the_methods_pixels(tmp_path):
    sheet = CropSheet(4)
    picture = image("a.png", (120, 40))
    sheet.add(picture)
    (row,) = sheet.rows
    assert list(row.cells) == ["LR (pixels enlarged)", "plain", "other", "HR"]
    expected = (picture.outputs["other"] * 255).round().byte().permute(1, 2, 0).numpy()
    expected = expected[row.y : row.y + CROP_PX, row.x : row.x + CROP_PX]
    assert np.array_equal(row.cells["other"], expected)
    assert np.array_equal(row.cells["plain"], row.cells["HR"])
    sheet.save(tmp_path / "crops.png")
    with Image.open(tmp_path / "crops.png") as drawn:
        drawn = np.asarray(drawn.convert("RGB"))
    # Every pixel of the crop, enlarged by 3 (216 / 72), is in the figure.
    block = np.kron(expected, np.ones((3, 3, 1), np.uint8))
    left = 6 + 2 * (216 + 6)
    assert np.array_equal(drawn[38 : 38 + 216, left : left + 216], block)


def test_the_crop_of_a_small_image_is_smaller():
    sheet = CropSheet(4)
    sheet.add(image("a.png", (4, 4), height=32, width=40))
    row = sheet.rows[0]
    assert (row.x, row.y, row.size) == (4, 4, 24)


def test_bicubic_is_that_of_the_published_tables(shared_data):
    """Our protocol is theirs: bicubic of Set5 at x4 in the README of Maclory/SPSR."""
    catalog = catalog_folder(shared_data / "benchmark" / "Set5" / "HR", 4, 19)
    bicubic = Method("bicubic", DegradationConfig(), by_bicubic(4))
    (scores,) = score_methods(catalog, [bicubic], [MEASURES["psnr_y"]])
    assert scores.means()["psnr_y"] == pytest.approx(28.42, abs=0.02)
