"""What is said where no rule has found a problem: `healthy`, or why that cannot be said."""

from collections.abc import Iterator

import numpy as np

from counterpoise.diagnosis.finding import Evidence, Found, lines, number, sureness
from counterpoise.diagnosis.remedies import REMEDIES, described
from counterpoise.diagnosis.rules_discriminator import AT_CHANCE, CERTAIN, MOSTLY_WRONG, WRONG
from counterpoise.diagnosis.rules_generator import FALLS, FAR_RISEN, LEAST_TREND, quality_falls
from counterpoise.diagnosis.rules_losses import EXPLODED, GROWING, OF_A_COMPARISON, OF_A_CRITIC
from counterpoise.diagnosis.view import DISTANCES, LEAST_HOPELESS, LEAST_ROWS, NEARLY_ALL, View
from counterpoise.spells import LEAST_SPELL, Spell, medians
from counterpoise.trace import COLUMNS

# Lines that health needs: as many as the rules on trends do to show the contrary. A lead that goes
# from level to far ahead and back is no balance in fewer than the second.
LEAST_HEALTHY, STEADY_LINES = 2 * LEAST_SPELL, 12
# A number so many times its usual size is no noise; and is worth a note where all is ill.
JUMP, SPIKE = 1000.0, 100.0
BEGIN_STEPS = 4  # times the distance of two lines: a log that begins later shows no begin
# The lead of a D that is level, and at the end of one that is far ahead; of one that goes there, it
# grows by so much from quarter to quarter.
LEVEL, FAR_AHEAD_AT_END, AHEAD, STILL_GROWS = 0.2, 0.85, 0.6, 0.05
# The lead of a D that is at chance and moves no more: one that G has caught up with still wanders.
STANDS = 0.02
# G's loss over what goes with D's: a D with which G has so little success is lively on real images
# alone.
HOPELESS = 2.5
# By how much a critic's distance has grown from the first quarter to the last: seven times where it
# grows evenly from nothing. And the share of an earlier one to which it has then come back.
GROWN, FALLEN = 5.0, 0.8
# A distance that fades to this share may be none, where nobody has said that it is one: the value
# that D maximises under BCE begins at 1.386, below the second.
FADED, LARGEST_VALUE = 0.1, 2.0
# A distance beyond it is of no critic that is bounded: images in [-1, 1] are at most
# 2 * sqrt(values) apart, 887 at 256 pixels a side in colour.
UNBOUNDED = 1e3

# So many steps, one after the other or from the first on, show no balance.
YOUNG_STEPS = 50

NOT_ENOUGH, HEALTHY = described("not-enough-evidence", None), described("healthy", None)
RULES = (NOT_ENOUGH, HEALTHY)


