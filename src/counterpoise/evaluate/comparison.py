"""Two methods on the same images: paired differences with bootstrap intervals."""

from dataclasses import dataclass

import numpy as np

from counterpoise.evaluate.measures import MEASURES, Measure
from counterpoise.evaluate.scores import Scores
from counterpoise.statistics import Estimate, bootstrap_mean

# A percentile bootstrap of fewer values is notably too narrow.
FEW_IMAGES = 10


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
    """The differences by every measure of two methods that were scored on the same images.

    Images with a value that is not finite in either (too small, or equal to the original) are left
    out of that measure's row.
    """
    found = []
    for name in a.names:
        pairs = np.stack([a.values(name), b.values(name)], axis=1)
        pairs = pairs[np.isfinite(pairs).all(1)]
        if len(pairs) == 0:
            continue
        steps = pairs[:, 1] - pairs[:, 0]
        better = steps > 0 if MEASURES[name].higher_is_better else steps < 0
        mean_a, mean_b = (float(mean) for mean in pairs.mean(0))
        estimate = bootstrap_mean(steps)
        found.append(Difference(MEASURES[name], mean_a, mean_b, estimate, int(better.sum())))
    return found
