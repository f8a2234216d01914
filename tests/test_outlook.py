"""Whether more training pays: planted trends, honest doubt, and a check of the intervals."""

import numpy as np
import pytest
from scipy.stats import linregress, t

from counterpoise.outlook import nearest_to_ideal, outlook, stage_rows, trend


def rows(perception, distortion=10.0, count=12, noise=0.0, seed=0):
    """Evaluations whose measures are functions of the number, or constants."""
    random = np.random.default_rng(seed)

    def value(of, i):
        exact = of(i) if callable(of) else of
        return exact * float(np.exp(noise * random.standard_normal()))

    return [
        {
            "step": 100 * (i + 1),
            "stage": "train",
            "rmse": value(distortion, i),
            "sliced_wasserstein": value(perception, i),
        }
        for i in range(count)
    ]


def test_a_falling_measure_pays():
    found = outlook(rows(lambda i: 100 * 0.99**i, noise=0.001))
    assert found.more_training_pays == "yes"
    assert "sliced Wasserstein distance still falling" in found.reason
    assert (found.first_step, found.last_step) == (500, 1200)
    assert found.trends[0].change == pytest.approx(0.99**7 - 1, abs=0.005)


@pytest.mark.parametrize(
    ("evaluations", "verdict", "why"),
    [
        (rows(50.0, lambda i: 10 * 0.99**i), "yes", "RMSE still falling"),
        (rows(100.0, noise=0.001), "no", "less than 2 % would be gained"),
        (rows(lambda i: 100 * 1.01**i, noise=0.001), "no", "less than 2 % would be gained"),
        (rows(100.0, noise=0.1), "unknown", "too uncertain"),
        (rows(100.0, count=5), "unknown", "takes 6 held-out evaluations, and there are 5"),
        ([], "unknown", "takes 6"),
        ([{"step": i, "stage": "train", "psnr_y": 28.0} for i in range(9)], "unknown", "older"),
        # Only the latest third is looked at.
        (rows(lambda i: 100 * 0.9 ** min(i, 15), count=40, noise=0.001), "no", "over 13 held-out"),
    ],
)
def test_verdicts(evaluations, verdict, why):
    found = outlook(evaluations)
    assert found.more_training_pays == verdict
    assert why in found.reason


@pytest.mark.parametrize("value", [None, float("nan"), "7"])
def test_what_is_not_a_number_is_not_judged(value):
    evaluations = rows(100.0)
    evaluations[-1]["rmse"] = value
    found = outlook(evaluations)
    assert found.more_training_pays == "unknown"
    assert "not finite" in found.reason
    assert nearest_to_ideal(evaluations) is None


def test_interval_against_scipy():
    random = np.random.default_rng(3)
    steps = np.arange(1.0, 11.0) * 500
    # Neighbours that alternate: nothing to widen for.
    noise = 0.01 * np.abs(random.standard_normal(10)) * np.tile([1, -1], 5)
    values = np.exp(-steps / 20_000 + noise)
    found = trend("rmse", steps, values)
    fit = linregress(steps, np.log(values))
    half = t.ppf(0.975, 8) * fit.stderr
    expected = np.expm1((fit.slope + np.array([-half, 0, half])) * (steps[-1] - steps[0]))
    assert [found.interval.low, found.change, found.interval.high] == pytest.approx(expected)


def test_alike_neighbours_widen_the_interval():
    steps = np.arange(12.0)
    wave = 0.02 * np.sin(steps / 2)
    smooth, shuffled = wave, np.random.default_rng(0).permutation(wave)
    spreads = []
    for noise in (smooth, shuffled):
        fit = linregress(steps, noise)
        found = trend("rmse", steps, np.exp(noise))
        half = np.log1p(found.interval.high) - np.log1p(found.change)
        spreads.append(half / (t.ppf(0.975, 10) * fit.stderr * 11))
    assert spreads[0] > 1.5
    assert spreads[1] == pytest.approx(1, abs=0.2)


def stops(evaluations):
    return any(
        outlook(evaluations[:n]).more_training_pays == "no" for n in range(1, len(evaluations) + 1)
    )


def test_a_steady_gain_is_seldom_stopped_and_a_plateau_is_found():
    """Over whole trainings of 30 evaluations, with a look at each."""
    gaining = [rows(lambda i: 100 * 0.995**i, count=30, noise=0.005, seed=s) for s in range(20)]
    level = [rows(100.0, count=30, noise=0.005, seed=s) for s in range(20)]
    assert sum(map(stops, gaining)) <= 1
    assert sum(map(stops, level)) >= 19


def test_rows_of_the_last_stage():
    everything = [
        {"step": 0, "stage": "bicubic"},
        {"step": 100, "stage": "pretrain"},
        {"step": 200, "stage": "train"},
        {"stage": "train"},
        {"step": 300, "stage": "train"},
    ]
    assert [row["step"] for row in stage_rows(everything)] == [200, 300]
    assert stage_rows(everything[:1]) == []


def test_the_nearest_to_the_ideal():
    points = {100: (10.0, 200.0), 200: (10.1, 120.0), 300: (12.0, 118.0)}
    evaluations = [
        {"step": step, "rmse": x, "sliced_wasserstein": y} for step, (x, y) in points.items()
    ]
    assert nearest_to_ideal(evaluations) == 200
    assert nearest_to_ideal([*evaluations, {**evaluations[1], "step": 400}]) == 400
    assert nearest_to_ideal([]) is None
