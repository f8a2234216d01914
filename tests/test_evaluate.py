import csv

import numpy as np
import pytest
import torch

from counterpoise.evaluate import (
    COLUMNS,
    Scores,
    image_metrics,
    score_bicubic,
    score_generator,
    to_tensor,
    write_csv,
)
from helpers import random_pixels, smooth_pixels


def test_equal_images_are_perfect():
    image = to_tensor(random_pixels(0, 24, 24))
    metrics = image_metrics(image, image, 4)
    assert metrics["psnr_y"] == metrics["psnr_rgb"] == float("inf")
    assert metrics["ssim_y"] == pytest.approx(1)


def test_outputs_are_rounded_and_clamped_before_measuring():
    hr = to_tensor(random_pixels(0, 24, 24))
    almost = hr + 0.4 / 255
    assert image_metrics(almost, hr, 4)["psnr_rgb"] == float("inf")


def test_the_border_does_not_count():
    hr = to_tensor(random_pixels(0, 24, 24))
    fake = hr.clone()
    fake[:, :4] = 0
    assert image_metrics(fake, hr, 4)["psnr_rgb"] == float("inf")
    assert image_metrics(fake, hr, 3)["psnr_rgb"] < 30


def test_psnr_by_definition():
    hr, fake = (to_tensor(random_pixels(seed, 24, 24)) for seed in (0, 1))
    error = (hr - fake)[:, 4:-4, 4:-4].square().mean().item()
    assert image_metrics(fake, hr, 4)["psnr_rgb"] == pytest.approx(-10 * np.log10(error), abs=1e-4)


def test_a_generator_that_is_bicubic_scores_as_bicubic():
    from counterpoise.models.bicubic import bicubic_upsample

    hr = smooth_pixels(0, 48, 64)
    from counterpoise.data.resize import downscale

    pairs = [("a", downscale(hr, 4, "bicubic"), hr)]
    generator = lambda lr: bicubic_upsample(lr, 4, "half-pixel")  # noqa: E731
    one = score_bicubic(pairs, 4).means()
    other = score_generator(generator, pairs, 4, torch.device("cpu"), "g").means()
    for name in COLUMNS:
        assert other[name] == pytest.approx(one[name], abs=0.02)


def test_csv_has_a_row_per_image_and_a_mean(tmp_path):
    rows = [("a", dict.fromkeys(COLUMNS, 1.0)), ("b", dict.fromkeys(COLUMNS, 3.0))]
    write_csv(tmp_path / "s.csv", {"set": [Scores("m", rows)]})
    with (tmp_path / "s.csv").open() as file:
        read = list(csv.DictReader(file))
    assert [row["image"] for row in read] == ["a", "b", "mean"]
    assert float(read[2]["psnr_y"]) == 2
