"""Means with intervals, and the Pareto front: the statistics that several parts share.

Arrays only. All intervals are of 95 %. All resampling has a fixed seed, so that what is computed
twice is the same.
"""

import importlib
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 10_000
RESAMPLING_SEED = 20_250_711
# Fewer values than this have no spread.
LEAST_VALUES = 2


@dataclass(frozen=True, slots=True)
class Interval:
    """The ends of a 95 % interval."""

    low: float
    high: float

    def excludes(self, value: float) -> bool:
        return value < self.low or value > self.high


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over `count` values; None where there is no value, or no interval can be known."""

    mean: float | None
    interval: Interval | None
    count: int


NO_ESTIMATE = Estimate(None, None, 0)


@lru_cache(maxsize=8)
def resampled_weights(counts: tuple[int, ...]) -> np.ndarray:
    """The weight of every value in every resampled mean, (RESAMPLES, sum(counts)).

    `counts` are the values (seeds) of each situation, all at least 1. Situations are drawn with
    replacement, then as many values within each: a two-stage (hierarchical) bootstrap, of a mean
    in which every situation counts alike. A product with the values gives the resampled means.
    """
    generator = np.random.default_rng(RESAMPLING_SEED)
    sizes = np.asarray(counts)
    starts = np.cumsum(sizes) - sizes
    situations, most = len(sizes), int(sizes.max())
    drawn = generator.integers(situations, size=(RESAMPLES, situations))
    drawn_sizes = sizes[drawn][..., None]
    places = generator.random((RESAMPLES, situations, most))
    values = starts[drawn][..., None] + (places * drawn_sizes).astype(np.int64)
    weights = np.where(np.arange(most) < drawn_sizes, 1.0 / (situations * drawn_sizes), 0.0)
    total = int(sizes.sum())
    slots = np.arange(RESAMPLES)[:, None, None] * total + np.minimum(values, total - 1)
    summed = np.bincount(slots.ravel(), weights.ravel(), minlength=RESAMPLES * total)
    return summed.reshape(RESAMPLES, total)


def percentile_interval(resampled: np.ndarray) -> Interval:
    """The middle 95 % of resampled means."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return Interval(float(low), float(high))


def bootstrap_mean(values: np.ndarray) -> Estimate:
    """The mean of independent values (N,) with its percentile bootstrap interval.

    Of few values it is too narrow: of 5 normal ones it covers the true mean in 83 % of cases, of 10
    in 91 %, of 30 in 93 %.
    """
    if len(values) == 0:
        return NO_ESTIMATE
    mean = float(values.mean())
    if len(values) < LEAST_VALUES:
        return Estimate(mean, None, len(values))
    weights = resampled_weights((1,) * len(values))
    return Estimate(mean, percentile_interval(weights @ values), len(values))


def student_mean(values: np.ndarray) -> Estimate:
    """The mean of independent values with Student's interval; NaN are left out.

    For the few seeds of one situation: a bootstrap of three values is little more than their
    range, and excludes 0 by chance in one of four cases.
    """
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return NO_ESTIMATE
    mean = float(values.mean())
    if len(values) < LEAST_VALUES:
        return Estimate(mean, None, len(values))
    quantile = float(scipy_stats().t.ppf(0.5 + CONFIDENCE / 2, len(values) - 1))
    half = quantile * float(values.std(ddof=1)) / math.sqrt(len(values))
    return Estimate(mean, Interval(mean - half, mean + half), len(values))


def pareto_front(points: np.ndarray) -> np.ndarray:
    """Which of (points, 2) no other point is below in one value without being above in the other.

    Lower is better in both; a bool for each point.
    """
    no_worse = (points[:, None] <= points[None]).all(2)
    better = (points[:, None] < points[None]).any(2)
    return np.asarray(~(no_worse & better).any(0))


def scipy_stats() -> Any:
    """`scipy.stats`, imported when first needed."""
    # scipy comes with scikit-image, has no types and takes a second to import.
    return importlib.import_module("scipy.stats")
