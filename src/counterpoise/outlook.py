"""Whether more training is likely to help: a rule over a run's held-out metrics.

`counterpoise best` and the report say it in words. The rule looks at the latest third of the
evaluations of the held-out images, at a distortion (RMSE) and a perceptual measure: the trend of
each measure's logarithm over the steps, by least squares, is carried on for as many steps again.
Training helps while one of the two is falling for certain, and by at least 2 % there; it does not
when neither can be hoped to: where the hopeful end of both intervals is a gain of under 2 %.
Between the two nobody knows. A straight line promises more than curves that level out keep, so the
rule says so late rather than early.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from counterpoise.statistics import CONFIDENCE, Interval, scipy_stats

# The latest third of the evaluations is looked at, at least so many, and so many must be there.
WINDOW_EVALUATIONS, LEAST_EVALUATIONS = 8, 6
# A change that is worth the steps of another window, as a share of the measure.
LEAST_GAIN = 0.02
# Neighbouring evaluations of an averaged generator are alike: the interval of the trend is widened
# for that by at most so much of a correlation.
MOST_CORRELATION = 0.8
SMALLEST = 1e-9
DISTORTION = "rmse"
# The measures of `metrics.jsonl`; of the perceptual ones the first that is there is judged by.
TITLES = {
    "rmse": "RMSE",
    "lpips": "LPIPS",
    "sliced_wasserstein": "sliced Wasserstein distance",
}
PERCEPTION = tuple(TITLES)[1:]

Verdict = Literal["yes", "no", "unknown"]
WORDS: dict[Verdict, str] = {
    "yes": "More training is likely to pay",
    "no": "More training is not likely to pay",
    "unknown": "Whether more training pays is not known",
}


@dataclass(frozen=True)
class Trend:
    """What a measure (lower is better) would change by in as many steps again, as a share of it."""

    name: str
    change: float
    interval: Interval

    @property
    def is_falling(self) -> bool:
        """Whether it falls, for certain and by enough."""
        return self.interval.high < 0 and self.change <= -LEAST_GAIN

    @property
    def is_done(self) -> bool:
        """Whether no gain worth having can be hoped for."""
        return self.interval.low > -LEAST_GAIN

    def words(self) -> str:
        """The forecast in words."""
        interval = f"{_percent(self.interval.low)} to {_percent(self.interval.high)}"
        return f"{TITLES[self.name]} {_percent(self.change)} (95 %: {interval})"


@dataclass(frozen=True)
class Outlook:
    """Whether more training is likely to help, and why."""

    more_training_pays: Verdict
    reason: str
    trends: tuple[Trend, ...] = ()
    # The evaluations that were looked at.
    evaluations: int = 0
    first_step: int | None = None
    last_step: int | None = None


def _percent(share: float) -> str:
    return f"{100 * share:+.1f} %"


def stage_rows(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows of `metrics.jsonl` that are of the stage it ends with, without bicubic's."""
    found = [row for row in rows if isinstance(row.get("step"), int) and row["step"] > 0]
    return [row for row in found if row.get("stage") == found[-1].get("stage")]


def outlook(rows: Sequence[Mapping[str, Any]]) -> Outlook:
    """Judge the held-out evaluations of one stage, oldest first (see `stage_rows`)."""
    latest = list(rows)[-max(WINDOW_EVALUATIONS, len(rows) // 3) :]
    perception = _perception(latest)
    if len(latest) < LEAST_EVALUATIONS:
        missing = (
            f"a trend takes {LEAST_EVALUATIONS} held-out evaluations, and there are {len(latest)} "
            "(train.sample_every sets how often there is one)"
        )
        return Outlook("unknown", missing, evaluations=len(latest))
    if perception is None:
        missing = (
            "the held-out evaluations have no RMSE with a perceptual measure beside it: they are "
            "of an older version of counterpoise, or not finite"
        )
        return Outlook("unknown", missing, evaluations=len(latest))
    steps = np.array([row["step"] for row in latest], dtype=float)
    trends = tuple(
        trend(name, steps, np.array([row[name] for row in latest], dtype=float))
        for name in (perception, DISTORTION)
    )
    first, last = int(steps[0]), int(steps[-1])
    where = (
        f"over {len(latest)} held-out evaluations, steps {first} to {last}, the trend carried on "
        f"for as long again gives {'; '.join(one.words() for one in trends)}"
    )
    falling = [TITLES[one.name] for one in trends if one.is_falling]
    verdict: Verdict = "unknown"
    why = "too uncertain to tell"
    if falling:
        verdict, why = "yes", f"{' and '.join(falling)} still falling"
    elif all(one.is_done for one in trends):
        verdict, why = "no", f"at best less than {100 * LEAST_GAIN:.0f} % would be gained"
    return Outlook(verdict, f"{why}; {where}", trends, len(latest), first, last)


def trend(name: str, steps: np.ndarray, values: np.ndarray) -> Trend:
    """The change of a positive measure over the next `steps[-1] - steps[0]` steps, as a share.

    A straight line through the logarithms, with Student's interval of its slope, which is widened
    for the correlation of neighbouring residuals as for a first-order autoregression. That is
    measured too low around a line fitted to few values: by about (2 + 4 rho) / n, which is put
    back. Where it is strong the interval is still too narrow: with eight values and rho = 0.8 it
    covers the truth in 83 %, not in 95 %.
    """
    span = float(steps[-1] - steps[0])
    x = (steps - steps.mean()) / span
    y = np.log(np.maximum(values, SMALLEST))
    line = scipy_stats().linregress(x, y)
    slope, error = float(line.slope), float(line.stderr)
    residuals = y - line.intercept - slope * x
    squares = float((residuals**2).sum())
    if squares > 0:
        correlation = float((residuals[1:] * residuals[:-1]).sum()) / squares
        correlation = (correlation + 2 / len(x)) / (1 - 4 / len(x))
        correlation = min(max(correlation, 0.0), MOST_CORRELATION)
        error *= math.sqrt((1 + correlation) / (1 - correlation))
    half = float(scipy_stats().t.ppf(0.5 + CONFIDENCE / 2, len(x) - 2)) * error
    interval = Interval(math.expm1(slope - half), math.expm1(slope + half))
    return Trend(name, math.expm1(slope), interval)


def nearest_to_ideal(rows: Sequence[Mapping[str, Any]]) -> int | None:
    """The step of the evaluation nearest to the lowest RMSE and the lowest perceptual distance.

    In shares of these lowest values, for lack of a spread over images; of equals, the later one.
    None where there is no such pair of measures.
    """
    perception = _perception(rows)
    if perception is None:
        return None
    points = np.array([(row[DISTORTION], row[perception]) for row in rows], dtype=float)
    lowest = np.maximum(points.min(0), SMALLEST)
    distances = ((points / lowest - 1) ** 2).sum(1)
    return int(rows[len(rows) - 1 - int(np.argmin(distances[::-1]))]["step"])


def _perception(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """The perceptual measure to judge by: the first that all rows have, as they have a distortion;
    None where there is none."""

    def has(name: str) -> bool:
        values = [row.get(name) for row in rows]
        return all(isinstance(value, int | float) and math.isfinite(value) for value in values)

    return next((name for name in PERCEPTION if rows and has(name) and has(DISTORTION)), None)
