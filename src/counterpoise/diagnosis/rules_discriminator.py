"""Rules on who leads: `d-saturated`, `d-too-weak`, `oscillation`, `d-memorises`."""

from dataclasses import replace

import numpy as np

from counterpoise.diagnosis.finding import Answer, Evidence, Found, Missing, lines, number, sureness
from counterpoise.diagnosis.remedies import REMEDIES, described
from counterpoise.diagnosis.rules_generator import HAS_LEARNED, ColumnReadings
from counterpoise.diagnosis.view import DISTANCES, LEAST_ROWS, View
from counterpoise.objectives import UNKNOWN
from counterpoise.spells import LEAST_SPELL, Spell, longest, smooth

# D's loss over its value at chance: below the first D is certain, above the second no more.
CERTAIN, UNSURE = 0.08, 0.2
# Below this a D that is right about nearly every image is certain enough of them.
FAR_BELOW_CHANCE = 0.5
# D's accuracy, there and where neither outputs nor a loss of known meaning are.
SURE_ACCURACY, UNSURE_ACCURACY = 0.985, 0.95
# Share of the log that a spell of certainty must last to be a problem.
LASTING_SHARE = 0.15
# How far D leads (0: chance, 1: certain) where it is at chance, at most.
AT_CHANCE = 0.1
# D's loss over its value at chance, where only the loss is there: never below the first, not far
# above it (that is no chance), and this flat.
NOT_LEARNED, TOO_FAR_ABOVE, FLAT = 0.95, 1.5, 0.1
WEAK_SHARE = 0.8
# A lead below the first is no chance; below the second D is wrong about most images.
WRONG, MOSTLY_WRONG = -0.1, -0.5
NEARLY = 0.85  # of D's loss on fakes, as D's loss has it, that G's loss shows
# D's loss over chance that is chance to the last digit that matters.
JUST_CHANCE = 0.003
# Mean scores on real and fake that are no further apart than this are the same; of a critic, whose
# scores have no scale of their own, those that are apart by this share of them.
NOT_APART, NOT_APART_OF_SCORES = 0.05, 1e-3
# Swings: between leads above and below these, at least so many times.
FAR_AHEAD, LEVEL = 0.75, 0.2
LEAST_SWINGS = 4
# D(G(z)) alone: the range that it must cover, and the swings over most of it.
WIDE, LEAST_WIDE_SWINGS = 0.3, 6
# Share of the way from real to fake at which held-out real images are judged.
BY_HEART, NOT_BY_HEART = 0.6, 0.4
LEADS = 0.5  # the lead that a D has which knows its images by heart
ENOUGH_LINES = f"at least {LEAST_ROWS} lines"


def d_saturated(view: View) -> Answer:
    """D is certain of nearly all images, and stays so: by its loss, or (no critic) accuracy or AUC.
    At most a warning where the loss does not go down that far: G's gradient need not be gone."""
    relative, shows = view.relative_d_loss, None
    accuracy = view.accuracy if np.isfinite(view.accuracy).any() else view.trace.get("auc")
    level = view.smoothed(accuracy)
    # On raw scores G's gradient does not fade with D's certainty.
    loses_gradient = view.objective_name == UNKNOWN or view.objective.has_probability
    if np.isfinite(relative).any():
        loss, shows = view.smoothed(relative), relative < CERTAIN
        spell = _lasting(view, loss < CERTAIN, loss < UNSURE)
        if spell is None:
            # Though its loss is not near 0: smoothed labels leave their entropy in it, and a D that
            # is right about nearly every image may be certain enough of them.
            of_fake, level = view.smoothed(view.fake_share_of_loss), view.smoothed(view.accuracy)
            low = loss < FAR_BELOW_CHANCE
            enters = (of_fake < CERTAIN / 2) | ((level >= SURE_ACCURACY) & low)
            stays = (of_fake < UNSURE / 2) | ((level >= UNSURE_ACCURACY) & low)
            spell, shows = _lasting(view, enters, stays), relative < FAR_BELOW_CHANCE
            loses_gradient = False
    elif view.objective_name == "wgan":
        return None  # A critic is asked to separate, and G's gradient does not fade by it.
    elif np.isfinite(accuracy).any():
        spell = _lasting(view, level >= SURE_ACCURACY, level >= UNSURE_ACCURACY)
    elif np.isfinite(view.relative_outputs).any():
        loss, shows = view.smoothed(view.relative_outputs), view.relative_outputs < CERTAIN
        spell = _lasting(view, loss < CERTAIN, loss < UNSURE)
        loses_gradient = False
    else:
        return Missing()
    if spell is None:
        return Missing(ENOUGH_LINES) if view.is_short else None
    if shows is not None:
        spell, rows = spell.begin_where(shows), np.flatnonzero(shows[: spell.last + 1])
        least = max(LEAST_SPELL, LASTING_SHARE * view.rows)
        if len(rows) and spell.first <= rows[-1] <= spell.last - least:
            spell = Spell(spell.first, int(rows[-1]))  # What has not shown for so long is over.
        rest = shows[spell.last + 1 :]
        if rest.sum() > len(rest) / 2 and len(rest) < least:
            spell = Spell(spell.first, view.rows - 1)  # A line or two before the end end nothing.
    if view.is_certain_of_others:
        return None  # What is certain is not the fakes of this G.
    loses_gradient &= not spell.median(relative) > CERTAIN
    distance = spell.within(view.trace.first(*DISTANCES))
    if len(distance) > 2 and distance[-1] == distance.min() < distance[0]:
        loses_gradient = False  # So G still learns from this D.
    severity = "severe" if view.lasts(spell) and loses_gradient else "warning"
    return Found(
        "note" if view.is_short or view.is_over(spell) else severity,
        spell,
        sureness(spell.rows, 1.0 if loses_gradient else 0.7),
        _certainty(view, spell),
        title="" if view.lasts(spell) else "D was too strong: certain, and is so no more",
    )


