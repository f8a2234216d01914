import threading
import warnings

import numpy as np
import pytest
from PIL import Image

from counterpoise.config import DataConfig
from counterpoise.data import catalog as catalog_module
from counterpoise.data.catalog import BUILT_IN_HELD_OUT, BUILT_IN_TRAINING, catalog_folder, scan
from counterpoise.data.images import read_rgb
from counterpoise.data.resize import downscale
from counterpoise.errors import UserError
from helpers import smooth_pixels, write_images


def config(folder, **more):
    return DataConfig(**{"folders": (folder,), "crop_px": 32, "held_out_images": 2} | more)


def test_built_in_photographs_are_all_there():
    training, held_out = scan(DataConfig(crop_px=64), 4)
    assert training.names == list(BUILT_IN_TRAINING)
    assert held_out.names == list(BUILT_IN_HELD_OUT)
    assert not set(BUILT_IN_TRAINING) & set(BUILT_IN_HELD_OUT)
    assert "scikit-image" in training.description


def test_held_out_images_are_set_aside(tmp_path):
    write_images(tmp_path, 6)
    training, held_out = scan(config(tmp_path), 4)
    assert (len(training), len(held_out)) == (4, 2)
    assert not set(training.names) & set(held_out.names)
    again = scan(config(tmp_path), 4)
    assert (again[0].names, again[1].names) == (training.names, held_out.names)


def test_at_most_half_is_held_out(tmp_path):
    write_images(tmp_path, 3)
    training, held_out = scan(config(tmp_path, held_out_images=4), 4)
    assert (len(training), len(held_out)) == (2, 1)


def test_held_out_folder(tmp_path):
    write_images(tmp_path / "train", 2)
    write_images(tmp_path / "held", 3)
    training, held_out = scan(config(tmp_path / "train", held_out_folders=(tmp_path / "held",)), 4)
    assert (len(training), len(held_out)) == (2, 3)


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


def test_decoding_in_threads_leaves_the_warning_filters_alone(tmp_path, monkeypatch):
    write_images(tmp_path, 2)
    first_in, second_in, first_out = (threading.Event() for _ in range(3))

    def overlapping(path):
        # The interleaving that hurts: the second comes in, then the first goes out, then the second
        # puts back what it found, which is what the first had set.
        second = path.stem == "image1"
        assert not second or first_in.wait(30)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            (second_in if second else first_in).set()
            assert (first_out if second else second_in).wait(30)
        if not second:
            first_out.set()
        return read_rgb(path)

    monkeypatch.setattr(catalog_module, "read_rgb", overlapping)
    monkeypatch.setattr(catalog_module.os, "cpu_count", lambda: 2)
    before = list(warnings.filters)
    scan(config(tmp_path, held_out_images=1), 4)
    assert list(warnings.filters) == before


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


def test_none_left_is_an_error_with_reasons(tmp_path):
    write_images(tmp_path, 2, 16, 16)
    with pytest.raises(UserError, match="no usable image among 2 .2x smaller than"):
        scan(config(tmp_path), 4)


def test_a_single_image_cannot_be_split(tmp_path):
    write_images(tmp_path, 1)
    with pytest.raises(UserError, match="all of them held out"):
        scan(config(tmp_path), 4)


def test_the_same_file_counts_once(tmp_path):
    write_images(tmp_path / "a", 2)
    (tmp_path / "b").symlink_to(tmp_path / "a", target_is_directory=True)
    training, held_out = scan(config(tmp_path / "a", folders=(tmp_path / "a", tmp_path / "b")), 4)
    assert len(training) + len(held_out) == 2


def test_sides_become_multiples_of_the_scale(tmp_path):
    write_images(tmp_path, 2, 50, 67)
    training, _ = scan(config(tmp_path), 4)
    assert training.load(0).hr.shape == (48, 64, 3)


def test_square_preparation(tmp_path):
    write_images(tmp_path, 2, 80, 120)
    training, _ = scan(config(tmp_path, square_px=40), 4)
    assert training.load(0).hr.shape == (40, 40, 3)