def verdict(view: View) -> Found:
    """That a training is healthy, by its severity; or a note on why that cannot be said."""
    if view.rows < LEAST_HEALTHY:
        text = f"it has {lines(view.rows)}, and {LEAST_HEALTHY} are needed"
        few = [Evidence("lines", float(view.rows), text), *_so_far(view), *_of_lead(view)]
        return Found("note", view.whole, 1.0, few, first_remedies=(REMEDIES["more-lines"],))
    if against := list(contradictions(view)):
        # D's outputs are not to be printed where they are.
        known = np.isfinite(view.fake_probability).any()
        todo = (REMEDIES["run-on"], REMEDIES["look"]) if known else ()
        return Found("note", view.whole, 1.0, against, first_remedies=todo)
    if _is_of_critic(view):
        first, *_, value = map(float, view.whole.within(-view.smoothed(view.d_loss)))
        text = f"the critic's distance ends at {number(value)}, which says no more"
        if value < FALLEN * first:
            text = (
                f"the critic's distance falls from {number(first)} to {number(value)}, as it does "
                "where images get better"
            )
        evidence = Evidence("the critic's estimate of the distance", value, text)
        return Found("healthy", view.whole, sureness(view.rows, 0.7), [evidence])
    known = int(np.isfinite(view.lead).sum())
    if known < max(LEAST_HEALTHY, view.rows // 20):
        what = f"no more than {lines(known)}" if known else "nothing in it"
        text = f"{what} says how well D tells real from fake"
        if view.loss_says_nothing:
            text += ", and D is not judged by its loss (a note says why)"
        elif np.isfinite(view.d_loss).any():
            text += "; what its losses are of is not sure"
        evidence = Evidence("lines that say who leads", float(known), text)
        return Found("note", view.whole, 1.0, [evidence])
    value, last = view.whole.median(view.lead), view.last_third.median(view.lead)
    text = f"D's lead is {number(value)} (median; 0 is chance, 1 certainty) over {lines(known)}"
    if np.isfinite(last):
        text += f", {number(last)} in the last third of them"
    if value < AT_CHANCE:
        text += ", near chance: G has caught up, or D no longer learns"
    evidence = Evidence("D's lead", value, text)
    return Found("healthy", view.whole, sureness(known, 0.9), [evidence])


def contradictions(view: View) -> Iterator[Evidence]:
    """Every number that forbids the word healthy, whatever else looks well: the one place for them.
    What is bad enough for a finding of its own is a rule's."""
    trace = view.trace
    if view.steps_shown is not None and view.steps_shown < YOUNG_STEPS:
        text = f"it shows {view.steps_shown + 1} steps of the training"
        yield Evidence("steps", float(view.steps_shown), text)
    if trace.non_finite:
        step, name = min(trace.non_finite)
        yield Evidence("steps", float(step), f"{name} is not finite from step {step} on")
    yield from jumps(view)
    yield from _swings(view)
    yield from _of_lead(view)
    yield from _trends(view)
    rates = view.whole.within(np.fmin(trace.get("g_learning_rate"), trace.get("d_learning_rate")))
    if len(rates) and rates.any() and not np.median(rates):
        text = "the learning rate is printed as 0 in most lines: gone, or rounded; print its digits"
        yield Evidence("learning rate", 0.0, text)
    if view.losses_are_one:
        text = "D's loss and G's are the same number in every line: one variable is printed twice"
        yield Evidence("D's loss minus G's", 0.0, text)
    losses = [trace.get("d_loss"), trace.first("g_loss", "g_adversarial")]
    if all(len(known) and not np.ptp(known) for known in map(view.whole.within, losses)):
        text = "D's loss is the same in every line, and so is G's: nothing moves"
        yield Evidence("D's loss", float(np.nanmedian(losses[0])), text)
    gradient = view.whole.within(trace.get("g_gradient_adversarial"))
    if len(gradient) and not gradient.any():
        text = "the adversarial gradient at G's output is exactly 0 all along: G is still alone"
        yield Evidence("G's adversarial gradient", 0.0, text)
    g_loss, curve = map(view.last_third.median, (view.g_adversarial, view.g_curve))
    # With outputs they tell it, and a D that is wrong more often than right is certain of nothing.
    is_told = np.isfinite(view.fake_probability).any() or view.whole.median(view.lead) < WRONG
    if g_loss > max(HOPELESS * curve, LEAST_HOPELESS) and not is_told:
        text = (
            f"G's loss is {number(g_loss)} at the end where {number(curve)} would go with D's loss "
            f"under {view.reading.title}: D is certain about fakes, or other terms are in it"
        )
        yield Evidence("G's loss beside D's", g_loss, text)
    if _is_of_critic(view) and (fault := _distance_fault(view)):
        value = view.last_third.median(-view.d_loss)
        yield Evidence("the critic's estimate of the distance", value, fault)


def _so_far(view: View) -> Iterator[Evidence]:
    """What a log of few lines shows, though it is no finding yet."""
    yield from jumps(view, EXPLODED)
    yield from _trends(view)
    certain = view.relative_d_loss < CERTAIN
    if len(certain) / 2 < certain.sum() < len(certain):
        share, where = float(certain.mean()), lines(int(certain.sum()), len(certain))
        yield Evidence("lines with a certain D", share, f"so far D is certain in {where}")
    if isinstance(fall := quality_falls(view), Found):
        yield from fall.evidence


def jumps(view: View, times: float = JUMP) -> Iterator[Evidence]:
    """A number that is so many times what it was before, but for a training's first lines."""
    begun = min(view.rows // 2, LEAST_TREND)
    for name, harmless in GROWING.items():
        size = np.abs(view.trace.get(name))
        late = size[begun:]
        if not np.isfinite(late).any():
            continue
        row = begun + int(np.nanargmax(late))
        usual = Spell(0, row - 1).median(size)
        if size[row] > times * max(usual, harmless / EXPLODED):
            text = f"so far {COLUMNS[name]} jumps from {number(usual)} to {number(size[row])}"
            text += f" at {view.at(row)}"
            yield Evidence(COLUMNS[name], float(size[row]), text)


def _swings(view: View) -> Iterator[Evidence]:
    """A number that is so many times what it is elsewhere, wherever that stands, but for what a
    training's first lines come down from for good."""
    starts_late = view.rows > 1 and view.steps[0] > BEGIN_STEPS * np.median(np.diff(view.steps))
    sizes = OF_A_CRITIC if view.objective_name == "wgan" else OF_A_COMPARISON
    for name, harmless in {**sizes, "g_content": GROWING["g_loss"]}.items():
        size = np.maximum(view.whole.within(np.abs(view.trace.get(name))), harmless / EXPLODED)
        if len(size) < LEAST_SPELL or size.max() < JUMP * size.min():
            continue
        if starts_late or (size / np.minimum.accumulate(size)).max() > EXPLODED / 2:
            text = f"{COLUMNS[name]} swings from {number(size.min())} to {number(size.max())}"
            yield Evidence(COLUMNS[name], float(size.max()), text)


def _trends(view: View) -> Iterator[Evidence]:
    """What G is asked for gets worse from third to third, or a distance in the second evaluation:
    of more a rule judges."""
    # A critic's scores, and so G's loss, have no size of their own.
    is_critic = view.objective_name == "wgan"
    for name in ("g_content",) if is_critic else ("g_content", "g_loss"):
        values = view.whole.within(view.trace.get(name))
        first, middle, last = medians(values, 3) if len(values) >= LEAST_HEALTHY else (0, 0, 0)
        if first < middle < last and last > FAR_RISEN * first > 0:
            text = f"{COLUMNS[name]} rises from {number(first)} to {number(last)}"
            yield Evidence(f"{COLUMNS[name]} over the beginning", last / first, text)
    for name in DISTANCES:
        values = view.whole.within(view.trace.get(name))
        if len(values) == 2 and values[1] > FALLS[name] * values[0] > 0:
            text = f"{COLUMNS[name]} goes from {number(values[0])} to {number(values[1])}"
            yield Evidence(COLUMNS[name], float(values[1]), text)


def _of_lead(view: View) -> Iterator[Evidence]:
    """A lead of D that is no balance: D is wrong, has never learned, or is far ahead at the end."""
    known = view.whole.within(view.lead)
    if len(known) < LEAST_ROWS:
        return  # A line or two after D's start judge nothing.
    lead, last = view.whole.median(view.lead), view.last_third.median(view.lead)
    first, *_, end = quarters = medians(known, 4)
    in_every_line, at_end = np.abs(known).max(), np.abs(known[2 * len(known) // 3 :]).max()
    at_chance = in_every_line < AT_CHANCE or at_end < STANDS
    # Of a D that is not told by its judgements it may be another loss: no finding, and no health.
    if lead < WRONG or last < MOSTLY_WRONG:
        text = f"D's lead is {number(min(lead, last))}: D is wrong more often than right"
    elif last > FAR_AHEAD_AT_END:
        text = f"D is far ahead, so far: its lead is {number(last)} at the end (1 is certainty)"
    elif len(known) < STEADY_LINES and known.min() < LEVEL < FAR_AHEAD_AT_END < known.max():
        text = f"D's lead goes from {number(known.min())} to {number(known.max())} in a few lines"
    elif min(np.diff(quarters)) > STILL_GROWS and end > AHEAD:
        text = f"D's lead grows from each quarter to the next, {number(first)} to {number(end)}"
    elif not view.program.chance_is_normal and at_chance:
        text = f"D is at chance (lead {number(last)}): it is young, is not trained, "
        text += "learns no more, or G has caught up"
    else:
        return
    yield Evidence("D's lead", lead, text)


def _is_of_critic(view: View) -> bool:
    """Whether it is judged by a critic's estimate of the distance."""
    return view.objective_name == "wgan" and np.isfinite(view.d_loss).sum() >= LEAST_HEALTHY


def _distance_fault(view: View) -> str:
    """Why a critic's estimate of the distance shows no health; "" where it may.

    D's loss is minus the estimate (Arjovsky et al. 2017, algorithm 1, arXiv 1701.07875), which is
    meant to fall as images get better: one below 0, or one that has only grown, shows no fault by
    itself and no health.
    """
    raw = view.whole.within(view.d_loss)
    first, *_, last = view.whole.within(-view.smoothed(view.d_loss))
    at_first, *_, at_end = quarters = medians(-raw, 4)
    if view.trace.objective is None and 0 < first < LARGEST_VALUE and last < FADED * first:
        return (
            f"D's loss goes from {number(-first)} to {number(-last)}: a critic that G has caught "
            "up with, or the value that D maximises under BCE, where 0 is a D that has won; say "
            "--objective wgan, or turn the sign"
        )
    if (raw > 0).mean() >= NEARLY_ALL:
        return (
            f"D's loss is above 0 nearly all along (median {number(float(np.median(raw)))}): its "
            "sign is turned, or the critic does not rank real above fake; print its mean scores"
        )
    if abs(last) > UNBOUNDED:
        return (
            f"the critic's distance is {number(last)}: nothing bounds its slope, or D's loss is a "
            "sum over a batch; print its penalty or gradient norm"
        )
    if at_end > max(GROWN * max(at_first, 0.0), FALLEN * max(quarters)):
        return (
            f"the critic's distance has grown from {number(at_first)} to {number(at_end)} and not "
            "come back: it is young, G falls behind, or nothing bounds its slope; print its "
            "penalty or gradient norm"
        )
    return ""
