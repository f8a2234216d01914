"""Curves of a page: few points, and no value lost that a person must see."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.pages.curves import MARKS, Curve, Curves
from trace_helpers import trace
from watching_helpers import row


def curves_of(rows):
    curves = Curves()
    for one in rows:
        curves.add_row(one["step"], one)
    return curves


def curve_of(values):
    curve = Curve()
    for step, value in enumerate(values, 1):
        curve.add(step, value)
    return curve


def points(drawn):
    return [(x, y) for x, y in zip(drawn["x"], drawn["y"], strict=True) if x is not None]


numbers = st.floats(-1e6, 1e6).map(lambda x: float(f"{x:.5g}"))


@given(st.lists(numbers | st.sampled_from([math.nan, math.inf]), max_size=300), st.integers(2, 40))
def test_no_spike_is_lost_and_no_value_made_up(values, most):
    curve = curve_of(values)
    finite = {step: v for step, v in enumerate(values, 1) if math.isfinite(v)}
    broken = [step for step, v in enumerate(values, 1) if not math.isfinite(v)]
    drawn = curve.to_json([], most)
    assert (drawn["nonFinite"], drawn["nonFiniteCount"]) == (broken[:MARKS], len(broken))
    shown = points(drawn)
    assert len(shown) <= 2 * most
    assert all(finite[step] == value for step, value in shown)
    assert [step for step, _ in shown] == sorted({step for step, _ in shown})
    if finite:
        heights = [value for _, value in shown]
        assert (min(heights), max(heights)) == (min(finite.values()), max(finite.values()))
        assert curve.mean == pytest.approx(np.mean(list(finite.values())), rel=1e-9, abs=1e-6)
    for step in broken:  # No line runs through a NaN, where its neighbours have their own points.
        if len(values) <= most and {step - 1, step + 1} <= finite.keys():
            x = drawn["x"]
            assert None in x[x.index(step - 1) : x.index(step + 1)]


def test_means_are_those_of_all_values_of_a_cell():
    drawn = curve_of([1.0, 2.0, 6.0, 3.0]).to_json([], most=1)
    assert [drawn[key] for key in "xym"] == [[1, 3], [1.0, 6.0], [3.0, 3.0]]


def test_a_line_ends_where_a_stage_does():
    found = curves_of(
        {"step": step, "stage": "pretrain" if step < 4 else "train", "g_loss": 1.0 * step}
        for step in range(1, 8)
    )
    drawn = found.curves["", "g_loss"].to_json(found.breaks)
    assert drawn["x"] == [1, 2, 3, None, 4, 5, 6, 7]
    # A cell of both stages is joined to neither.
    few = found.curves["", "g_loss"].to_json(found.breaks, most=4)
    assert few["x"] == [1, 2, None, 3, 4, None, 5, 6, 7]


def test_steps_that_come_again_take_the_place_of_the_first():
    found = curves_of([row(s, g_loss=1.0) for s in range(1, 9)] + [row(5, g_loss=2.0)])
    assert points(found.curves["", "g_loss"].to_json([]))[-2:] == [(4, 1.0), (5, 2.0)]


def test_loss_terms_accuracy_and_the_share_of_d():
    found = curves_of(
        {
            "step": step,
            "g_terms": {"pixel": 0.5, "other": "no number"},
            "d_accuracy_real": 0.5,
            "d_accuracy_fake": 0.5 + step / 10,
            "g_gradient_adversarial": 1.0,
            "g_gradient_content": 3.0,
        }
        for step in range(1, 4)
    )
    values = {name: curve.to_json([])["y"] for (_, name), curve in found.drawn().items()}
    assert values["g_terms.pixel"] == [0.5, 0.5, 0.5]
    assert "g_terms.other" not in values
    assert values["accuracy"] == pytest.approx([0.55, 0.6, 0.65])
    assert values["adversarial_share"] == [0.25] * 3


def test_what_a_policy_sets_is_drawn_where_it_ever_changed_it():
    def action(step):
        return {"d_learning_rate_scale": 0.5, "reason": "D leads"} if step > 30 else {}

    found = curves_of(
        {"step": s, "d_loss": 1.0} | ({"action": action(s)} if s > 10 else {}) for s in range(41)
    )
    assert {name for _, name in found.drawn()} == {"d_loss", "action.d_learning_rate_scale"}
    drawn = points(found.curves["", "action.d_learning_rate_scale"].to_json([]))
    assert drawn == [(step, 0.5 if step > 30 else 1.0) for step in range(11, 41)]


def test_each_of_several_discriminators_has_its_curves():
    each = {"patch": {"d_loss": 1.0, "non_finite": ["auc"]}, "image": {"d_loss": 2.0}}
    found = curves_of({"step": s, "g_loss": 0.5, "discriminators": each} for s in range(3))
    assert list(found.drawn()) == [("", "g_loss"), ("patch", "d_loss"), ("image", "d_loss")]
    assert found.curves["patch", "auc"].non_finite == [0, 1, 2]


def test_a_trace_has_its_curves_too():
    found = Curves()
    found.add_trace(trace(5, non_finite=[(2, "g_loss")], d_loss=1.0, g_loss=2.0), "A")
    assert found.curves["A", "d_loss"].to_json([])["x"] == [100, 200, 300, 400, 500]
    assert found.curves["A", "g_loss"].non_finite == [300]