def _lasting(view: View, enters: np.ndarray, stays: np.ndarray) -> Spell | None:
    """The longest spell of certainty, where it is long enough to be a problem: of few lines all."""
    if view.is_short:
        return view.whole if enters.all() else None
    spell = longest(enters, stays)
    least = max(LEAST_SPELL, LASTING_SHARE * view.rows)
    return None if spell is None or spell.rows < least else spell


def _certainty(view: View, spell: Spell) -> list[Evidence]:
    """How certain D is, the strongest number first."""
    evidence = []
    for name, column, said in (
        ("AUC", view.trace.get("auc"), "scores a real image above a fake one in {:.1%} of pairs"),
        ("D's accuracy", view.accuracy, "judges {:.1%} of the images rightly"),
    ):
        # Keras counts no real image as right whose label is smoothed. With one image to a batch
        # each line is all or nothing: a share is their mean.
        known = spell.within(column)
        if len(known) and (value := float(known.mean())) >= UNSURE_ACCURACY:
            text = f"D {said.format(value)} (mean of {lines(len(known))})"
            evidence.append(Evidence(name, value, text))
    real, fakes = view.real_probability, view.fake_probability
    if np.isfinite(view.relative_outputs).any():
        real, fakes = view.trace.get("d_real"), view.trace.get("d_fake_before")
    shares = spell.within(view.fake_share_of_loss)
    for name, value in (("D(x)", spell.median(real)), ("D(G(z))", spell.median(fakes))):
        if np.isfinite(value):
            text = f"{name} is {number(value)} (median)"
            if name == "D(x)" and len(shares) > spell.rows / 2:
                text = f"D(x) holds still at {number(value)}, as smoothed labels ask"
            evidence.append(Evidence(name, value, text))
    evidence += _loss_against_chance(view, spell)
    if len(shares) and not len(spell.within(fakes)):
        value = spell.median(view.g_adversarial)
        text = f"G's loss is {number(value)} (median), that of D(G(z)) = {number(np.exp(-value))}"
        text += "; D's loss comes down to what smoothed labels leave, and no further"
        evidence.append(Evidence("G's loss", value, text))
    return evidence


def _loss_against_chance(view: View, spell: Spell) -> list[Evidence]:
    """D's loss, or the least that goes with its outputs, and what it is at chance."""
    relative = spell.median(view.relative_d_loss)
    if not np.isfinite(relative):
        return []
    chance, loss = view.objective.equilibrium_d_loss, spell.median(view.d_loss)
    least, halves = "", view.halves_are_summed
    if not np.isfinite(loss):
        loss, least, halves = relative * chance, "at least ", ""
    text = (
        f"D's loss is {least}{number(loss)} (median{halves}); where D cannot tell, it is "
        f"{number(chance)} under {view.objective.title}"
    )
    return [Evidence("D's loss", loss, text)]


