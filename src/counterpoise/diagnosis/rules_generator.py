"""Rules on what reaches G and what it makes: `g-vanishing-gradient`, `adversarial-term-drowned`,
`content-term-drowned`, `mode-collapse`, `trivially-separable`.
"""

import numpy as np

from counterpoise.diagnosis.finding import Evidence
from counterpoise.diagnosis.found import (
    Answer,
    Found,
    Missing,
    begin_where,
    is_over,
    number,
    sureness,
)
from counterpoise.diagnosis.rules_losses import PINNED, STEEPEST, UNPINNED
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


def _readings(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """The rows that have a reading, the smoothed readings, and how many make one value."""
    rows = np.flatnonzero(np.isfinite(values))
    window = max(3, len(rows) // 8)
    return rows, smooth(values[rows], window), window


def _found(
    view: View, rows: np.ndarray, spell: Spell | None, severe: bool, evidence: list[Evidence]
) -> Answer:
    """A finding over a spell of readings; severe only where it goes on to the last ones."""
    if spell is None or spell.rows < LEAST_READINGS:
        return None
    goes_on = spell.last >= len(rows) - 2
    severity = "severe" if severe and goes_on else "warning"
    original = Spell(int(rows[spell.first]), int(rows[spell.last]))
    return Found(
        "note" if is_over(view, original) else severity,
        original,
        sureness(spell.rows),
        tuple(evidence),
    )


def g_vanishing_gradient(view: View) -> Answer:
    """Next to nothing of the adversarial loss reaches G."""
    gradient = _adversarial_gradient(view)
    if np.isfinite(gradient).sum() >= 2 * LEAST_READINGS:
        rows, level, _ = _readings(gradient)
        largest = float(np.nanmax(level))
        relative = level / largest if largest else np.zeros(len(rows))
        spell = longest(spells(relative < GONE, relative < BACK))
        value = float("nan") if spell is None else float(np.median(relative[_slice(spell)]))
        text = (
            f"the adversarial gradient at G's output is {number(value)} of its largest "
            f"({number(largest)})"
            if largest
            else "the adversarial gradient at G's output is exactly 0 all along: its weight is 0 "
            "so far, or nothing comes back through D"
        )
        evidence = [Evidence("G's adversarial gradient", value, text)]
        return _found(view, rows, spell, largest > 0, evidence)
    if view.objective is None:
        return Missing(("the gradient of G's adversarial term", "--objective"))
    if not view.objective.g_gradient_saturates:
        # Under the other objectives G's loss keeps its slope in D's output, however sure D is.
        return Missing(("the gradient of G's adversarial term",))
    fake = view.fake_probability
    rows, level, _ = _readings(fake)
    spell = longest(spells(level < PINNED, level < UNPINNED))
    if spell is None:
        return None
    spell = begin_where(fake[rows] < PINNED, spell)
    output = float(np.median(fake[rows][_slice(spell)]))
    slope = 2 * output * (1 - output) ** 2 / STEEPEST
    text = (
        f"at D(G(z)) = {number(output)} {slope:.1%} of the largest gradient gets through the "
        "squared sigmoid to G"
    )
    return _found(view, rows, spell, True, [Evidence("share of the gradient", slope, text)])


def _adversarial_gradient(view: View) -> np.ndarray:
    """The adversarial gradient at G's output, without readings of exactly 0 that it begins with:
    programs that let G go ahead alone give the term a weight of 0 (VQGAN's `disc_start`)."""
    gradient = view.trace.get("g_gradient_adversarial")
    nonzero = np.flatnonzero(np.isfinite(gradient) & (gradient != 0))
    if len(nonzero) and nonzero[0]:
        gradient = gradient.copy()
        gradient[: nonzero[0]] = np.nan
    return gradient


def _share(view: View) -> np.ndarray:
    adversarial = _adversarial_gradient(view)
    content = view.trace.get("g_gradient_content")
    with np.errstate(invalid="ignore", divide="ignore"):
        # Without a content term there is nothing to share with.
        return np.where(content > 0, adversarial / (adversarial + content), np.nan)


def adversarial_term_drowned(view: View) -> Answer:
    """The adversarial term has no share in the gradient at G's output."""
    rows, level, _ = _readings(_share(view))
    if len(rows) < LEAST_READINGS:
        return Missing(("the gradients of G's terms at its output",))
    spell = longest(spells(level < DROWNED, level < AUDIBLE))
    return _drowned(view, rows, level, spell, "the adversarial term")


def content_term_drowned(view: View) -> Answer:
    """The content terms have no share in the gradient at G's output."""
    rows, level, _ = _readings(_share(view))
    if len(rows) < LEAST_READINGS:
        return Missing(("the gradients of G's terms at its output",))
    spell = longest(spells(level > 1 - DROWNED, level > 1 - AUDIBLE))
    return _drowned(view, rows, 1 - level, spell, "the content terms")


def _drowned(
    view: View, rows: np.ndarray, share: np.ndarray, spell: Spell | None, who: str
) -> Answer:
    if spell is None or spell.rows < 0.5 * len(rows):
        return None
    value = float(np.median(share[_slice(spell)]))
    text = f"{who} has {value:.2%} of the gradient at G's output (median of {spell.rows} readings)"
    text = text.replace("terms has", "terms have")
    return _found(view, rows, spell, False, [Evidence(f"share of {who}", value, text)])


def mode_collapse(view: View) -> Answer:
    """Outputs differ far less from each other than real images do."""
    rows, level, _ = _readings(view.trace.get("diversity_ratio"))
    if len(rows) < LEAST_READINGS:
        return Missing(("the diversity of outputs beside that of real images",))
    spell = longest(spells(level < COLLAPSED, level < DIVERSE))
    if spell is not None and spell.last < len(rows) - 2:
        return None  # It was alike at first, as every G is, and is no more.
    value = float("nan") if spell is None else float(np.median(level[_slice(spell)]))
    text = f"outputs differ from each other {number(value)} times as much as real images do"
    return _found(view, rows, spell, True, [Evidence("diversity of outputs", value, text)])


def trivially_separable(view: View) -> Answer:
    """D wins on range, rounding or borders: what no generator could mend."""
    trace = view.trace
    probes = {
        "auc_quantised": "fakes are clamped and rounded to 8 bits as the real images are",
        "auc_border_hidden": "the borders of real and fake images are hidden",
    }
    auc = trace.get("auc")
    outside = trace.get("fake_out_of_range")
    if not any(trace.has(name) for name in probes) and not np.isfinite(outside).any():
        return Missing(("D's AUC with disturbed inputs, or the fakes' range",))
    evidence, rows_with, spell = [], np.array([], dtype=int), None
    for name, what in probes.items():
        rows, level, window = _readings(trace.get(name))
        if len(rows) < LEAST_READINGS:
            continue
        undisturbed = smooth(auc[rows], window)
        lost = undisturbed - level
        sure = undisturbed > SURE_AUC
        found = longest(spells(sure & (lost > LOST_AUC), sure & (lost > LOST_AUC / 2)))
        if found is None or found.rows < LEAST_READINGS:
            continue
        rows_with, spell = rows, found
        value = float(np.median(level[_slice(found)]))
        before = float(np.median(undisturbed[_slice(found)]))
        text = f"D's AUC falls from {before:.2f} to {value:.2f} where {what}"
        evidence.append(Evidence(name, value, text))
    if not evidence and trace.has("auc_quantised"):
        return None  # Asked with fakes in range, D did as well: it does not go by that.
    if not evidence:
        rows, level, window = _readings(outside)
        if len(rows) < LEAST_READINGS or not np.isfinite(auc).any():
            return None
        sure = smooth(auc[rows], window) > SURE_AUC
        spell = longest(spells(sure & (level > OUT_OF_RANGE), sure & (level > OUT_OF_RANGE / 2)))
        if spell is None:
            return None
        rows_with = rows
        value = float(np.median(level[_slice(spell)]))
        text = f"{value:.1%} of the fakes' values are outside the real images' range"
        evidence.append(Evidence("fakes' values out of range", value, text))
    return _found(view, rows_with, spell, True, evidence)


def _slice(spell: Spell) -> slice:
    return slice(spell.first, spell.last + 1)
