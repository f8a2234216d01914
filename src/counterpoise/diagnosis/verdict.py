"""What is said where no rule has found a problem: `healthy`, or why that cannot be said."""

import itertools

import numpy as np

from counterpoise.diagnosis import remedies as fix
from counterpoise.diagnosis.finding import Evidence, Remedy
from counterpoise.diagnosis.found import Found, Rule, lines, number, sureness
from counterpoise.diagnosis.view import View

LEAST_ROWS = 6  # rows below which only NaN is judged
# A D that is wrong more often than right is not in balance with G, whatever it is.
WORSE_THAN_CHANCE = -0.1
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
    "Neither network has won and both go on learning, which is what a GAN in balance looks like. "
    "Whether the images are good, only images and image metrics tell.",
    "",
    (fix.LOOK,),
    fix.GOODFELLOW_TUTORIAL,
)
RULES = (NOT_ENOUGH, HEALTHY)


def verdict(view: View) -> tuple[Rule, Found]:
    """`healthy`, or why that cannot be said."""
    known = int(np.isfinite(view.lead).sum())
    is_well, sure = False, 1.0
    if view.rows < LEAST_ROWS:
        text = f"there are {lines(view.rows)}, and it takes {LEAST_ROWS}"
        evidence = Evidence("lines", float(view.rows), text)
    elif view.objective_name == "wgan" and np.isfinite(view.d_loss).sum() >= LEAST_ROWS:
        value, fault = _distance(view)
        is_well, sure = not fault, 1.0 if fault else sureness(view.rows, 0.7)
        text = fault or f"the critic's distance ends at {number(value)}, which says no more"
        evidence = Evidence("the critic's estimate of the distance", value, text)
    elif known < max(LEAST_ROWS, view.rows // 20):
        text = "nothing in it says how well D tells real from fake"
        if view.loss_says_nothing:
            text += ", and D is not judged by its loss (a note says why)"
        elif np.isfinite(view.d_loss).any():
            text += f"; its losses cannot be read, since {view.objective_evidence}"
        evidence = Evidence("lines that say who leads", float(known), text)
    else:
        value, sure = float(np.nanmedian(view.lead)), sureness(known, 0.9)
        is_well = value > WORSE_THAN_CHANCE
        text = f"D's lead is {number(value)} (median; 0 is chance, 1 certainty) over {lines(known)}"
        evidence = Evidence("D's lead", value, text)
    if is_well:
        return HEALTHY, Found("healthy", view.whole, sure, [evidence])
    return NOT_ENOUGH, Found("note", view.whole, sure, [evidence])


def _distance(view: View) -> tuple[float, str]:
    """The critic's last estimate of the distance, and why it shows no health; "" where it may.

    D's loss is minus the estimate (Arjovsky et al. 2017, algorithm 1, arXiv 1701.07875), which is
    meant to fall as images get better: one below 0, or one that only ever grows, shows no fault by
    itself and no health.
    """
    raw = view.whole.within(view.d_loss)
    distance = view.whole.within(-view.smoothed(view.d_loss))
    first, last = float(distance[0]), float(distance[-1])
    parts = [float(np.median(part)) for part in np.array_split(distance, 4) if len(part)]
    rises = all(a < b for a, b in itertools.pairwise(parts))
    fault = ""
    if view.trace.objective is None and 0 < first < LARGEST_VALUE and last < FADED * first:
        fault = (
            f"D's loss goes from {number(-first)} to {number(-last)}: a critic that G has caught "
            "up with, or the value that D maximises under BCE, where 0 is a D that has won; say "
            "--objective wgan, or turn the sign"
        )
    elif (raw > 0).mean() >= NEARLY_ALL:
        fault = (
            f"D's loss is above 0 nearly all along (median {number(float(np.median(raw)))}): its "
            "sign is turned, or the critic does not rank real above fake; print its mean scores"
        )
    elif len(distance) >= LEAST_LINES and rises and parts[-1] > GROWN * max(parts[0], 0.0):
        fault = (
            f"the critic's distance only ever grows, from {number(first)} to {number(last)}: it is "
            "young, G falls behind, or nothing bounds its slope; print its penalty or gradient norm"
        )
    return last, fault
