"""Curves of a report: few points, and no value lost that a person must see."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.balance.smoothing import Average
from counterpoise.pages.run_report_curves import (
    MOST_MARKED,
    MOST_TERMS,
    CurveBuilder,
)


def curves_of(rows, *, most_buckets=1000, decay=None):
    builder = CurveBuilder(decay, most_buckets)
    for row in rows:
        builder.add(row)
    return builder.build()


def losses(values, **more):
    return [{"step": step, "g_loss": value, **more} for step, value in enumerate(values, 1)]


def points(curve):
    return [
        (step, value)
        for step, value in zip(curve.steps, curve.values, strict=True)
        if step is not None
    ]


numbers = st.floats(-1e6, 1e6) | st.sampled_from([None, math.nan, math.inf])


@given(st.lists(numbers, max_size=300), st.integers(2, 40))
def test_no_spike_is_lost_and_no_value_made_up(values, most_buckets):
    found = curves_of(losses(values), most_buckets=most_buckets)
    finite = {s: v for s, v in enumerate(values, 1) if v is not None and math.isfinite(v)}
    broken = [s for s, v in enumerate(values, 1) if v is not None and not math.isfinite(v)]
    assert found.non_finite.get("g_loss", []) == broken[:MOST_MARKED]
    assert found.non_finite_count.get("g_loss", 0) == len(broken)
    assert found.rows == len(values)
    if not finite:
        assert "g_loss" not in found.curves
        return
    curve = found.curves["g_loss"]
    drawn = points(curve)
    assert len(drawn) <= 2 * most_buckets
    assert all(finite[step] == value for step, value in drawn)
    assert [step for step, _ in drawn] == sorted({step for step, _ in drawn})
    # The extremes of every bucket of rows are among the points.
    for start in range(0, len(values), found.rows_per_bucket):
        bucket = range(start + 1, start + 1 + found.rows_per_bucket)
        inside = [finite[step] for step in bucket if step in finite]
        shown = [value for step, value in drawn if step in bucket]
        if inside:
            assert (min(shown), max(shown)) == (min(inside), max(inside))
    assert (curve.low, curve.high) == (min(finite.values()), max(finite.values()))
    assert curve.count == len(finite)
    assert curve.mean == pytest.approx(np.mean(list(finite.values())), rel=1e-9, abs=1e-6)
    for step in broken:  # No line runs through a NaN, where its neighbours have their own points.
        if found.rows_per_bucket == 1 and {step - 1, step + 1} <= finite.keys():
            assert None in curve.steps[curve.steps.index(step - 1) : curve.steps.index(step + 1)]


def test_spikes_of_one_row_in_a_hundred_thousand():
    values = np.ones(100_000)
    values[[61_233, 61_234, 99_999]] = [777.0, -5.5, 3.0]
    curve = curves_of(losses(values.tolist())).curves["g_loss"]
    assert len(curve.steps) <= 2000
    assert {(61_234, 777.0), (61_235, -5.5), (100_000, 3.0)} <= set(points(curve))


def test_means_are_those_of_all_rows_of_a_bucket():
    curve = curves_of(losses([1.0, 2.0, 6.0, 3.0]), most_buckets=1).curves["g_loss"]
    assert points(curve) == [(1, 1.0), (3, 6.0)]
    assert curve.means == [3.0, 3.0]
    assert (curve.first, curve.last) == ((1, 3.0), (4, 3.0))


def test_a_line_ends_where_a_stage_does_and_where_values_are_missing():
    rows = [
        {"step": step, "stage": "pretrain" if step < 4 else "train", "g_loss": 1.0 * step}
        for step in range(1, 8)
    ]
    found = curves_of(rows)
    assert found.curves["g_loss"].steps == [1, 2, 3, None, 4, 5, 6, 7]
    assert found.stages == {"pretrain": (1, 3), "train": (4, 7)}
    rows = [{"step": s, "g_loss": 1.0 * s, "auc": 0.5} for s in (1, 2, 3, 30, 31, 32)]
    assert curves_of(rows).curves["auc"].steps == [1, 2, 3, None, 30, 31, 32]
    # What is measured every tenth step has no holes.
    rows = [{"step": s, "g_loss": 1.0} | ({"auc": 0.5} if s % 10 == 0 else {}) for s in range(60)]
    assert None not in curves_of(rows).curves["auc"].steps


def test_loss_terms_accuracy_and_the_share_of_d():
    rows = [
        {
            "step": step,
            "g_terms": {"pixel": 0.5, "other": "no number"},
            "d_accuracy_real": 0.5,
            "d_accuracy_fake": 0.5 + step / 10,
            "g_gradient_adversarial": 1.0,
            "g_gradient_content": 3.0,
        }
        for step in range(1, 4)
    ]
    found = curves_of(rows, decay=0.5).curves
    assert found["g_terms.pixel"].values == [0.5, 0.5, 0.5]
    assert "g_terms.other" not in found
    assert found["accuracy"].values == pytest.approx([0.55, 0.6, 0.65])
    average = Average(0.5)
    expected = [average.update(value) for value in (0.55, 0.6, 0.65)]
    assert found["accuracy_smoothed"].values == pytest.approx(expected)
    assert found["adversarial_share"].values == [0.25] * 3


@pytest.mark.parametrize("most_buckets", [1000, 7, 1])
def test_what_a_policy_sets_was_as_configured_until_it_did(most_buckets):
    def action(step):
        return {"d_learning_rate_scale": 0.5, "reason": "D leads"} if step > 30 else {}

    rows = [
        {"step": s, "d_loss": 1.0} | ({"action": action(s)} if s > 10 else {}) for s in range(41)
    ]
    curve = curves_of(rows, most_buckets=most_buckets).curves["action.d_learning_rate_scale"]
    assert curve.count == 30
    assert curve.mean == pytest.approx((20 * 1.0 + 10 * 0.5) / 30)
    assert (curve.low, curve.high) == (0.5, 1.0)
    assert curve.last[0] == 40
    drawn = points(curve)
    assert all(value == (0.5 if step > 30 else 1.0) for step, value in drawn)


def test_what_no_policy_changed_is_no_curve():
    rows = [{"step": s, "d_loss": 1.0, "action": {"reason": "left alone"}} for s in range(9)]
    assert set(curves_of(rows).curves) == {"d_loss"}


def test_lines_that_are_torn_or_without_a_step_are_counted():
    rows = [None, {"g_loss": 1.0}, {"step": True}, {"step": 1 << 60}, {"step": "7"}, {"step": 3}]
    found = curves_of(rows)
    assert (found.torn_lines, found.rows_without_step, found.rows) == (1, 4, 1)
    assert (found.first_step, found.last_step) == (3, 3)


def test_two_trainings_in_one_file_are_told_and_drawn_apart():
    rows = losses([1.0, 2.0, 3.0]) + losses([5.0, 6.0])
    found = curves_of(rows)
    assert found.restarts == 1
    assert found.curves["g_loss"].steps == [1, 2, 3, None, 1, 2]
    assert (found.first_step, found.last_step) == (1, 3)


def test_a_file_with_a_million_names_or_huge_numbers_stays_bounded():
    rows = [
        {"step": s, "g_loss": 10**400, "g_terms": {f"{s}-{k}": 1.0 for k in range(50)}}
        for s in range(20)
    ]
    found = curves_of(rows)
    assert len(found.curves) <= MOST_TERMS
    assert found.non_finite_count == {"g_loss": 20}
    rows = [{"step": s, "non_finite": [f"{s}-{k}" for k in range(100)]} for s in range(20)]
    found = curves_of(rows)
    assert len(found.non_finite) <= 4 * MOST_TERMS + 1
    assert sum(found.non_finite_count.values()) == 2000