def test_what_does_not_fit_the_cache_is_decoded_again(tmp_path):
    write_images(tmp_path, 4, 512, 512)
    cached, _ = scan(config(tmp_path), 4)
    uncached, _ = scan(config(tmp_path, cache_mib=1), 4)
    assert "0 of them fit in the cache" in uncached.description
    assert "cache" not in cached.description
    for index in range(len(cached)):
        np.testing.assert_array_equal(cached.load(index).hr, uncached.load(index).hr)


def test_an_image_that_vanishes_is_named(tmp_path):
    paths = write_images(tmp_path, 2)
    training, _ = scan(config(tmp_path, cache_mib=0), 4)
    for path in paths:
        path.unlink()
    with pytest.raises(UserError, match=r"image\d.png: no such file; it could be read when"):
        training.load(0)


def test_paired_lr_folders(tmp_path):
    for number, path in enumerate(write_images(tmp_path / "hr", 5)):
        hr = np.asarray(Image.open(path))
        lr = downscale(hr, 4, "bicubic")
        if number == 3:
            lr = lr[1:]
        if number == 4:
            continue
        name = path.stem + ("x4" if number % 2 else "") + ".png"
        (tmp_path / "lr").mkdir(exist_ok=True)
        Image.fromarray(lr).save(tmp_path / "lr" / name)
    training, held_out = scan(
        config(tmp_path / "hr", lr_folders=(tmp_path / "lr",), held_out_images=1), 4
    )
    assert len(training) + len(held_out) == 3
    decoded = training.load(0)
    np.testing.assert_array_equal(decoded.lr, downscale(decoded.hr, 4, "bicubic"))
    reasons = sorted(item.reason for item in training.skipped)
    assert reasons == [
        "has no image of its name in lr_folders",
        "is 16x11, its HR image at x4 asks for 16x12",
    ]


def test_an_ambiguous_pair_is_not_guessed(tmp_path):
    for place in ("a", "b"):
        for path in write_images(tmp_path / place, 2):
            lr = Image.fromarray(downscale(read_rgb(path), 4, "bicubic"))
            (tmp_path / f"lr-{place}").mkdir(exist_ok=True)
            lr.save(tmp_path / f"lr-{place}" / path.name)
    (tmp_path / "a" / "image1.png").rename(tmp_path / "a" / "only.png")
    (tmp_path / "lr-a" / "image1.png").rename(tmp_path / "lr-a" / "only.png")
    (tmp_path / "b" / "image1.png").rename(tmp_path / "b" / "other.png")
    (tmp_path / "lr-b" / "image1.png").rename(tmp_path / "lr-b" / "other-x4.png")
    folders, lr_folders = (
        (tmp_path / f"{prefix}a", tmp_path / f"{prefix}b") for prefix in ("", "lr-")
    )
    training, held_out = scan(
        config(tmp_path, folders=folders, lr_folders=lr_folders, held_out_images=1), 4
    )
    pairs = {e.hr_path.name: e.lr_path.name for e in (*training.entries, *held_out.entries)}
    assert pairs == {"only.png": "only.png", "other.png": "other-x4.png"}
    assert [(s.path.parent.name, s.path.name, s.reason) for s in training.skipped] == [
        (place, "image0.png", "shares its name, so its LR image is ambiguous") for place in "ab"
    ]


def test_an_exact_name_wins_over_a_marked_one(tmp_path):
    for path in write_images(tmp_path / "hr", 2):
        lr = Image.fromarray(downscale(read_rgb(path), 4, "bicubic"))
        (tmp_path / "lr").mkdir(exist_ok=True)
        for name in (path.name, f"{path.stem}-x4.png"):
            lr.save(tmp_path / "lr" / name)
    training, held_out = scan(
        config(tmp_path / "hr", lr_folders=(tmp_path / "lr",), held_out_images=1), 4
    )
    for entry in (*training.entries, *held_out.entries):
        assert entry.lr_path.name == entry.hr_path.name


def test_catalog_folder_takes_everything(tmp_path):
    write_images(tmp_path, 3, 20, 21)
    assert len(catalog_folder(tmp_path, 4, 20)) == 3
