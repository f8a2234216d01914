"""Intervals and the front against scipy and by hand."""

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap, ttest_1samp

from counterpoise.statistics import hierarchical_mean, standardised, student_mean, wilson


def bootstrap_mean(values):
    return hierarchical_mean(values[None])


def of_equal_seeds(values):
    return hierarchical_mean(np.repeat(values[:, None], 2, axis=1))


@pytest.mark.parametrize("estimate", [bootstrap_mean, of_equal_seeds])
def test_bootstrap_against_scipy(estimate):
    values = np.random.default_rng(0).normal(1, 2, 25)
    ours = estimate(values)
    theirs = bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert ours.mean == pytest.approx(values.mean())
    assert ours.interval.low == pytest.approx(theirs.low, abs=0.03)
    assert ours.interval.high == pytest.approx(theirs.high, abs=0.03)
    assert estimate(values) == ours  # seeded


def test_few_values_have_no_interval():
    assert bootstrap_mean(np.array([])).mean is None
    one = bootstrap_mean(np.array([3.0]))
    assert (one.mean, one.interval, one.count) == (3.0, None, 1)


def test_student_against_scipy():
    values = np.array([1.0, 2.0, 4.0, np.nan])
    theirs = ttest_1samp(values[:3], 0).confidence_interval()
    found = student_mean(values)
    assert (found.mean, found.count) == (pytest.approx(7 / 3), 3)
    assert found.interval.low == pytest.approx(theirs.low)
    assert found.interval.high == pytest.approx(theirs.high)


@pytest.mark.parametrize(("count", "of"), [(0, 10), (3, 10), (10, 10), (7, 200)])
def test_wilson_against_scipy(count, of):
    expected = binomtest(count, of).proportion_ci(method="wilson")
    found = wilson(count, of)
    assert found.low == pytest.approx(expected.low, abs=1e-12)
    assert found.high == pytest.approx(expected.high, abs=1e-12)


def test_situations_count_alike_and_gaps_are_left_out():
    values = np.array([[1.0, 1.0, 1.0], [3.0, np.nan, np.nan], [np.nan] * 3])
    found = hierarchical_mean(values)
    assert (found.mean, found.count) == (2.0, 4)
    assert hierarchical_mean(np.full((2, 2), np.nan)).mean is None
    assert hierarchical_mean(np.array([[1.0], [2.0]])).interval is None


def test_scores_are_standardised_in_their_direction_and_the_lost_are_worst():
    scores = np.array([[[1.0]], [[2.0]], [[np.nan]], [[3.0]]])
    done = np.array([[[True]], [[True]], [[True]], [[False]]])
    higher = standardised(scores, True, done)[:, 0, 0]
    assert higher[0] < higher[1]
    assert higher[2] == higher[0]
    assert np.isnan(higher[3])
    lower = standardised(scores, False, done)[:, 0, 0]
    assert lower[0] > lower[1] == lower[2]