def d_too_weak(view: View) -> Answer:
    """D has been at chance from the start, so it never learned; or is wrong more often than
    right."""
    lead = view.lead
    if view.is_scaled_chance and not abs(view.whole.median(lead)) < AT_CHANCE:
        ratio = view.trace.get("d_loss") / view.trace.first("g_loss", "g_adversarial")
        text = (
            "D's loss is twice G's in every line, ln 4 to ln 2, or 1/2 to 1/4: that of a D at "
            "chance under BCE or least squares, whatever factor is in both"
        )
        evidence = [Evidence("D's loss over G's", view.whole.median(ratio), text)]
        return _weak(view, "warning", 0.8, evidence)
    found = _wrong(view)
    if view.is_short:
        # Of few lines each must be of a D that is mostly wrong, or exactly at chance.
        if found and found.severity == "severe":
            return replace(found, severity="note")
        relative = view.whole.within(view.relative_d_loss)
        if len(relative) < view.rows or np.abs(relative - 1).max() > JUST_CHANCE:
            return Missing(ENOUGH_LINES)
        evidence = _loss_against_chance(view, view.whole)
        return Found("note", view.whole, sureness(view.rows, 0.8), evidence)
    if found:
        return found
    if view.rows < 2 * LEAST_SPELL:
        return Missing(f"at least {2 * LEAST_SPELL} lines")
    # There are programs whose good trainings stay near chance.
    severity = "note" if view.program.chance_is_normal else "warning"
    if not np.isfinite(lead).any():
        # Raw scores tell at least whether they have ever differed.
        trace, fakes = view.trace, ("fake_logit_mean", "d_fake_before")
        gap, limit = trace.first("real_logit_mean", "d_real") - trace.first(*fakes), NOT_APART
        if not np.isfinite(gap).any() and trace.has("d_loss_real"):
            gap = view.d_loss  # of mean scores: what a critic prints as its halves
            scores = view.whole.median(np.abs(trace.get("d_loss_real")))
            limit = min(limit, NOT_APART_OF_SCORES * scores)
        gap = view.whole.within(np.abs(view.smoothed(gap)))
        if len(gap) < 2 * LEAST_SPELL:
            return Missing()
        if (largest := float(gap.max())) > limit:
            return None
        name = "largest distance of D's mean scores"
        text = f"{name} on real and fake images: {number(largest)}, next to nothing on any scale"
        evidence = [Evidence(name, largest, text)]
        return _weak(view, severity, 0.7, evidence)
    level = view.smoothed(lead)
    if _is_told(view):
        chance, learned = np.abs(level) < AT_CHANCE, level > HAS_LEARNED
    else:
        relative = view.smoothed(view.relative_d_loss)
        chance = (relative >= NOT_LEARNED) & (relative < TOO_FAR_ABOVE)
        learned = relative < NOT_LEARNED
        chance &= np.nanstd(relative) < FLAT
    known = np.isfinite(level)
    # A D that once led and is at chance now has been caught up with: that is balance. One that led
    # for the first time in the second half was no D for most of the training.
    before = int(np.argmax(learned)) if learned[known].any() else view.rows
    if before < view.rows / 2 or chance[known].mean() < WEAK_SHARE:
        return None
    value = view.whole.median(lead)
    never = before == view.rows
    when = "never" if never else f"not before {view.at(before)}"
    text = (
        f"D's lead is {number(value)} (median; 0 is chance, 1 certainty); its mean over "
        f"{lines(view.window)} is {when} above {HAS_LEARNED}"
    )
    if _is_told(view) and (lead[np.isfinite(lead)] < 0).all():
        text += "; D rates fakes above real images in every line"
    evidence = _loss_against_chance(view, view.whole)
    evidence.append(Evidence("D's lead over chance", value, text))
    return _weak(view, severity, 0.8, evidence)


def _weak(view: View, severity: str, directness: float, evidence: list[Evidence]) -> Found:
    """D is at chance: not trained, or, where the rows show that it is, in spite of it."""
    before, after = view.trace.get("d_fake_before"), view.trace.get("d_fake_after")
    known = np.isfinite(before) & np.isfinite(after)
    moved = int((before != after)[known].sum())
    updated = view.whole.median(view.trace.get("d_updated")) == 1
    rate = view.whole.median(view.trace.get("d_learning_rate"))
    is_trained = moved > known.sum() / 2 or (updated and rate > 0)
    if is_trained:
        text = f"D is trained: its learning rate is {number(rate)}"
        if moved:
            text = f"D is trained: D(G(z)) moves with its step in {lines(moved, int(known.sum()))}"
        evidence.insert(0, Evidence("D's learning rate", rate, text))
    distance = view.trace.first(*DISTANCES)
    rows = np.flatnonzero(np.isfinite(distance))
    if len(rows) > 1 and distance[rows[-1]] < distance[rows[0]]:
        first, last, best = *distance[rows[[0, -1]]], np.nanmin(distance)
        text = (
            "held-out quality improves all the same, by G's other losses: the distance goes from "
            f"{number(first)} to {number(last)} (lower is better; at best {number(best)})"
        )
        evidence.insert(1, Evidence("held-out distance over its first", float(last / first), text))
    return Found(
        severity,
        view.whole,
        sureness(view.rows, directness),
        evidence,
        title="D is at chance though it is trained" if is_trained else "",
        first_remedies=() if is_trained else (REMEDIES["check-loop"],),
    )


def _is_told(view: View) -> bool:
    """Whether D's lead is told by its judgements, not by its loss alone."""
    told = (view.accuracy, view.real_probability, view.trace.get("auc"))
    return any(np.isfinite(each).any() for each in told)


