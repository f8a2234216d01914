import csv

import numpy as np
import pytest
import torch

from counterpoise.config import DegradationConfig
from counterpoise.data.catalog import catalog_folder
from counterpoise.data.resize import downscale
from counterpoise.errors import UserError
from counterpoise.evaluate.measures import (
    GROUPS,
    HELD_OUT,
    MEASURES,
    choose_measures,
    measure_image,
)
from counterpoise.evaluate.scores import (
    Scores,
    by_bicubic,
    by_generator,
    score_pairs,
    to_tensor,
    write_csv,
)
from counterpoise.metrics import niqe
from counterpoise.models.bicubic import bicubic_upsample
from helpers import random_pixels, smooth_pixels


def image_metrics(fake, hr, border_px):
    return measure_image(fake, hr, border_px, HELD_OUT)


def test_outputs_are_rounded_and_clamped_before_measuring():
    hr = to_tensor(random_pixels(0, 24, 24))
    metrics = image_metrics(hr + 0.4 / 255, hr, 4)
    assert metrics["psnr_y"] == metrics["psnr_rgb"] == float("inf")
    assert metrics["ssim_y"] == pytest.approx(1)


def test_the_border_does_not_count():
    hr = to_tensor(random_pixels(0, 24, 24))
    fake = hr.clone()
    fake[:, :4] = 0
    assert image_metrics(fake, hr, 4)["psnr_rgb"] == float("inf")
    assert image_metrics(fake, hr, 3)["psnr_rgb"] < 30


def test_a_generator_that_is_bicubic_scores_as_bicubic():
    hr = smooth_pixels(0, 48, 64)
    pairs = [("a", downscale(hr, 4, DegradationConfig()), hr)]
    generator = lambda lr: bicubic_upsample(lr, 4, "half-pixel")  # noqa: E731
    ways = by_bicubic(4), by_generator(generator, torch.device("cpu"))
    one, other = (score_pairs("g", pairs, way, HELD_OUT).means() for way in ways)
    for name in GROUPS["psnr"] + GROUPS["ssim"]:
        assert other[name] == pytest.approx(one[name], abs=0.02)
    assert other["rmse"] == pytest.approx(one["rmse"], rel=0.01)
    assert other["sliced_wasserstein"] == pytest.approx(one["sliced_wasserstein"], rel=0.02)


def test_means_leave_out_images_that_are_too_small_and_csv_leaves_them_empty(tmp_path):
    small, large = (to_tensor(smooth_pixels(0, side, side)) for side in (16, 64))
    measures = [MEASURES["psnr_y"], MEASURES["ssim_y"]]
    scores = Scores("m")
    for name, image in (("small", small), ("large", large)):
        fake = (image + 0.05).clamp(0, 1)
        scores.rows.append((name, measure_image(fake, image, 4, measures)))
    assert np.isnan(scores.rows[0][1]["ssim_y"])
    assert scores.means()["ssim_y"] == scores.rows[1][1]["ssim_y"] < 1
    assert np.isnan(Scores("m", scores.rows[:1]).means()["ssim_y"])
    write_csv(tmp_path / "s.csv", {"set": [scores]})
    with (tmp_path / "s.csv").open() as file:
        read = list(csv.DictReader(file))
    assert [row["image"] for row in read] == ["small", "large", "mean"]
    assert read[0]["ssim_y"] == ""
    assert float(read[2]["psnr_y"]) == pytest.approx(scores.means()["psnr_y"], abs=1e-6)


def test_metrics_are_chosen_by_name_or_group():
    measures, notes = choose_measures("PSNR, ssim-y")
    assert [m.name for m in measures] == [*GROUPS["psnr"], "ssim_y"]
    assert notes == []
    with pytest.raises(UserError, match="no metric 'vif'; known: psnr, ssim, psnr_y"):
        choose_measures("psnr,vif")


def test_what_cannot_be_computed_is_said_and_refused_where_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(niqe, "find_spec", lambda name: None)
    measures, notes = choose_measures(None)
    assert {m.name for m in measures} == set(MEASURES) - {"lpips", "niqe"}
    assert [note.split()[0] for note in notes] == ["LPIPS", "NIQE"]
    with pytest.raises(UserError, match="--metrics: LPIPS needs .*alexnet.*; NIQE needs"):
        choose_measures("psnr,lpips,niqe")


def test_bicubic_is_that_of_the_published_tables(shared_data):
    """Our protocol is theirs: bicubic of Set5 at x4 in the README of Maclory/SPSR."""
    catalog = catalog_folder(shared_data / "benchmark" / "Set5" / "HR", 4, 19)
    pairs = catalog.pairs(DegradationConfig())
    scores = score_pairs("bicubic", pairs, by_bicubic(4), [MEASURES["psnr_y"]])
    assert scores.means()["psnr_y"] == pytest.approx(28.42, abs=0.02)
