"""Which evaluation of a training was best, by its held-out metrics.

The nearest to the lowest distortion (RMSE) and the lowest perceptual distance at once. Whether more
training would help is not forecast: trends carried on covered what came in 81 to 90 % of the cases
where their intervals promised 95 % (docs/experiments.md, 2026-11-27).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

SMALLEST = 1e-9
DISTORTION = "rmse"
# The measures of `metrics.jsonl`; of the perceptual ones the first that is there is judged by.
TITLES = {
    "rmse": "RMSE",
    "lpips": "LPIPS",
    "sliced_wasserstein": "sliced Wasserstein distance",
}
PERCEPTION = tuple(TITLES)[1:]


def stage_rows(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows of `metrics.jsonl` that are of the stage it ends with, without bicubic's."""
    found = [row for row in rows if isinstance(row.get("step"), int) and row["step"] > 0]
    return [row for row in found if row.get("stage") == found[-1].get("stage")]


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
