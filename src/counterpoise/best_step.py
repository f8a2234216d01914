"""Which evaluation of a training was best, by its held-out metrics.

The nearest to the lowest distortion (RMSE) and the lowest perceptual distance at once. Whether more
training would help is not forecast: trends carried on covered what came in 81 to 90 % of the cases
where their intervals promised 95 % (docs/experiments.md, 2026-11-27).
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from counterpoise.run_folder import RunFolder

SMALLEST = 1e-9
# Measures of `metrics.jsonl`; of the perceptual ones the first that is there is judged by.
DISTORTION, PERCEPTION = "rmse", ("lpips", "sliced_wasserstein")


def stage_rows(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows of `metrics.jsonl` that are of the stage it ends with, without bicubic's."""
    found = [row for row in rows if isinstance(row.get("step"), int) and row["step"] > 0]
    return [row for row in found if row.get("stage") == found[-1].get("stage")]


def best_checkpoint(run: RunFolder, rows: Sequence[Mapping[str, Any]]) -> Path | None:
    """The checkpoint to take of a run with these rows of `metrics.jsonl`: of those of its last
    stage that are there, the nearest to the ideal."""
    kept = [row for row in stage_rows(rows) if run.checkpoint(row["step"]).is_file()]
    step = nearest_to_ideal(kept)
    return None if step is None else run.checkpoint(step)


def nearest_to_ideal(rows: Sequence[Mapping[str, Any]]) -> int | None:
    """The step of the evaluation nearest to the lowest RMSE and the lowest perceptual distance.

    In shares of these lowest values, for lack of a spread over images; of equals, the later one.
    The perceptual measure is the first that all rows have. None where there is no such pair.
    """
    for name in PERCEPTION:
        values = [(row.get(DISTORTION), row.get(name)) for row in rows]
        known = [isinstance(v, int | float) and math.isfinite(v) for pair in values for v in pair]
        if rows and all(known):
            points = np.array(values, dtype=float)
            lowest = np.maximum(points.min(0), SMALLEST)
            distances = ((points / lowest - 1) ** 2).sum(1)
            return int(rows[len(rows) - 1 - int(np.argmin(distances[::-1]))]["step"])
    return None
