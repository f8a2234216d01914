"""Rules on what reaches G and what it makes: `g-vanishing-gradient`, `mode-collapse`,
`adversarial-term-drowned`, `content-term-drowned`, `trivially-separable`.
"""

from collections.abc import Callable

import numpy as np

from counterpoise.diagnosis.finding import Evidence, Remedy
from counterpoise.diagnosis.found import Answer, Found, Missing, Rule, number, sureness
from counterpoise.diagnosis.remedies import (
    ARJOVSKY_BOTTOU,
    ESSER,
    GOODFELLOW,
    GOODFELLOW_TUTORIAL,
    LARGER_BATCH,
    LOWER_D_RATE,
    R1,
    TERM_WEIGHTS,
)
from counterpoise.diagnosis.rules_losses import PINNED, UNPINNED, squared_sigmoid_slope
from counterpoise.diagnosis.view import View
from counterpoise.diagnosis.windows import Spell, longest, smooth, spells

# Readings that a finding must rest on.
LEAST_READINGS = 3
# G's adversarial gradient over its own largest level: gone below, back above.
GONE, BACK = 0.01, 0.03
# Share of the adversarial term in the gradient at G's output.
DROWNED, AUDIBLE = 0.01, 0.03
# Outputs' diversity over that of real images.
COLLAPSED, DIVERSE = 0.35, 0.5
# AUC that D loses when its inputs are disturbed, and where it is sure.
SURE_AUC, LOST_AUC = 0.9, 0.2
OUT_OF_RANGE = 0.01
# The columns of D's AUC with disturbed inputs, and how they are.
PROBES = {
    "auc_quantised": "fakes are clamped and rounded to 8 bits as the real images are",
    "auc_border_hidden": "the borders of real and fake images are hidden",
}

TERM_GRADIENT = "the gradient of G's adversarial term"
TERM_GRADIENTS = "the gradients of G's terms at its output"


