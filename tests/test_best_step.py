"""Which evaluation of a training was best."""

import math

import pytest

from counterpoise.best_step import nearest_to_ideal, stage_rows


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


@pytest.mark.parametrize("value", [None, math.nan, "7"])
def test_what_is_not_a_number_is_not_judged(value):
    evaluations = [{"step": s, "rmse": 1.0, "sliced_wasserstein": 9.0} for s in (1, 2)]
    assert nearest_to_ideal(evaluations) == 2
    evaluations[-1]["rmse"] = value
    assert nearest_to_ideal(evaluations) is None
