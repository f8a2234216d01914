"""Rules on a training as a whole: held-out quality beside the losses, and what a policy holds
back: `quality-falls`, `held-back`."""

import numpy as np

from counterpoise.diagnosis.finding import Evidence
from counterpoise.diagnosis.found import Answer, Found, Missing, lines, number
from counterpoise.diagnosis.remedies import described
from counterpoise.diagnosis.view import View
from counterpoise.diagnosis.windows import Spell

# Evaluations that it takes to speak of a trend; how much worse than the best one quality is where
# it has fallen, and in how many of the last ones before that counts as lasting.
LEAST_EVALUATIONS, WORSE, LASTING = 3, 1.25, 2
# A policy's factor on a learning rate under which it holds a network back, and the share of the
# training from which on that is no passing trial; under the second factor hardly anything is left.
HELD_BACK, MOST_OF_IT, STRANGLED = 0.5, 0.5, 0.1


def quality_falls(view: View) -> Answer:
    """The held-out distance is worse than it was, whatever the losses say."""
    distance = view.trace.get("held_out_distance")
    rows = np.flatnonzero(np.isfinite(distance))
    if len(rows) < LEAST_EVALUATIONS:
        return Missing()
    values = distance[rows]
    best = int(np.argmin(values))
    worse = values[best + 1 :] > WORSE * values[best]
    if not len(worse) or not worse[-1]:
        return None
    lasts = len(worse) >= LASTING and bool(worse[-LASTING:].all())
    what = "printed FID, KID or LPIPS"
    if view.is_own_record:
        what = "sliced Wasserstein distance of held-out images"
    text = (
        f"the {what} (lower is better) was {number(values[best])} at step "
        f"{view.steps[rows[best]]} and is {number(values[-1])} at step {view.steps[rows[-1]]}, "
        f"worse by a quarter in {int(worse.sum())} of {len(worse)} evaluations since"
    )
    return Found(
        "severe" if lasts else "warning",
        Spell(int(rows[best]), int(rows[-1])),
        0.9 if lasts else 0.6,
        [Evidence("held-out distance over its best", float(values[-1] / values[best]), text)],
    )


def held_back(view: View) -> Answer:
    """A policy keeps a network's learning rate down for most of the training."""
    evidence, least, held = [], 1.0, np.zeros(view.rows, dtype=bool)
    for key, network in (("g", "G"), ("d", "D")):
        scale = view.trace.get(f"{key}_learning_rate_scale")
        slowed = scale < HELD_BACK  # NaN is not below
        if not view.rows or slowed.mean() < MOST_OF_IT:
            continue
        value = float(np.median(scale[slowed]))
        text = (
            f"{network}'s learning rate was under {HELD_BACK:g} times the configured one in "
            f"{lines(int(slowed.sum()), view.rows)} ({slowed.mean():.0%}), {number(value)} times "
            "in the median of these"
        )
        evidence.append(Evidence(f"the policy's factor on {network}'s learning rate", value, text))
        least, held = min(least, value), held | slowed
    if not evidence:
        return None if view.trace.has("g_learning_rate_scale") else Missing()
    severity = "severe" if least < STRANGLED else "warning"
    return Found(severity, Spell.over(np.flatnonzero(held)), 0.9, evidence)


RULES = (
    described("quality-falls", quality_falls),
    described("held-back", held_back),
)
