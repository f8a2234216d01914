"""What is said where no rule has found a problem: `healthy`, or why that cannot be said."""

import itertools

import numpy as np

from counterpoise.diagnosis.finding import Evidence, Remedy
from counterpoise.diagnosis.found import Found, Rule, lines, number, sureness
from counterpoise.diagnosis.remedies import GOODFELLOW_TUTORIAL, LOOK
from counterpoise.diagnosis.view import View
from counterpoise.diagnosis.windows import Spell

# Rows below which only NaN is judged.
LEAST_ROWS = 6
# Share of lines in which a critic's loss must be above 0 to be called so all along.
NEARLY_ALL = 0.9
# Lines that it takes, in four parts, to say that the distance has only ever grown, and by how much
# it has from the first part to the last: seven times where it grows evenly from nothing.
LEAST_LINES, GROWN = 16, 5.0
# A distance that fades to this share may be none, where nobody has said that it is one: the value
# that D maximises under BCE begins at 1.386, below the second.
FADED, LARGEST_VALUE = 0.1, 2.0

NOT_ENOUGH = Rule(
    "not-enough-evidence",
    None,
    "This log does not say enough",
    "There are too few lines, or too little about D in them, to call this training sick or "
    "healthy. Silence is not health.",
    "",
    (
        Remedy(
            "Print D's mean output on real and fake images with every line, before and "
            "after D's update.",
            code="D_x = d(real).mean().item(); D_G_z = d(fake).mean().item()",
        ),
        Remedy("Say what D's loss is: --objective bce, lsgan, hinge or wgan."),
        Remedy("Let it run on, and judge again after some hundred steps."),
    ),
)
HEALTHY = Rule(
    "healthy",
    None,
    "Nothing is wrong that this log can show",
    "D leads by a little and both networks go on learning, which is what a GAN in balance "
    "looks like. Whether the images are good, only images and image metrics tell.",
    "",
    (LOOK,),
    GOODFELLOW_TUTORIAL,
)
RULES = (NOT_ENOUGH, HEALTHY)


def verdict(view: View) -> tuple[Rule, Found]:
    """`healthy`, or why that cannot be said."""
    known = int(np.isfinite(view.lead).sum())
    whole = Spell(0, max(0, view.rows - 1))
    is_well, sure = False, 0.0
    if view.rows < LEAST_ROWS:
        text = f"there are {lines(view.rows)}, and it takes {LEAST_ROWS}"
        evidence = Evidence("lines", float(view.rows), text)
    elif view.objective_name == "wgan" and np.isfinite(view.d_loss).sum() >= LEAST_ROWS:
        value, text, is_well = _distance_in_words(view)
        sure = sureness(view.rows, 0.7)
        evidence = Evidence("the critic's estimate of the distance", value, text)
    elif known < max(LEAST_ROWS, view.rows // 20):
        text = "nothing in it says how well D tells real from fake"
        if view.loss_says_nothing:
            text += ", and D is not judged by its loss (a note says why)"
        elif np.isfinite(view.d_loss).any():
            text += f"; its losses cannot be read, since {view.objective_evidence}"
        evidence = Evidence("lines that say who leads", float(known), text)
    else:
        value, is_well, sure = float(np.nanmedian(view.lead)), True, sureness(known, 0.9)
        text = f"D's lead is {number(value)} (median; 0 is chance, 1 certainty) over {lines(known)}"
        evidence = Evidence("D's lead", value, text)
    if is_well:
        return HEALTHY, Found("healthy", whole, sure, [evidence])
    return NOT_ENOUGH, Found("note", whole, 1.0, [evidence])


def _distance_in_words(view: View) -> tuple[float, str, bool]:
    """The critic's last estimate of the distance, what is said of it, and whether that is well.

    D's loss is minus the estimate (Arjovsky et al. 2017, algorithm 1, arXiv 1701.07875), which is
    meant to fall as images get better: one below 0, or one that only ever grows, shows no fault by
    itself and no health.
    """
    distance = -view.smoothed(view.d_loss)
    distance = distance[np.isfinite(distance)]
    first, last = float(distance[0]), float(distance[-1])
    raw = view.d_loss[np.isfinite(view.d_loss)]
    parts = [float(np.median(part)) for part in np.array_split(distance, 4) if len(part)]
    rises = all(a < b for a, b in itertools.pairwise(parts))
    if view.trace.objective is None and 0 < first < LARGEST_VALUE and last < FADED * first:
        text = (
            f"D's loss goes from {number(-first)} to {number(-last)}: the distance of a critic "
            "that G has caught up with, or the value that D maximises under BCE, where 0 is a D "
            "that has won; say --objective wgan, or turn the sign"
        )
    elif (raw > 0).mean() >= NEARLY_ALL:
        text = (
            f"D's loss is above 0 nearly all along (median {number(float(np.median(raw)))}), and a "
            "critic that ranks real above fake has it below 0, but for its penalty: it may be "
            "printed with the sign turned, or the critic has learned nothing; print its mean "
            "scores on real and on fake images"
        )
    elif len(distance) >= LEAST_LINES and rises and parts[-1] > GROWN * max(parts[0], 0.0):
        text = (
            f"the critic's estimate of the distance only ever grows, from {number(first)} to "
            f"{number(last)}: a young critic, a G that falls behind, or a critic whose slope "
            "nothing bounds (clipping, gradient penalty, spectral norm); print its penalty or "
            "its gradient's norm, and look again after more steps"
        )
    else:
        text = (
            f"the critic's estimate of the distance goes from {number(first)} to {number(last)}; a "
            "critic's scores say no more than that"
        )
        return last, text, True
    return last, text, False
