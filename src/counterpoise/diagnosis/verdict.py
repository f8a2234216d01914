"""What is said where no rule has found a problem: `healthy`, or why that cannot be said."""

import itertools

import numpy as np

from counterpoise.diagnosis.finding import Evidence, Found, lines, number, sureness
from counterpoise.diagnosis.remedies import REMEDIES, described
from counterpoise.diagnosis.rules_discriminator import AT_CHANCE, MOSTLY_WRONG, WRONG
from counterpoise.diagnosis.rules_generator import FAR_RISEN, LEAST_TREND
from counterpoise.diagnosis.rules_losses import EXPLODED, GROWING
from counterpoise.diagnosis.view import LEAST_HOPELESS, LEAST_ROWS, View
from counterpoise.spells import Spell, medians
from counterpoise.trace import COLUMNS

# A number so many times its usual size is no noise. The lead at the end of a D that is far ahead,
# and of one that goes there: it still grows by so much from each quarter of the log to the next.
JUMP, FAR_AHEAD, AHEAD, STILL_GROWS = 1000.0, 0.85, 0.6, 0.05
# G's loss over what goes with D's: a D with which G has so little success is lively on real images
# alone.
HOPELESS = 2.5
# Share of lines in which a critic's loss must be above 0 to be called so all along.
NEARLY_ALL = 0.9
# Lines that it takes, in four parts, to say that the distance grows, and by how much it has from
# the first part to the last: seven times where it grows evenly from nothing. And where it falls.
LEAST_LINES, GROWN, FALLEN = 16, 5.0, 0.8
# A distance that fades to this share may be none, where nobody has said that it is one: the value
# that D maximises under BCE begins at 1.386, below the second.
FADED, LARGEST_VALUE = 0.1, 2.0
# A distance beyond it is of no critic that is bounded: images in [-1, 1] are at most
# 2 * sqrt(values) apart, 887 at 256 pixels a side in colour.
UNBOUNDED = 1e3

# So many steps, one after the other, show no balance.
YOUNG_STEPS = 50

NOT_ENOUGH, HEALTHY = described("not-enough-evidence", None), described("healthy", None)
RULES = (NOT_ENOUGH, HEALTHY)


