"""Rules on what reaches G and what it makes: `g-vanishing-gradient`, `mode-collapse`,
`adversarial-term-drowned`, `content-term-drowned`, `trivially-separable`, `quality-falls`.
"""

from dataclasses import replace

import numpy as np

from counterpoise.diagnosis.finding import Answer, Evidence, Found, Missing, number, sureness
from counterpoise.diagnosis.remedies import described
from counterpoise.diagnosis.rules_losses import PINNED, UNPINNED, squared_sigmoid_slope
from counterpoise.diagnosis.view import DISTANCES, View
from counterpoise.objectives import UNKNOWN
from counterpoise.spells import Spell, longest, medians, smooth
from counterpoise.trace import COLUMNS

# Readings that a finding must rest on.
LEAST_READINGS = 3
# G's adversarial gradient over its own largest level: gone below, back above.
VANISHED, BACK = 0.01, 0.03
HAS_LEARNED = 0.12  # the lead of a D that has learned
# Share of the adversarial term in the gradient at G's output where it is drowned, where it is
# heard again, and the share of the training; the same of the content terms.
DROWNED, CONTENT_DROWNED = (0.01, 0.03, 0.5), (0.05, 0.1, 0.25)
NO_SHARE = 1e-3  # the same by value
# Lines that show a trend of G's printed terms; the content's growth over it, and that which is a
# fault by itself, as it is where their share by value is small.
LEAST_TREND, RISEN, FAR_RISEN, SMALL = 12, 1.5, 3.0, 0.1
COLLAPSED, DIVERSE = 0.35, 0.5  # outputs' diversity over that of real images
# AUC that D loses when its inputs are disturbed, and where it is sure.
SURE_AUC, LOST_AUC = 0.9, 0.2
OUT_OF_RANGE = 0.01
# The columns of D's AUC with disturbed inputs, and how they are.
PROBES = {
    "auc_quantised": "fakes are clamped and rounded to 8 bits as the real images are",
    "auc_border_hidden": "the borders of real and fake images are hidden",
}
# Evaluations that it takes to speak of a trend; how much worse than the best one quality is where
# it has fallen, and in how many of the last ones before that counts as lasting.
LEAST_EVALUATIONS, DISTANCE_WORSE, LASTING = 3, 1.25, 2
MANY_EVALUATIONS = 12  # of more, means of neighbours are compared
# The median size of second differences over the standard deviation of independent noise, and how
# many of these a fall must be.
SCATTER_OF_SECONDS, FALL_OVER_SCATTER = 1.65, 4.0
# Measures of images and the fall from the best that is one: a share of a distance, else so much
# less. An adversarial term costs 1 to 3 dB of PSNR by its nature (Blau and Michaeli 2018, arXiv
# 1711.06077).
FALLS = dict.fromkeys(DISTANCES, DISTANCE_WORSE) | {"held_out_psnr": 4.0, "held_out_ssim": 0.15}


