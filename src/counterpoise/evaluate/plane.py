"""The perception-distortion plane: who is on the front, and which one to take.

Blau and Michaeli 2018 (1711.06077): no method can be best in both at once, so methods are compared
by a distortion (how far from the original) against a perceptual measure (how far from what real
images look like). Lower is better in both.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from counterpoise.evaluate.scores import Scores
from counterpoise.outlook import DISTORTION, PERCEPTION
from counterpoise.statistics import pareto_front

LEAST_SPREAD = 1e-12


@dataclass(frozen=True)
class Ranking:
    """Candidates on the plane. `order` lists their indices, the recommended one first."""

    perception: str  # the measure
    points: np.ndarray  # (candidates, 2): mean distortion and mean perceptual distance
    spreads: np.ndarray  # (2,): what a difference is measured in
    on_front: np.ndarray  # (candidates,) of bool
    distances: np.ndarray  # (candidates,): to the ideal, in spreads
    order: tuple[int, ...]

    @property
    def recommended(self) -> int:
        return self.order[0]


def rank(candidates: Sequence[Scores]) -> Ranking:
    """Rank candidates that were scored on the same images.

    The ideal has the lowest mean distortion and the lowest mean perceptual distance of all of them;
    nobody reaches it unless one is best in both. The recommended candidate is the one of the Pareto
    front that is nearest to it, in spreads: the standard deviation of each measure over the images,
    averaged over the candidates, or for a single image the measure's mean. Those of the front come
    before the others. Ties go to the earlier candidate.
    """
    perception = next(name for name in PERCEPTION if name in candidates[0].names)
    values = np.array(
        [[scores.values(DISTORTION), scores.values(perception)] for scores in candidates]
    )
    points = values.mean(2)
    spreads = values.std(2, ddof=1).mean(0) if values.shape[2] > 1 else points.mean(0)
    spreads = np.maximum(spreads, LEAST_SPREAD)
    distances = np.sqrt((((points - points.min(0)) / spreads) ** 2).sum(1))
    on_front = pareto_front(points)
    order = sorted(range(len(points)), key=lambda i: (not on_front[i], distances[i]))
    return Ranking(perception, points, spreads, on_front, distances, tuple(order))


def front_of(scores: Sequence[Scores]) -> tuple[str, list[bool]] | None:
    """The perceptual measure, and for each method whether no other is better in both.

    None without both measures.
    """
    perception = next((name for name in PERCEPTION if name in scores[0].names), None)
    if perception is None or DISTORTION not in scores[0].names:
        return None
    points = np.array([(m[DISTORTION], m[perception]) for m in (s.means() for s in scores)])
    if not np.isfinite(points).all():
        return None
    return perception, [bool(on) for on in pareto_front(points)]
