"""What a study's numbers are summarised by, beside `counterpoise.statistics`: arrays only."""

import math
from statistics import NormalDist

import numpy as np

from counterpoise.statistics import (
    CONFIDENCE,
    LEAST_VALUES,
    NO_ESTIMATE,
    Estimate,
    Interval,
    percentile_interval,
    resampled_weights,
    scipy_stats,
)

# Standardised scores lie within this many spreads of the task's mean.
SPREADS = 3.0
# A task's spread is that of its scores limited to these quantiles.
SPREAD_QUANTILES = (0.05, 0.95)


def wilson(count: float, of: int) -> Interval | None:
    """The interval of a share `count / of` (Wilson 1927); None where `of` is 0.

    It takes the trials as independent; `count` may be a sum of shares of them. Unlike the normal
    interval, it is right near 0 and 1.
    """
    if of == 0:
        return None
    z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
    share = count / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    low = 0.0 if count == 0 else middle - half
    high = 1.0 if count == of else middle + half
    return Interval(low, high)


def hierarchical_mean(values: np.ndarray) -> Estimate:
    """The mean of (situations, seeds), NaN where there is none, with its bootstrap interval.

    Every situation that has a value counts alike. The interval is not known where no situation
    has two seeds: the spread between seeds was then not measured.
    """
    present = ~np.isnan(values)
    counts = present.sum(1)
    kept = counts > 0
    if not kept.any():
        return NO_ESTIMATE
    count = int(counts.sum())
    mean = float(np.mean(np.nansum(values[kept], axis=1) / counts[kept]))
    if counts.max() < LEAST_VALUES:
        return Estimate(mean, None, count)
    weights = resampled_weights(tuple(int(c) for c in counts[kept]))
    return Estimate(mean, percentile_interval(weights @ values[kept][present[kept]]), count)


def standardised(scores: np.ndarray, higher_is_better: bool, done: np.ndarray) -> np.ndarray:
    """All scores of one task in units of the task's spread, higher is better; NaN where not done.

    The spread is the standard deviation of the scores limited to their 5th and 95th percentile,
    and no score is further than 3 spreads from the mean of these, so that one exploded run does
    not decide. A cell that is done and has no score (it diverged) is given the worst of the task.
    """
    oriented = scores if higher_is_better else -scores
    measured = oriented[done & ~np.isnan(oriented)]
    result = np.full(scores.shape, np.nan)
    if len(measured) == 0:
        result[done] = 0.0
        return result
    limited = np.clip(measured, *np.quantile(measured, SPREAD_QUANTILES))
    spread = float(limited.std()) or float(measured.std()) or 1.0
    result[done] = (oriented[done] - float(limited.mean())) / spread
    result = np.asarray(np.clip(result, -SPREADS, SPREADS))
    result[done & np.isnan(result)] = np.nanmin(result)
    return result


def ranks(quality: np.ndarray, failed: np.ndarray) -> np.ndarray:
    """Ranks along the last axis, the strategies; 1 is best; ties are averaged.

    Failed cells come after all survivors and tie with one another; so do survivors without a
    quality (NaN), between the two.
    """
    order = np.where(np.isnan(quality), np.finfo(float).max, -quality)
    order = np.where(failed, np.inf, order)
    return np.asarray(scipy_stats().rankdata(order, method="average", axis=-1), dtype=float)
