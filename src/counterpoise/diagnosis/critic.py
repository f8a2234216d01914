"""What a critic's loss says of a Wasserstein training: not who leads, but how far G is away."""

import itertools

import numpy as np

from counterpoise.diagnosis.found import number
from counterpoise.diagnosis.view import View

# Share of lines in which D's loss must be above 0 to be called so all along.
NEARLY_ALL = 0.9
# Lines that it takes, in four parts, to say that the distance has only ever grown, and by how much
# it has from the first part to the last: seven times where it grows evenly from nothing.
LEAST_LINES, GROWN = 16, 5.0
# A distance that fades to this share may be none, where nobody has said that it is one: the value
# that D maximises under BCE begins at 1.386, below the second.
FADED, MOST_VALUE = 0.1, 2.0


def distance_in_words(view: View) -> tuple[float, str, bool]:
    """The critic's last estimate of the distance, what is said of it, and whether that is well.

    D's loss is minus the estimate (Arjovsky et al. 2017, algorithm 1, arXiv 1701.07875), which is
    meant to fall as images get better: one below 0, or one that only ever grows, shows no fault by
    itself and no health.
    """
    distance = -view.smoothed(view.d_loss)
    distance = distance[np.isfinite(distance)]
    first, last = float(distance[0]), float(distance[-1])
    text = (
        f"the critic's estimate of the distance goes from {number(first)} to {number(last)}; a "
        "critic's scores say no more than that"
    )
    raw = view.d_loss[np.isfinite(view.d_loss)]
    nobody_says = view.trace.objective is None
    if nobody_says and 0 < first < MOST_VALUE and last < FADED * first:
        text = (
            f"D's loss goes from {number(-first)} to {number(-last)}: the distance of a critic "
            "that G has caught up with, or the value that D maximises under BCE, where 0 is a D "
            "that has won; say --objective wgan, or turn the sign"
        )
        return last, text, False
    if (raw > 0).mean() >= NEARLY_ALL:
        text = (
            f"D's loss is above 0 nearly all along (median {number(float(np.median(raw)))}), and a "
            "critic that ranks real above fake has it below 0, but for its penalty: it may be "
            "printed with the sign turned, or the critic has learned nothing; print its mean "
            "scores on real and on fake images"
        )
        return last, text, False
    if len(distance) >= LEAST_LINES:
        parts = [float(np.median(part)) for part in np.array_split(distance, 4)]
        rises = all(a < b for a, b in itertools.pairwise(parts))
        if rises and parts[3] > GROWN * max(parts[0], 0.0):
            text = (
                f"the critic's estimate of the distance only ever grows, from {number(first)} to "
                f"{number(last)}: a young critic, a G that falls behind, or a critic whose slope "
                "nothing bounds (clipping, gradient penalty, spectral norm); print its penalty or "
                "its gradient's norm, and look again after more steps"
            )
            return last, text, False
    return last, text, True
