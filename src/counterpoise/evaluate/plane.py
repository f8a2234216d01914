"""The perception-distortion plane: who is on the front, and which one to take.

Blau and Michaeli 2018 (1711.06077): no method can be best in both at once, so methods are compared
by a distortion (how far from the original) against a perceptual measure (how far from what real
images look like). Lower is better in both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from counterpoise.errors import UserError
from counterpoise.evaluate.scores import Scores
from counterpoise.outlook import DISTORTION, PERCEPTION, TITLES
from counterpoise.plotting import pyplot
from counterpoise.statistics import pareto_front

COLOUR = "#0a7f5a"
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


def plane_figure(title: str, scores: Sequence[Scores]) -> Any:
    """The plane of what was measured, for every perceptual measure that is there.

    Raises `UserError` where there is none, and where matplotlib is not installed.
    """
    if front_of(scores) is None:
        raise UserError("it needs rmse and a perceptual metric")
    plot = pyplot()
    measured = [name for name in PERCEPTION if name in scores[0].names][::-1]
    count = len(measured)
    figure, all_axes = plot.subplots(
        1, count, figsize=(5.6 * count, 4.4), layout="constrained", squeeze=False
    )
    for axes, perception in zip(all_axes[0], measured, strict=True):
        for one in scores:
            means = one.means()
            point = (means[DISTORTION], means[perception])
            axes.plot(*([value] for value in point), "o", color=COLOUR, ms=6)
            axes.annotate(one.method, point, fontsize=8, xytext=(6, 4), textcoords="offset points")
        axes.margins(0.2, 0.2)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#eceef1", lw=0.8)
        axes.set_axisbelow(True)
        axes.set_xlabel("distortion: RMSE of luma, grey levels (left is better)", fontsize=9)
        axes.set_ylabel(f"perception: {TITLES[perception]} (down is better)", fontsize=9)
    figure.suptitle(f"{title}: perception against distortion", fontsize=11)
    return figure
