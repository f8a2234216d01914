"""Intervals and the front against scipy and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap, ttest_1samp

from counterpoise.statistics import bootstrap_mean, pareto_front, student_mean


def test_bootstrap_against_scipy():
    values = np.random.default_rng(0).normal(1, 2, 25)
    ours = bootstrap_mean(values)
    theirs = bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert ours.mean == pytest.approx(values.mean())
    assert ours.interval.low == pytest.approx(theirs.low, abs=0.03)
    assert ours.interval.high == pytest.approx(theirs.high, abs=0.03)
    assert bootstrap_mean(values) == ours  # seeded


def test_few_values_have_no_interval():
    assert bootstrap_mean(np.array([])).mean is None
    one = bootstrap_mean(np.array([3.0]))
    assert (one.mean, one.interval, one.count) == (3.0, None, 1)


def test_bootstrap_of_five_covers_as_documented():
    random = np.random.default_rng(0)
    intervals = [bootstrap_mean(random.standard_normal(5)).interval for _ in range(300)]
    assert np.mean([not interval.excludes(0) for interval in intervals]) == pytest.approx(
        0.83, abs=0.06
    )


def test_student_against_scipy():
    values = np.array([1.0, 2.0, 4.0, np.nan])
    theirs = ttest_1samp(values[:3], 0).confidence_interval()
    found = student_mean(values)
    assert (found.mean, found.count) == (pytest.approx(7 / 3), 3)
    assert found.interval.low == pytest.approx(theirs.low)
    assert found.interval.high == pytest.approx(theirs.high)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_the_front_by_its_definition(points):
    front = pareto_front(np.array(points, dtype=float))
    for (x, y), on_front in zip(points, front, strict=True):
        beaten = any(a <= x and b <= y and (a, b) != (x, y) for a, b in points)
        assert on_front != beaten