def _readings(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """The rows that have a reading, the smoothed readings, and how many make one value."""
    rows = np.flatnonzero(np.isfinite(values))
    window = max(3, len(rows) // 8)
    return rows, smooth(values[rows], window), window


def _found(
    view: View, rows: np.ndarray, spell: Spell | None, severe: bool, *evidence: Evidence
) -> Answer:
    """A finding over a spell of readings; severe only where it goes on to the last ones."""
    if spell is None or spell.rows < LEAST_READINGS:
        return None
    severity = "severe" if severe and spell.last >= len(rows) - 2 else "warning"
    original = Spell(int(rows[spell.first]), int(rows[spell.last]))
    if view.is_over(original):
        severity = "note"
    return Found(severity, original, sureness(spell.rows), evidence)


def g_vanishing_gradient(view: View) -> Answer:
    """Next to nothing of the adversarial loss reaches G."""
    gradient = _adversarial_gradient(view)
    if np.isfinite(gradient).sum() >= 2 * LEAST_READINGS:
        return _vanished(view, gradient)
    if view.objective is None:
        return Missing()
    if not view.objective.g_gradient_saturates:
        # G's loss keeps its slope in D's output, however sure D is.
        return Missing(TERM_GRADIENT)
    fake = view.fake_probability
    rows, level, _ = _readings(fake)
    spell = longest(spells(level < PINNED, level < UNPINNED))
    if spell is None:
        return None
    spell = spell.begin_where(fake[rows] < PINNED)
    output = spell.median(fake[rows])
    share = squared_sigmoid_slope(output)[1]
    text = (
        f"at D(G(z)) = {number(output)} {share:.1%} of the largest gradient gets through the "
        "squared sigmoid to G"
    )
    return _found(view, rows, spell, True, Evidence("share of the gradient", share, text))


def _vanished(view: View, gradient: np.ndarray) -> Answer:
    """The adversarial gradient at G's output far below its own largest level, or 0."""
    rows, level, _ = _readings(gradient)
    largest = float(np.nanmax(level))
    relative = level / largest if largest else np.zeros(len(rows))
    spell = longest(spells(relative < GONE, relative < BACK))
    if spell is None:
        return None
    value = spell.median(relative)
    text = f"is {number(value)} of its largest ({number(largest)})"
    if not largest:
        text = "is exactly 0 all along: its weight is 0 so far, or nothing comes back through D"
    text = f"the adversarial gradient at G's output {text}"
    evidence = Evidence("G's adversarial gradient", value, text)
    return _found(view, rows, spell, largest > 0, evidence)


def _adversarial_gradient(view: View) -> np.ndarray:
    """The adversarial gradient at G's output, without readings of exactly 0 that it begins with:
    programs that let G go ahead alone give the term a weight of 0 (VQGAN's `disc_start`)."""
    gradient = view.trace.get("g_gradient_adversarial").copy()
    nonzero = np.flatnonzero(np.isfinite(gradient) & (gradient != 0))
    gradient[: nonzero[0] if len(nonzero) else 0] = np.nan
    return gradient


def mode_collapse(view: View) -> Answer:
    """Outputs differ far less from each other than real images do."""
    rows, level, _ = _readings(view.trace.get("diversity_ratio"))
    if len(rows) < LEAST_READINGS:
        return Missing()
    spell = longest(spells(level < COLLAPSED, level < DIVERSE))
    if spell is None or spell.last < len(rows) - 2:
        return None  # It may have been alike at first, as every G is, and is no more.
    value = spell.median(level)
    text = f"outputs differ from each other {number(value)} times as much as real images do"
    return _found(view, rows, spell, True, Evidence("diversity of outputs", value, text))


def adversarial_term_drowned(view: View) -> Answer:
    """The adversarial term has no share in the gradient at G's output."""
    return _drowned(view, "the adversarial term has", lambda share: share)


def content_term_drowned(view: View) -> Answer:
    """The content terms have no share in the gradient at G's output."""
    return _drowned(view, "the content terms have", lambda share: 1 - share)


def _drowned(view: View, who_has: str, own: Callable[[np.ndarray], np.ndarray]) -> Answer:
    """`own`: from the adversarial term's share to that of the term."""
    adversarial, content = _adversarial_gradient(view), view.trace.get("g_gradient_content")
    # Without a content term there is nothing to share with.
    share = np.where(content > 0, adversarial / (adversarial + content), np.nan)
    rows, level, _ = _readings(share)
    if len(rows) < LEAST_READINGS:
        return Missing()
    level = own(level)
    spell = longest(spells(level < DROWNED, level < AUDIBLE))
    if spell is None or spell.rows < 0.5 * len(rows):
        return None
    value = spell.median(level)
    text = f"{who_has} {value:.2%} of the gradient at G's output (median of {spell.rows} readings)"
    who = who_has.rpartition(" ")[0]
    return _found(view, rows, spell, False, Evidence(f"share of {who}", value, text))


def trivially_separable(view: View) -> Answer:
    """D wins on range, rounding or borders: what no generator could mend."""
    trace, auc = view.trace, view.trace.get("auc")
    outside = trace.get("fake_out_of_range")
    if not any(trace.has(name) for name in PROBES) and not np.isfinite(outside).any():
        return Missing()
    evidence: list[Evidence] = []
    for name, how in PROBES.items():
        rows, level, window = _readings(trace.get(name))
        undisturbed = smooth(auc[rows], window)
        lost = np.where(undisturbed > SURE_AUC, undisturbed - level, 0.0)
        spell = longest(spells(lost > LOST_AUC, lost > LOST_AUC / 2))
        if spell is not None and spell.rows >= LEAST_READINGS:
            before, value = spell.median(undisturbed), spell.median(level)
            text = f"D's AUC falls from {before:.2f} to {value:.2f} where {how}"
            evidence.append(Evidence(name, value, text))
            found = rows, spell
    if evidence:
        return _found(view, *found, True, *evidence)
    if trace.has("auc_quantised"):
        return None  # Asked with fakes in range, D did as well: it does not go by that.
    rows, level, window = _readings(outside)
    level = np.where(smooth(auc[rows], window) > SURE_AUC, level, 0.0)
    spell = longest(spells(level > OUT_OF_RANGE, level > OUT_OF_RANGE / 2))
    if spell is None:
        return None
    value = spell.median(level)
    text = f"{value:.1%} of the fakes' values are outside the real images' range"
    evidence.append(Evidence("fakes' values out of range", value, text))
    return _found(view, rows, spell, True, *evidence)


RULES = (
    Rule(
        "g-vanishing-gradient",
        g_vanishing_gradient,
        "G's adversarial gradient has vanished",
        "Next to nothing of the adversarial loss reaches G, so it does not learn from D at "
        "all, whatever the loss is. Waiting rarely helps: D is so sure, or so broken, that its "
        "output no longer depends on the image.",
        "the gradient of G's adversarial term, or D(G(z)) under a loss that saturates "
        "(--objective)",
        (
            Remedy(
                "Use a loss that does not saturate where D is sure: BCE on logits with the "
                "non-saturating G loss, or hinge.",
                config="loss.adversarial.form=non-saturating",
                code="loss_g = softplus(-d(fake)).mean()  # D without its sigmoid",
                source=GOODFELLOW,
            ),
            LOWER_D_RATE,
            R1,
            Remedy(
                "Add noise to D's inputs, real and fake.",
                config="balance.policy=instance-noise",
                source=ARJOVSKY_BOTTOU,
            ),
        ),
        ARJOVSKY_BOTTOU,
    ),
    Rule(
        "mode-collapse",
        mode_collapse,
        "G's outputs have become alike",
        "The outputs of a batch differ far less from each other than real images do: G has "
        "settled on a few answers that pass. Losses do not show this, and it rarely heals.",
        "the diversity of outputs beside that of real images",
        (
            Remedy("Go back to a checkpoint from before, and lower G's learning rate."),
            Remedy(
                "Let D see differences within a batch (minibatch standard deviation).",
                source="Karras et al. 2018, section 3 (arXiv 1710.10196)",
            ),
            Remedy(
                "Compare real and fake in pairs with R1 and R2.",
                config="loss.adversarial.form=relativistic-paired",
                source="Huang et al. 2024 (arXiv 2501.05441)",
            ),
            R1,
            LARGER_BATCH,
        ),
        GOODFELLOW_TUTORIAL,
        least_steps=400,
    ),
    Rule(
        "adversarial-term-drowned",
        adversarial_term_drowned,
        "The adversarial term is drowned by the others",
        "Nearly all of the gradient that reaches G comes from its other losses, so D's opinion "
        "has no say in what G makes. D will win, and G is trained as if there were no D.",
        TERM_GRADIENTS,
        (
            TERM_WEIGHTS,
            Remedy(
                "Raise the adversarial weight, or lower that of the other terms.",
                config="loss.adversarial.weight=1",
            ),
            Remedy(
                "Bring the features of a perceptual loss to a mean of one, as the paper does.",
                config="features.normalisation=dataset",
                source="Sajjadi et al. 2017, section 5.3 (arXiv 1612.07919)",
            ),
        ),
        ESSER,
        least_steps=200,
    ),
    Rule(
        "content-term-drowned",
        content_term_drowned,
        "The content terms are drowned by the adversarial one",
        "Nearly all of the gradient that reaches G is adversarial, so nothing holds its output "
        "to the input. Expect artefacts and colours that drift.",
        TERM_GRADIENTS,
        (
            TERM_WEIGHTS,
            Remedy("Lower the adversarial weight.", config="loss.adversarial.weight=0.01"),
        ),
        ESSER,
        least_steps=200,
    ),
    Rule(
        "trivially-separable",
        trivially_separable,
        "D wins on something that G cannot change",
        "D separates real from fake by a trace of how they were made, not by what they show. "
        "No balance of losses mends that: both must go through the same pipeline.",
        "D's AUC with disturbed inputs (8-bit fakes, hidden borders), or the fakes' range",
        (
            Remedy(
                "Treat both alike: the same range, rounding, padding, resize and codec.",
                code="fake = fake.clamp(0, 1)  # and reals through the same resize and crop",
            ),
            Remedy(
                "Blur the trace for D with noise on its inputs.",
                config="balance.policy=instance-noise",
                source=ARJOVSKY_BOTTOU,
            ),
        ),
        ARJOVSKY_BOTTOU,
    ),
)