def _wrong(view: View) -> Found | None:
    """D is worse than one that knows nothing, all along and at the end."""
    lead, last = view.whole.median(view.lead), view.last_third.median(view.lead)
    by_loss = not _is_told(view)
    if by_loss:
        # Unless G's loss shows that it is on fakes, too, that D's is so large, it may be several
        # D's, or have another term in it.
        half, loss = view.whole.median(view.fooled_half), view.whole.median(view.d_loss)
        if not half > max(NEARLY * loss, view.objective.equilibrium_d_loss) / 2:
            return None
    if not (lead < WRONG and last < WRONG):
        return None
    wrong = view.whole.within(view.lead) < WRONG
    counts = np.isfinite(view.accuracy).any() or by_loss
    what = "D is wrong more often than right" if counts else "D rates fakes above real images"
    text = f"{what} in {lines(int(wrong.sum()), len(wrong))}"
    evidence = [
        Evidence("D's lead over chance", lead, text),
        *_loss_against_chance(view, view.whole),
    ]
    if by_loss:
        value = view.whole.median(view.g_adversarial)
        text = f"G's loss is {number(value)} (median): D takes fakes for real"
        evidence.append(Evidence("G's loss", value, text))
    if len(known := view.whole.within(view.accuracy)):
        value = float(known.mean())
        text = f"D judges {value:.1%} of the images rightly (mean of {lines(len(known))})"
        evidence.append(Evidence("D's accuracy", value, text))
    severity = "severe" if lead < MOSTLY_WRONG and last < MOSTLY_WRONG else "warning"
    meaning = (
        "A D that knows nothing is right about half of the images, so one that is wrong about more "
        "has learned the opposite of what it is asked, or G moves faster than it can follow. Look "
        "for exchanged labels, for a D that is trained too seldom, and for a rate that breaks it."
    )
    return Found(severity, view.whole, sureness(view.rows, 0.9), evidence, meaning=meaning)


def oscillation(view: View) -> Answer:
    """D is far ahead and level in turns."""
    lead = view.lead
    if not np.isfinite(lead).any():
        return Missing()
    # Short windows: a swing must not be smoothed away, single batches must.
    window = max(3, view.window // 4)
    turns, low, high = _turns(smooth(lead, window), LEVEL, FAR_AHEAD), LEVEL, FAR_AHEAD
    what, least = "D's lead", LEAST_SWINGS
    if len(turns) <= least and np.isfinite(view.fake_probability).any():
        fake = smooth(view.fake_probability, window)
        bottom, top = (float(x) for x in np.nanquantile(fake, (0.1, 0.9)))
        if top - bottom >= WIDE:
            low, high = bottom + 0.25 * (top - bottom), top - 0.25 * (top - bottom)
            turns, what, least = _turns(fake, low, high), "D(G(z))", LEAST_WIDE_SWINGS
    swings = len(turns) - 1
    if swings < least:
        return None
    spell = Spell.over(turns)
    if spell.rows < LASTING_SHARE * view.rows:
        return None
    text = f"{what} goes {swings} times between below {number(low)} and above {number(high)}"
    evidence = Evidence("swings of the lead", float(swings), text)
    severity = "note" if view.program.swings_are_normal else "warning"
    return Found(severity, spell, sureness(2 * swings), [evidence])


def _turns(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """The rows where values come above `high` or below `low`, by turns."""
    state = np.where(values > high, 1, np.where(values < low, -1, 0))
    rows = np.flatnonzero(state)
    turned: np.ndarray = rows[np.diff(state[rows], prepend=0) != 0]
    return turned


def d_memorises(view: View) -> Answer:
    """Held-out real images are judged like fakes."""
    names = ("real_logit_mean", "held_out_logit_mean", "fake_logit_mean")
    real, held_out, fake = (view.trace.get(name) for name in names)
    readings = ColumnReadings(view, real - held_out - fake)
    if len(readings) < LEAST_SPELL:
        return Missing()
    gap = readings.smooth(real - fake)
    way = readings.smooth(real - held_out) / np.where(gap > 0, gap, np.nan)
    leads = readings.smooth(view.lead) > LEADS
    spell = longest((way > BY_HEART) & leads, (way > NOT_BY_HEART) & leads)
    if spell is None or spell.rows < max(LEAST_SPELL, LASTING_SHARE * len(readings)):
        return None
    value = spell.median(way)
    name = "held-out real images, on the way from real (0) to fake (1)"
    text = f"{name}: {number(value)} (median over {spell.rows} readings)"
    return readings.found(spell, Evidence(name, value, text), severe=value > 0.8)


RULES = (
    described("d-saturated", d_saturated),
    described("d-too-weak", d_too_weak),
    described("oscillation", oscillation),
    described("d-memorises", d_memorises),
)
