import warnings

import numpy as np
import pytest
from PIL import Image

from counterpoise.config import DataConfig
from counterpoise.data.catalog import BUILT_IN, scan
from counterpoise.data.images import read_rgb
from counterpoise.errors import UserError
from helpers import smooth_pixels, write_images


def config(folder, **more):
    return DataConfig(**{"folders": (folder,), "crop_px": 32, "held_out_images": 2} | more)


def test_built_in_photographs_are_all_there():
    training, held_out = scan(DataConfig(crop_px=64), 4)
    assert training.names == BUILT_IN["training"]
    assert held_out.names == BUILT_IN["held_out"]
    assert not set(BUILT_IN["training"]) & set(BUILT_IN["held_out"])
    assert "scikit-image" in training.description


def test_held_out_images_are_set_aside(tmp_path):
    write_images(tmp_path, 6)
    training, held_out = scan(config(tmp_path), 4)
    assert (len(training), len(held_out)) == (4, 2)
    assert not set(training.names) & set(held_out.names)
    filters = list(warnings.filters)
    again = scan(config(tmp_path), 4)
    assert (again[0].names, again[1].names) == (training.names, held_out.names)
    assert list(warnings.filters) == filters  # decoding silences warnings, in threads
    few, at_most_half = scan(config(tmp_path, held_out_images=5), 4)
    assert (len(few), len(at_most_half)) == (3, 3)


def test_held_out_images_are_not_trained_on(tmp_path):
    write_images(tmp_path, 3)
    held = tmp_path / "held"
    write_images(held, 2)
    training, held_out = scan(config(tmp_path, held_out_folders=(held,)), 4)
    assert (len(training), len(held_out)) == (3, 2)
    reasons = {item.path: item.reason for item in training.skipped}
    assert set(reasons) == {held / "image0.png", held / "image1.png"}
    assert set(reasons.values()) == {"is held out (data.held_out_folders)"}
    with pytest.raises(UserError, match="no usable image among 2 .2x is held out"):
        scan(config(held, held_out_folders=(held,)), 4)


def test_bad_images_are_named_and_skipped(tmp_path):
    paths = write_images(tmp_path, 5)
    paths[0].write_bytes(paths[0].read_bytes()[:200])
    Image.fromarray(smooth_pixels(0, 31, 64)).save(tmp_path / "small.png")
    (tmp_path / "text.jpg").write_text("no")
    training, _ = scan(config(tmp_path), 4)
    reasons = {item.path.name: item.reason for item in training.skipped}
    assert set(reasons) == {"image0.png", "small.png", "text.jpg"}
    assert reasons["small.png"] == "smaller than 32 pixels"
    assert "3 skipped" in training.description


@pytest.mark.parametrize(
    ("count", "side", "why"),
    [(2, 16, "no usable image among 2 .2x smaller than"), (1, 48, "all of them held out")],
)
def test_none_left_is_an_error_with_reasons(tmp_path, count, side, why):
    write_images(tmp_path, count, side, side)
    with pytest.raises(UserError, match=why):
        scan(config(tmp_path), 4)


def test_the_same_file_counts_once(tmp_path):
    write_images(tmp_path / "a", 2)
    (tmp_path / "b").symlink_to(tmp_path / "a", target_is_directory=True)
    training, held_out = scan(config(tmp_path / "a", folders=(tmp_path / "a", tmp_path / "b")), 4)
    assert len(training) + len(held_out) == 2


def test_sides_become_multiples_of_the_scale_or_all_the_same(tmp_path):
    write_images(tmp_path, 2, 50, 67)
    for more, shape in (({}, (48, 64, 3)), ({"square_px": 40}, (40, 40, 3))):
        training, _ = scan(config(tmp_path, **more), 4)
        assert training.load(0).hr.shape == shape


def test_what_does_not_fit_the_cache_is_decoded_again(tmp_path):
    write_images(tmp_path, 4, 512, 512)
    cached, _ = scan(config(tmp_path), 4)
    uncached, _ = scan(config(tmp_path, cache_mib=1), 4)
    assert "0 of them fit in the cache" in uncached.description
    assert "cache" not in cached.description
    for index in range(len(cached)):
        np.testing.assert_array_equal(cached.load(index).hr, uncached.load(index).hr)


UNPAIRED = "has no image of its name in lr_folders, or shares it"


@pytest.mark.parametrize(
    ("hr", "lr", "pairs", "reasons"),
    [
        ("a/0 a/1 a/2 a/3", "l/0 l/1x4 l/2-x4", {"0": "0", "1": "1x4", "2": "2-x4"}, [UNPAIRED]),
        ("a/0 a/1 a/2", "l/0 l/0-x4 l/1 l/2", {"1": "1", "2": "2"}, [UNPAIRED]),
        ("a/0 b/0 b/1 b/2", "l/0 m/0 l/1 m/2", {"1": "1", "2": "2"}, [UNPAIRED] * 2),
        ("a/0 a/1 a/2", "l/0 l/1 small/2", {"0": "0", "1": "1"}, ["is 16x11, not 16x12"]),
    ],
)
def test_pairs_by_name(tmp_path, hr, lr, pairs, reasons):
    folders = {}
    for names, width in ((hr, 64), (lr, 16)):
        for name in names.split():
            path = tmp_path / f"{name}.png"
            path.parent.mkdir(exist_ok=True)
            height = 11 if "small" in name else 3 * width // 4
            Image.fromarray(smooth_pixels(0, height, width)).save(path)
            folders.setdefault(width, {})[path.parent] = None
    given = {"folders": tuple(folders[64]), "lr_folders": tuple(folders[16])}
    training, held_out = scan(config(tmp_path, **given, held_out_images=1), 4)
    found = {f.hr_path.stem: f.lr_path.stem for f in (*training.images, *held_out.images)}
    assert found == pairs
    for skipped, reason in zip(training.skipped, reasons, strict=True):
        assert skipped.reason.startswith(reason)
    lr_pixels = read_rgb(training.images[0].lr_path)
    np.testing.assert_array_equal(training.load(0).lr, lr_pixels)