def verdict(view: View) -> Found:
    """That a training is healthy, by its severity; or a note on why that cannot be said."""
    if view.rows < LEAST_ROWS:
        text = f"it has {lines(view.rows)}, and {LEAST_ROWS} are needed"
        evidence = Evidence("lines", float(view.rows), text)
        more = (REMEDIES["more-lines"],)
        return Found("note", view.whole, 1.0, [evidence, *_jumps(view)], first_remedies=more)
    if against := contradictions(view):
        # D's outputs are not to be printed where they are.
        known = np.isfinite(view.fake_probability).any()
        todo = (REMEDIES["run-on"], REMEDIES["look"]) if known else ()
        return Found("note", view.whole, 1.0, against, first_remedies=todo)
    if view.objective_name == "wgan" and np.isfinite(view.d_loss).sum() >= LEAST_ROWS:
        distance = view.whole.within(-view.smoothed(view.d_loss))
        first, value = float(distance[0]), float(distance[-1])
        text = f"the critic's distance ends at {number(value)}, which says no more"
        if value < FALLEN * first:
            text = (
                f"the critic's distance falls from {number(first)} to {number(value)}, as it does "
                "where images get better"
            )
        evidence = Evidence("the critic's estimate of the distance", value, text)
        return Found("healthy", view.whole, sureness(view.rows, 0.7), [evidence])
    known = int(np.isfinite(view.lead).sum())
    if known < max(LEAST_ROWS, view.rows // 20):
        what = f"no more than {lines(known)}" if known else "nothing in it"
        text = f"{what} says how well D tells real from fake"
        if view.loss_says_nothing:
            text += ", and D is not judged by its loss (a note says why)"
        elif np.isfinite(view.d_loss).any():
            text += "; what its losses are of is not sure"
        evidence = Evidence("lines that say who leads", float(known), text)
        return Found("note", view.whole, 1.0, [evidence])
    value, last = float(np.nanmedian(view.lead)), view.last_third.median(view.lead)
    text = f"D's lead is {number(value)} (median; 0 is chance, 1 certainty) over {lines(known)}"
    if np.isfinite(last):
        text += f", {number(last)} in the last third of them"
    evidence = Evidence("D's lead", value, text)
    return Found("healthy", view.whole, sureness(known, 0.9), [evidence])


def contradictions(view: View) -> list[Evidence]:
    """Every number that forbids the word healthy, whatever else looks well: the one place for them.
    What is bad enough for a finding of its own is a rule's."""
    found = []
    if view.single_steps is not None and view.single_steps < YOUNG_STEPS:
        text = f"it shows {view.single_steps + 1} steps of the training, one by one"
        found.append(Evidence("steps", float(view.single_steps), text))
    if view.trace.non_finite:
        step, name = min(view.trace.non_finite)
        text = f"{name} is not finite from step {step} on"
        found.append(Evidence("steps", float(step), text))
    found += [*_jumps(view), *_of_lead(view)]
    content = view.whole.within(view.trace.get("g_content"))
    if len(content) >= LEAST_TREND:
        first, *_, last = medians(content, 3)
        if last > FAR_RISEN * first > 0:
            text = f"G's content terms rise from {number(first)} to {number(last)}"
            found.append(Evidence("G's content terms over the beginning", last / first, text))
    rate = np.fmin(view.trace.get("g_learning_rate"), view.trace.get("d_learning_rate"))
    rates = view.whole.within(rate)
    if len(rates) and rates.any() and not np.median(rates):
        text = "the learning rate is printed as 0 in most lines: gone, or rounded; print its digits"
        found.append(Evidence("learning rate", 0.0, text))
    if view.losses_are_one:
        text = "D's loss and G's are the same number in every line: one variable is printed twice"
        found.append(Evidence("D's loss minus G's", 0.0, text))
    gradient = view.whole.within(view.trace.get("g_gradient_adversarial"))
    if len(gradient) and not gradient.any():
        text = "the adversarial gradient at G's output is exactly 0 all along: G is still alone"
        found.append(Evidence("G's adversarial gradient", 0.0, text))
    g_loss, curve = map(view.last_third.median, (view.g_adversarial, view.g_curve))
    has_outputs = np.isfinite(view.fake_probability).any()
    if g_loss > max(HOPELESS * curve, LEAST_HOPELESS) and not has_outputs:
        text = (
            f"G's loss is {number(g_loss)} at the end where {number(curve)} would go with D's loss "
            f"under {view.reading.title}: D is certain about fakes, or other terms are in it"
        )
        found.append(Evidence("G's loss beside D's", g_loss, text))
    if view.objective_name == "wgan" and np.isfinite(view.d_loss).sum() >= LEAST_ROWS:
        value, fault = _distance(view)
        found += [Evidence("the critic's estimate of the distance", value, fault)] if fault else []
    return found


def _jumps(view: View) -> list[Evidence]:
    """A number of the second half that is a thousand times what it was before."""
    found = []
    for name, harmless in GROWING.items():
        size = np.abs(view.trace.get(name))
        late = size[view.rows // 2 :]
        if not np.isfinite(late).any():
            continue
        row = view.rows // 2 + int(np.nanargmax(late))
        usual = Spell(0, row - 1).median(size)
        if size[row] > JUMP * max(usual, harmless / EXPLODED):
            text = f"so far {COLUMNS[name]} jumps from {number(usual)} to {number(size[row])}"
            found.append(Evidence(COLUMNS[name], float(size[row]), text))
    return found


def _of_lead(view: View) -> list[Evidence]:
    """A lead of D that is no balance: D is wrong, has never learned, or is far ahead at the end."""
    known = view.whole.within(view.lead)
    if len(known) < min(LEAST_ROWS, view.rows):
        return []  # A line or two after D's start judge nothing.
    lead, last = view.whole.median(view.lead), view.last_third.median(view.lead)
    text = ""
    # Of a D that is not told by its judgements it may be another loss: no finding, and no health.
    if lead < WRONG or last < MOSTLY_WRONG:
        text = f"D's lead is {number(min(lead, last))}: D is wrong more often than right"
    elif np.abs(known).max() < AT_CHANCE and not view.program.chance_is_normal:
        text = f"D is at chance in every line (lead {number(lead)}): too young, or not trained"
    elif last > FAR_AHEAD:
        text = f"D is far ahead, so far: its lead is {number(last)} at the end (1 is certainty)"
    elif len(known) >= LEAST_TREND:
        first, *_, end = parts = medians(known, 4)
        if min(np.diff(parts)) > STILL_GROWS and end > AHEAD:
            text = f"D's lead grows from each quarter to the next, {number(first)} to {number(end)}"
    return [Evidence("D's lead", lead, text)] if text else []


def _distance(view: View) -> tuple[float, str]:
    """The critic's last estimate of the distance, and why it shows no health; "" where it may.

    D's loss is minus the estimate (Arjovsky et al. 2017, algorithm 1, arXiv 1701.07875), which is
    meant to fall as images get better: one below 0, or one that only ever grows, shows no fault by
    itself and no health.
    """
    raw = view.whole.within(view.d_loss)
    distance = view.whole.within(-view.smoothed(view.d_loss))
    first, last = float(distance[0]), float(distance[-1])
    # Of a short log every line has to rise: four parts of it would by chance.
    is_long = len(raw) >= LEAST_LINES
    parts = medians(-raw, 4 if is_long else len(raw))
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
    elif abs(last) > UNBOUNDED:
        fault = (
            f"the critic's distance is {number(last)}: nothing bounds its slope, or D's loss is a "
            "sum over a batch; print its penalty or gradient norm"
        )
    elif rises and parts[-1] > GROWN * max(parts[0], 0.0):
        fault = (
            f"the critic's distance grows {'quarter by quarter' if is_long else 'in every line'}, "
            f"from {number(parts[0])} to {number(parts[-1])}: it is young, G falls behind, or "
            "nothing bounds its slope; print its penalty or gradient norm"
        )
    return last, fault
