"""Which file of a folder of outputs is of which image."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from counterpoise.config import DegradationConfig
from counterpoise.data.catalog import catalog_folder
from counterpoise.errors import UserError
from counterpoise.evaluate.measures import MEASURES
from counterpoise.evaluate.outputs import by_files, match_outputs
from counterpoise.evaluate.scores import score_pairs
from helpers import smooth_pixels


def write(folder, *names, height=48, width=64):
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        Image.fromarray(smooth_pixels(number, height, width)).save(folder / name)
    return folder


def catalog_of(tmp_path, *names):
    return catalog_folder(write(tmp_path / "HR", *names), 4, 19)


@pytest.mark.parametrize(
    "name",
    ["img_1.png", "img_1X4.png", "img_1_SRF_4_SRGAN.png", "img_1-out.webp", "img_1x4_best.png"],
)
def test_common_names(tmp_path, name):
    catalog = catalog_of(tmp_path, "img_1.png", "img_10.png")
    found = match_outputs(write(tmp_path / "out", name), catalog)
    assert found == {"img_1.png": tmp_path / "out" / name}


@pytest.mark.parametrize("name", ["img_11.png", "img_1a.png", "img_1x2.png", "my_img_1.png"])
def test_other_names_are_left_over(tmp_path, name):
    catalog = catalog_of(tmp_path, "img_1.png")
    write(tmp_path / "out", name)
    with pytest.raises(UserError, match="no image in it has the name of one of the 1"):
        match_outputs(tmp_path / "out", catalog)


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        # The longest name is meant, of which the original's mark is no part; an exact one is first.
        (("a_x4.png", "a_b_x4.png", "c.png"), {"a_HR.png": "a_x4.png", "a_b_HR.png": "a_b_x4.png"}),
        (("a.png", "a_bicubic.png"), {"a_HR.png": "a.png"}),
    ],
)
def test_of_several_the_nearest_name_is_meant(tmp_path, outputs, expected):
    catalog = catalog_of(tmp_path, "a_HR.png", "a_b_HR.png")
    found = match_outputs(write(tmp_path / "out", *outputs), catalog)
    assert {k: v.name for k, v in found.items()} == expected


def test_ambiguity_is_refused(tmp_path):
    catalog = catalog_of(tmp_path, "a.png")
    folder = write(tmp_path / "out", "a_SRGAN.png", "a_ESRGAN.png", "a_EDSR.png")
    with pytest.raises(UserError, match="a_EDSR.png, a_ESRGAN.png, a_SRGAN.png are all of a.png"):
        match_outputs(folder, catalog)
    write(tmp_path / "HR" / "more", "a.jpg")
    with pytest.raises(UserError, match="have one name"):
        match_outputs(folder, catalog_folder(tmp_path / "HR", 4, 19))


def test_sizes_are_checked_and_an_uncut_output_is_cut(tmp_path):
    # 50 x 66 is cut to 48 x 64 at x4.
    write(tmp_path / "HR", "a.png", height=50, width=66)
    catalog = catalog_folder(tmp_path / "HR", 4, 19)
    for height, width in ((50, 66), (48, 64)):
        folder = write(tmp_path / "out", "a.png", height=height, width=width)
        pixels = np.asarray(Image.open(folder / "a.png"))
        upscale = by_files({"a.png": folder / "a.png"}, 4)
        output = upscale("a.png", np.zeros((12, 16, 3), np.uint8)) * 255
        assert np.array_equal(output.round().byte().permute(1, 2, 0).numpy(), pixels[:48, :64])
        pairs = catalog.pairs(DegradationConfig())
        scores = score_pairs("m", pairs, upscale, [MEASURES["psnr_y"]])
        assert scores.rows[0][0] == "a.png"
    folder = write(tmp_path / "out", "a.png", height=48, width=60)
    with pytest.raises(UserError, match="a.png is 60x48, not 64x48"):
        by_files({"a.png": folder / "a.png"}, 4)("a.png", np.zeros((12, 16, 3), np.uint8))


def test_a_damaged_output_is_named(tmp_path):
    bad = Path(write(tmp_path / "out", "b.png") / "a.png")
    bad.write_bytes(b"no image")
    with pytest.raises(UserError, match="a.png: not an image"):
        by_files({"a.png": bad}, 4)("a.png", np.zeros((12, 16, 3), np.uint8))
