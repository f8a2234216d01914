"""Two methods on the same images: paired differences with bootstrap intervals."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from counterpoise.errors import UserError
from counterpoise.evaluate.measures import MEASURES, Measure
from counterpoise.evaluate.scores import Scores
from counterpoise.statistics import Estimate, bootstrap_mean

# A percentile bootstrap of fewer values is notably too narrow.
FEW_IMAGES = 10
BICUBIC = "bicubic"


@dataclass(frozen=True)
class Difference:
    """Method B minus method A by one measure, over the images that both have."""

    measure: Measure
    mean_a: float
    mean_b: float
    # Over images, paired; no interval for a single image.
    difference: Estimate
    # Images where B is better.
    b_wins: int

    @property
    def verdict(self) -> str:
        """Which is better, or that the images do not tell."""
        interval, mean = self.difference.interval, self.difference.mean
        if mean == 0 and (interval is None or interval.low == interval.high):
            return "equal"
        if mean is None or interval is None or not interval.excludes(0):
            return "not told apart"
        return "B is better" if (mean > 0) == self.measure.higher_is_better else "A is better"


def differences_between(a: Scores, b: Scores) -> list[Difference]:
    """The differences by every measure that both have; images are paired by name.

    Images with a value that is not finite in either (too small, or equal to the original) are left
    out of that measure's row. Raises `UserError` where no image or no measure is in both.
    """
    rows_a, rows_b = dict(a.rows), dict(b.rows)
    images = [name for name in rows_a if name in rows_b]
    if not images:
        raise UserError(f"'{a.method}' and '{b.method}' have no image in common")
    names = [name for name in a.names if name in b.names and name in MEASURES]
    if not names:
        raise UserError(f"'{a.method}' and '{b.method}' have no metric in common")
    found = []
    for name in names:
        pairs = np.array([(rows_a[image][name], rows_b[image][name]) for image in images])
        pairs = pairs[np.isfinite(pairs).all(1)]
        if len(pairs) == 0:
            continue
        steps = pairs[:, 1] - pairs[:, 0]
        better = steps > 0 if MEASURES[name].higher_is_better else steps < 0
        mean_a, mean_b = (float(mean) for mean in pairs.mean(0))
        estimate = bootstrap_mean(steps)
        found.append(Difference(MEASURES[name], mean_a, mean_b, estimate, int(better.sum())))
    return found


def read_csv(path: Path, method: str | None = None) -> dict[str, Scores]:
    """The scores of one method in a CSV file as `write_csv` makes it, by set.

    Without `method`, the only one that is not bicubic is meant. Any file will do that has a
    column `image` and some named as our measures; `set` and `method` may be missing. Raises
    `UserError` for any other file.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            columns, rows = list(reader.fieldnames or []), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as CSV ({error})") from error
    names = [name for name in columns if name in MEASURES]
    if "image" not in columns or not names:
        raise UserError(
            f"{path}: needs a column `image` and columns named as metrics ({', '.join(MEASURES)})"
        )
    chosen = _chosen_method(path, [row.get("method") or path.stem for row in rows], method)
    sets: dict[str, Scores] = {}
    for number, row in enumerate(rows, start=2):
        if (row.get("method") or path.stem) != chosen or row["image"] == "mean":
            continue
        try:
            values = {name: float(row[name] or "nan") for name in names}
        except (TypeError, ValueError):
            raise UserError(f"{path}: line {number} has a value that is not a number") from None
        scores = sets.setdefault(row.get("set") or "", Scores(chosen))
        if row["image"] in dict(scores.rows):
            raise UserError(f"{path}: line {number} has image {row['image']} a second time")
        scores.rows.append((row["image"], values))
    return sets


def _chosen_method(path: Path, found: list[str], method: str | None) -> str:
    methods = list(dict.fromkeys(found))
    others = [name for name in methods if not name.startswith(BICUBIC)] or methods
    if method is None and len(others) == 1:
        return others[0]
    if method is None or method not in methods:
        asked = f"no method '{method}'" if method else "not one method"
        known = "; ".join(methods) or "it has no rows"
        raise UserError(f"{path}: {asked} in it; say which: {path}:METHOD, one of: {known}")
    return method
