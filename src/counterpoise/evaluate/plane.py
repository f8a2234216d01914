"""The perception-distortion plane: who is on the front.

Blau and Michaeli 2018 (1711.06077): no method can be best in both at once, so methods are compared
by a distortion (how far from the original) against a perceptual measure (how far from what real
images look like). Lower is better in both.
"""

from collections.abc import Sequence

import numpy as np

from counterpoise.evaluate.scores import Scores
from counterpoise.outlook import DISTORTION, PERCEPTION
from counterpoise.statistics import pareto_front


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
