"""Traces: bounded, fair, and nothing lost that matters."""

import dataclasses
import math

import numpy as np
import pytest

from counterpoise.records import Action, Readings
from counterpoise.trace import COLUMNS, MOST_ROWS, TraceBuilder, signals_row_values
from helpers import SIGNALS, step_record


def test_a_long_log_is_thinned_evenly_and_no_nan_is_lost():
    builder = TraceBuilder()
    rows = 5 * MOST_ROWS + 3
    for row in range(rows):
        builder.add(row, {"d_loss": math.nan if row == 12_345 else float(row)})
    trace = builder.build()
    assert len(trace) <= MOST_ROWS
    assert trace.rows_read == rows
    assert set(np.diff(trace.steps)) == {8}
    assert trace.steps[0] == 0
    assert trace.non_finite == ((12_345, "d_loss"),)


@pytest.mark.parametrize(("first", "every"), [(1, 10), (3, 100), (0, 7)])
def test_what_is_measured_now_and_then_outlives_the_thinning(first, every):
    builder = TraceBuilder()
    for step in range(1, 5 * MOST_ROWS):
        measured = {"diversity_ratio": float(step)} if (step - first) % every == 0 else {}
        builder.add(step, {"d_loss": float(step), **measured})
    trace = builder.build()
    assert len(trace) <= MOST_ROWS
    assert (np.diff(trace.steps) > 0).all()
    read = np.isfinite(trace.get("diversity_ratio"))
    assert read.sum() > 5 * MOST_ROWS / max(every, 8) / 2
    # A row is kept whole: all its values are of its own step.
    np.testing.assert_array_equal(trace.get("d_loss"), trace.steps)
    np.testing.assert_array_equal(trace.get("diversity_ratio")[read], trace.steps[read])


def test_a_thinned_trace_that_goes_back_to_nothing_begins_anew():
    builder = TraceBuilder()
    for step in range(10, 10 + MOST_ROWS + 1):
        builder.add(step, {"d_loss": 1.0})
    builder.go_back(5)
    for step in (6, 7):
        builder.add(step, {"d_loss": 0.5, "auc": 0.75})
    trace = builder.build()
    assert trace.steps[0] == 6
    assert trace.get("auc")[0] == 0.75


def test_missing_is_nan_and_empty_columns_are_not_there():
    builder = TraceBuilder()
    builder.add(1, {"d_loss": 1.0})
    builder.add(2, {"g_loss": 2.0, "auc": math.inf})
    trace = builder.build()
    assert set(trace.columns) == {"d_loss", "g_loss"}
    np.testing.assert_array_equal(trace.get("d_loss"), [1.0, np.nan])
    assert np.isnan(trace.get("auc")).all()
    assert trace.has("d_loss", "g_loss")
    assert not trace.has("auc")
    assert trace.non_finite == ((2, "auc"),)


def test_a_row_of_our_signals_file():
    record = step_record(
        7,
        g_loss=3.0,
        g_terms={"adversarial": 1.0, "pixel": 0.5, "perceptual/pool2": 1.5},
        d_fake_after=0.4,
        d_updated=False,
        d_action=Action(d_steps=0, reason="rest"),
        readings=Readings(diversity_ratio=0.9),
    )
    expected = {
        "g_adversarial": 1.0,
        "g_content": 2.0,
        "d_updated": 0.0,
        "policy_acted": 1.0,
        "d_fake_before": SIGNALS.d_fake,
        "d_fake_after": 0.4,
        "diversity_ratio": 0.9,
        "d_accuracy_real": SIGNALS.d_accuracy_real,
    }
    assert expected.items() <= signals_row_values(record.to_json()).items()
    assert signals_row_values({"action": {"reason": "nothing is done"}})["policy_acted"] == 0


def test_null_in_our_signals_file_is_a_nan_again_and_a_reason_alone_is_no_act():
    row = {"step": 1, "g_loss": None, "non_finite": ["g_loss", "d_fake", "g_terms.adversarial"]}
    values = signals_row_values(row)
    assert sorted(values) == ["d_fake_before", "g_adversarial", "g_loss"]
    assert all(math.isnan(value) for value in values.values())


def test_every_reading_is_a_column():
    assert {f.name for f in dataclasses.fields(Readings)} <= set(COLUMNS)