class ColumnReadings:
    """The rows of a column that have a value: readings are made now and then."""

    def __init__(self, view: View, values: np.ndarray) -> None:
        self._view = view
        self._rows = np.flatnonzero(np.isfinite(values))
        self._window = max(3, len(self._rows) // 8)
        self.level = self.smooth(values)

    def __len__(self) -> int:
        return len(self._rows)

    def smooth(self, values: np.ndarray) -> np.ndarray:
        """A column in these rows, smoothed over neighbouring readings."""
        return smooth(values[self._rows], self._window)

    def last(self, spell: Spell) -> bool:
        """Whether a spell goes on to the last readings."""
        return spell.last >= len(self) - 2

    def found(self, spell: Spell | None, *evidence: Evidence, severe: bool = True) -> Answer:
        """A finding over a spell of readings; severe only where it goes on to the last ones."""
        if spell is None or spell.rows < LEAST_READINGS:
            return None
        severity = "severe" if severe and self.last(spell) else "warning"
        original = Spell.over(self._rows[[spell.first, spell.last]])
        if self._view.is_over(original):
            severity = "note"
        return Found(severity, original, sureness(spell.rows), evidence)


def g_vanishing_gradient(view: View) -> Answer:
    """Next to nothing of the adversarial loss reaches G."""
    gradient = _adversarial_gradient(view)
    if np.isfinite(gradient).sum() >= 2 * LEAST_READINGS:
        readings = ColumnReadings(view, gradient)
        largest = float(np.nanmax(readings.level))
        relative = readings.level / largest if largest else np.zeros(len(readings))
        spell = longest(relative < VANISHED, relative < BACK)
        value = spell.median(relative) if spell is not None else np.nan
        text = f"is {number(value)} of its largest ({number(largest)})"
        if not largest:
            text = "is exactly 0 all along: its weight is 0 so far, or nothing comes back through D"
        text = f"the adversarial gradient at G's output {text}"
        evidence = Evidence("G's adversarial gradient", value, text)
        return readings.found(spell, evidence, severe=largest > 0)
    if view.objective_name == UNKNOWN:
        return Missing()
    if not view.objective.g_gradient_saturates:
        # G's loss keeps its slope in D's output, however sure D is.
        return Missing("the gradient of G's adversarial term")
    fake = view.fake_probability
    readings = ColumnReadings(view, fake)
    fake, level = fake[np.isfinite(fake)], readings.level
    spell = longest(level < PINNED, level < UNPINNED)
    if spell is None:
        return None
    spell = spell.begin_where(fake < PINNED)
    output = spell.median(fake)
    _, share, percent = squared_sigmoid_slope(output)
    text = f"D(G(z)) is {number(output)}, where {percent} of the largest gradient reaches G"
    return readings.found(spell, Evidence("share of the gradient", share, text))


def _adversarial_gradient(view: View) -> np.ndarray:
    """The adversarial gradient at G's output, without readings of exactly 0 that it begins with:
    programs that let G go ahead alone give the term a weight of 0 (VQGAN's `disc_start`). Where all
    are 0 they are left only if D has learned: then it is not that G is still alone."""
    gradient = view.trace.get("g_gradient_adversarial").copy()
    nonzero = np.flatnonzero(np.isfinite(gradient) & (gradient != 0))
    alone = 0 if view.whole.median(view.lead) > HAS_LEARNED else len(gradient)
    gradient[: nonzero[0] if len(nonzero) else alone] = np.nan
    return gradient


def mode_collapse(view: View) -> Answer:
    """Outputs differ far less from each other than real images do."""
    readings = ColumnReadings(view, view.trace.get("diversity_ratio"))
    if len(readings) < LEAST_READINGS:
        return Missing()
    level = readings.level
    spell = longest(level < COLLAPSED, level < DIVERSE)
    if spell is None or not readings.last(spell):
        return None  # It may have been alike at first, as every G is, and is no more.
    value = spell.median(level)
    text = f"outputs differ from each other {number(value)} times as much as real images do"
    first, middle, last = medians(level, 3)
    # Of a young G they never differed more, and come to.
    grows = first < middle < last and last > max(2 * first, COLLAPSED / 2)
    is_young = spell.first == 0 and grows
    if is_young:
        text += f", at first {number(first)}, now {number(last)}"
    found = readings.found(spell, Evidence("diversity of outputs", value, text))
    return replace(found, severity="note") if is_young and isinstance(found, Found) else found


def adversarial_term_drowned(view: View) -> Answer:
    """The adversarial term has no share in the gradient at G's output; or, by its value, in G's
    loss."""
    answer, share = _drowned(view, is_content=False), view.trace.get("g_adversarial")
    share = view.whole.within(np.abs(share / view.trace.get("g_loss")))
    if not isinstance(answer, Missing) or len(share) < LEAST_TREND or np.median(share) > NO_SHARE:
        return answer
    value = float(np.median(share))
    text = f"the adversarial term is {value:.1g} of G's loss as printed: the rest drowns it"
    evidence = Evidence("share of the adversarial term in G's loss", value, text)
    return Found("warning", view.whole, sureness(len(share), 0.8), [evidence])


def content_term_drowned(view: View) -> Answer:
    """The content terms have no share in the gradient at G's output; or, by their values, rise for
    good while the adversarial one falls."""
    trace, answer = view.trace, _drowned(view, is_content=True)
    adversarial, content = trace.get("g_adversarial"), trace.get("g_content")
    rows = np.flatnonzero((content > 0) & (adversarial > 0))
    if not isinstance(answer, Missing) or len(rows) < LEAST_TREND:
        return answer
    first, middle, last = medians(content[rows], 3)
    before, _, after = medians(adversarial[rows], 3)
    if not (first < middle < last and last > RISEN * first and after < before):
        return None
    share = last / (last + after)
    text = (
        f"G's content terms rise from {number(first)} to {number(last)} while its adversarial one "
        f"falls from {number(before)} to {number(after)}: they are {share:.1%} of both, as printed"
    )
    severity = "warning" if share < SMALL or last > FAR_RISEN * first else "note"
    evidence = Evidence("G's content terms at the end over the beginning", last / first, text)
    return Found(severity, Spell.over(rows), sureness(len(rows), 0.8), [evidence])


def _drowned(view: View, *, is_content: bool) -> Answer:
    adversarial, content = _adversarial_gradient(view), view.trace.get("g_gradient_content")
    # Without a content term there is nothing to share with.
    share = np.where(content > 0, adversarial / (adversarial + content), np.nan)
    readings = ColumnReadings(view, share)
    if len(readings) < LEAST_READINGS:
        return Missing()
    level = 1 - readings.level if is_content else readings.level
    silent, audible, least = CONTENT_DROWNED if is_content else DROWNED
    spell = longest(level < silent, level < audible)
    if spell is None or spell.rows < least * len(readings):
        return None
    value = spell.median(level)
    term = "the content terms" if is_content else "the adversarial term"
    if is_content and view.is_own_record and view.trace.title:
        term = "G's other terms, those of other D's among them,"
    text = f"{value:.2%} of the gradient at G's output (median of {spell.rows} readings)"
    evidence = Evidence(f"share of {term}", value, f"the share of {term} is {text}")
    return readings.found(spell, evidence, severe=False)


def trivially_separable(view: View) -> Answer:
    """D wins on range, rounding or borders: what no generator could mend."""
    trace, auc = view.trace, view.trace.get("auc")
    if not any(trace.has(name) for name in (*PROBES, "fake_out_of_range")):
        return Missing()
    evidence = []
    for name, how in PROBES.items():
        probe = ColumnReadings(view, trace.get(name))
        undisturbed = probe.smooth(auc)
        lost = np.where(undisturbed > SURE_AUC, undisturbed - probe.level, 0.0)
        spell = longest(lost > LOST_AUC, lost > LOST_AUC / 2)
        if spell is not None and spell.rows >= LEAST_READINGS:
            before, value = spell.median(undisturbed), spell.median(probe.level)
            text = f"D's AUC falls from {before:.2f} to {value:.2f} where {how}"
            evidence.append(Evidence(name, value, text))
            readings, shows = probe, spell
    if evidence:
        return readings.found(shows, *evidence)
    if trace.has("auc_quantised"):
        return None  # Asked with fakes in range, D did as well: it does not go by that.
    readings = ColumnReadings(view, trace.get("fake_out_of_range"))
    level = np.where(readings.smooth(auc) > SURE_AUC, readings.level, 0.0)
    spell = longest(level > OUT_OF_RANGE, level > OUT_OF_RANGE / 2)
    if spell is None:
        return None
    value = spell.median(level)
    text = f"{value:.1%} of the fakes' values are outside the real images' range"
    return readings.found(spell, Evidence("fakes' values out of range", value, text))


def quality_falls(view: View) -> Answer:
    """Held-out quality is worse than it was, whatever the losses say: by the measure of images that
    shows it best."""
    judged = [_fall(view, column) for column in FALLS]
    found = [each for each in judged if isinstance(each, Found)]
    missing = all(isinstance(each, Missing) for each in judged)
    return max(found, key=lambda each: each.confidence, default=Missing() if missing else None)


def _fall(view: View, column: str) -> Answer:
    """The same by one measure."""
    what, limit = COLUMNS[column], FALLS[column]
    measured = view.trace.get(column)
    rows = np.flatnonzero(np.isfinite(measured))
    if len(rows) < LEAST_EVALUATIONS:
        return Missing()
    # Of a batch in each line the best is chance, and a fall that is small beside the noise, which
    # second differences show whatever the trend is.
    window = max(1, len(rows) // MANY_EVALUATIONS)
    values = smooth(measured[rows], window)
    scatter = float(np.median(np.abs(np.diff(measured[rows], 2)))) / SCATTER_OF_SECONDS
    is_distance = column in DISTANCES
    best = int(np.argmin(values) if is_distance else np.argmax(values))
    top, since = values[best], values[best + 1 :]
    worse = since > limit * top if is_distance else since < top - limit
    # No share of a best at 0 or below says anything: KID is estimated without bias.
    if not len(worse) or not worse[-1] or (is_distance and top <= 0):
        return None
    if not is_distance and top - values[-1] < FALL_OVER_SCATTER * scatter / np.sqrt(window):
        return None
    lasts = len(worse) >= LASTING and bool(worse[-LASTING:].all())
    if view.is_own_record:
        what = "sliced Wasserstein distance of held-out images"
    by = "a quarter" if is_distance else number(limit)
    text = (
        f"the {what} ({'lower' if is_distance else 'higher'} is better) was {number(top)} at "
        f"{view.at(rows[best])} and is {number(values[-1])} at {view.at(rows[-1])}, "
        f"worse by {by} in {int(worse.sum())} of {len(worse)} "
        "evaluations since"
    )
    severity = "severe" if lasts else "warning"
    losses = np.isfinite(view.trace.first("d_loss", "d_loss_real", "g_loss"))
    if (
        not is_distance
        and view.trace.counts_batches
        and np.isin(np.flatnonzero(losses), rows).all()
    ):
        severity = "note"  # In the line of every step it is of training images.
    return Found(
        severity,
        Spell(int(rows[best]), int(rows[-1])),
        0.9 if lasts else 0.6,
        [Evidence(f"{what} over its best", float(values[-1] / top), text)],
    )


RULES = (
    described("g-vanishing-gradient", g_vanishing_gradient),
    described("mode-collapse", mode_collapse),
    described("adversarial-term-drowned", adversarial_term_drowned),
    described("content-term-drowned", content_term_drowned),
    described("trivially-separable", trivially_separable),
    described("quality-falls", quality_falls),
)
