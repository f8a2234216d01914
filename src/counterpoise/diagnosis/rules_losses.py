"""Rules on losses: `non-finite`, `divergence`, `lsgan-on-sigmoid`, `loss-inconsistent`."""

import numpy as np

from counterpoise.diagnosis.finding import (
    Answer,
    Evidence,
    Found,
    Missing,
    Remedy,
    lines,
    number,
    sureness,
)
from counterpoise.diagnosis.loss_curves import summed_loss
from counterpoise.diagnosis.remedies import REMEDIES, described
from counterpoise.diagnosis.view import View
from counterpoise.objectives import UNKNOWN, bce_at_mean, cut_by
from counterpoise.spells import LEAST_SPELL, Spell, falls, longest
from counterpoise.trace import COLUMNS, LOSSES_AND_OUTPUTS, step_text

# Columns whose growth without end is divergence, and the size below which growth is harmless.
GROWING = {
    "g_loss": 20.0,
    "g_adversarial": 20.0,
    "d_loss": 10.0,
    "d_loss_real": 10.0,
    "d_loss_fake": 10.0,
    "d_penalty": 50.0,
    "real_logit_mean": 200.0,
    "fake_logit_mean": 200.0,
    "g_gradient_norm": 1e3,
    "d_gradient_norm": 1e3,
}
# Of these, what a critic's training may be judged by: its scores have no zero of their own, so they
# and G's loss, which is minus the fake ones, may drift without end in a training that is well.
# Its distance has no scale of its own either: up to 100 is common in trainings that are well.
OF_A_CRITIC = {"d_penalty": 50.0, "g_gradient_norm": 1e3, "d_gradient_norm": 1e3, "d_loss": 100.0}
# Relativistic objectives compare scores alone: both may drift together.
OF_A_COMPARISON = {name: size for name, size in GROWING.items() if "logit_mean" not in name}
# Growth over the calm part of the training that counts as divergence, and where it ends.
EXPLODED, CALM_AGAIN = 20.0, 8.0
# Before a NaN: growth over the usual size, and D's loss over chance, that tell where it comes from,
# and the rows that show them.
GREW, CERTAIN_BEFORE, LEAST_BEFORE = 10.0, 0.01, 3
# Sizes that no loss or score has in a training that is under way, and no loss of D, which is no sum
# over pixels; and the lines that it takes.
ABSURD, ABSURD_OF_D, LEAST_ABSURD = 1e9, 1e7, 2
# D's loss over chance, in most lines: D is wrong, and worse than any D that knows nothing; the same
# in itself, where it is of no known objective, and by how much it then varies, as no sum over
# several D's does.
FAR_OFF, MOSTLY_FAR_OFF, FAR_OFF_UNKNOWN, VARIES, LEAST_FAR_OFF = 8.0, 4.0, 20.0, 4.0, 4
# D(G(z)) or its complement below which a squared sigmoid passes on next to nothing.
PINNED, UNPINNED = 0.02, 0.06
# D(G(z)) at which the losses of the two labels differ by a lot; how near G's loss is to that of the
# wrong one (in log units) in most lines, how it goes with D(G(z)), and D's loss over the BCE of its
# mean outputs.
OBVIOUS_FAKE, WRONG_LABEL, TOGETHER, BCE_LIKE = 0.3, 0.3, 0.5, (0.4, 2.5)
# What is put down to rounding in an impossible loss, as a share and in units; the rows it takes.
ROUNDING, PRINTED, SHARE_OF_ROWS = 0.03, 2e-3, 0.1


def squared_sigmoid_slope(output: float) -> tuple[float, float, str]:
    """The slope of (sigmoid(x) - 1)^2 where the sigmoid is `output`, and that as a share of the
    largest (8/27, at 1/3), as a number and in words."""
    slope = 2 * output * (1 - output) ** 2
    share = slope / (8 / 27)
    return slope, share, f"{share:.1%}" if share >= 5e-4 else "less than 0.1%"


def non_finite(view: View) -> Answer:
    """A NaN or an infinity anywhere; a note where it is of no loss and no output of D."""
    log, values = view.log, sorted(view.log.non_finite)
    if not values:
        return None
    last = max(len(log) - 1, 0)
    row = min(int(np.searchsorted(log.steps, values[0][0])), last)
    firsts = {column: at for at, column in reversed(values)}
    names = sorted(firsts, key=lambda column: (firsts[column], column))[:4]
    said = {name: step_text(at, log.notes) for name, at in firsts.items()}
    what = (f"{COLUMNS.get(name, name)} (first at step {said[name]})" for name in names)
    # Where a number came back, or D's loss goes on beside another's, the weights were not hurt.
    lost = firsts.keys() & LOSSES_AND_OUTPUTS
    columns = (log.get(name) if name in lost else summed_loss(log) for name in names)
    passed = any(np.isfinite(column[row + 1 :]).any() for column in columns)
    text = "; ".join(what) + ("; the log ends there" if row == last else "")
    evidence = [Evidence("values that are not finite", float(len(values)), text)]
    remedies = [REMEDIES["check-batches" if passed else "reload"]]
    if before := _before(view, row):
        evidence.append(before[0])
        remedies.insert(0 if passed else 1, before[1])
    severity = "severe" if lost or "loss" in " ".join(firsts) else "note"
    return Found(severity, Spell(row, last), 1.0, evidence, first_remedies=tuple(remedies))


def _before(view: View, row: int) -> tuple[Evidence, Remedy] | None:
    """How the numbers of the rows before one stood, and what is to be changed first by that."""
    for name in ("g_loss", "g_adversarial", "d_loss"):
        size = np.abs(view.trace.get(name)[:row])
        size = size[np.isfinite(size)]
        if len(size) < LEAST_BEFORE:
            continue
        usual, late = float(np.median(size)), float(size[-LEAST_BEFORE:].max())
        if late > max(GREW * usual, GROWING[name]):
            text = f"before it {COLUMNS[name]} grew from {number(usual)} to {number(late)}"
            evidence = Evidence(f"growth of {COLUMNS[name]}", late / max(usual, 1e-9), text)
            return evidence, REMEDIES["clip-gradients"]
    late_loss = view.relative_d_loss[:row][-LEAST_BEFORE:]
    if row >= LEAST_BEFORE and (late_loss < CERTAIN_BEFORE).all():
        text = "before it D was certain: the logarithm of a probability of 0 or 1 is likely"
        evidence = Evidence("D's relative loss before it", float(late_loss.max()), text)
        return evidence, REMEDIES["losses-from-logits"]
    return None


def divergence(view: View) -> Answer:
    """Something grows without settling, is absurdly large, or leaves D far worse than chance."""
    return _absurd(view) or _far_off(view) or _growing(view)


def _absurd(view: View) -> Found | None:
    """Sizes that speak for themselves, however few lines there are."""
    for name in GROWING:
        size = np.abs(view.trace.get(name))
        rows = np.flatnonzero(size > (ABSURD_OF_D if name.startswith("d_loss") else ABSURD))
        if len(rows) < LEAST_ABSURD or rows[-1] < view.rows - 2:
            continue
        least, most = float(size[rows].min()), float(size[rows].max())
        sizes = number(most) if least == most else f"{number(least)} to {number(most)}"
        text = f"{COLUMNS[name]} is of size {sizes} in {lines(len(rows))}"
        evidence = Evidence(f"largest size of {COLUMNS[name]}", most, text)
        return Found("severe", Spell.over(rows), sureness(4 * len(rows)), [evidence])
    return None


def _far_off(view: View) -> Found | None:
    """A loss of D that is many times what a D has that knows nothing."""
    loss = view.d_loss
    if view.rows < LEAST_FAR_OFF or view.objective_name == "wgan" or view.is_scaled_chance:
        return None
    chance, limits = 1.0, (FAR_OFF_UNKNOWN, FAR_OFF_UNKNOWN / 2)
    if view.objective_name != UNKNOWN:
        chance, limits = view.objective.equilibrium_d_loss, (FAR_OFF, MOSTLY_FAR_OFF)
    elif not np.divide(*np.quantile(np.append(view.whole.within(loss), 0), (0.9, 0.2))) > VARIES:
        return None
    value, late = view.whole.median(loss / chance), view.last_third.median(loss / chance)
    if not (value > limits[0] and late > limits[1]) or falls(view.whole.within(loss)):
        return None  # or of a wild beginning
    spell = view.whole.begin_where(loss / chance > limits[1])
    text = f"D's loss is {number(view.whole.median(loss))} (median{view.halves_are_summed})"
    if view.objective_name != UNKNOWN:
        text += (
            f", {number(round(value, 1))} times what a D has that cannot tell (under "
            f"{view.objective.title})"
        )
    evidence = Evidence("D's loss over chance", value, text)
    # It is not D's rate that such a D fails by, but that it is not trained, or on other labels.
    first = (REMEDIES["check-loop"],) if view.objective_name != UNKNOWN else ()
    sure = sureness(view.rows, 0.9)
    title = "D takes every fake for real"
    if not (g_loss := spell.median(view.trace.first("g_adversarial", "g_loss"))) < PRINTED:
        title = "D's loss is far above that of a D that knows nothing"
        if g_loss > MOSTLY_FAR_OFF and cut_by(spell.median(loss)):
            title = "D takes every real image for a fake"
    return Found("severe", spell, sure, [evidence], title=title, first_remedies=first)


def _growing(view: View) -> Answer:
    """Something is far above what it was while the training was calm, and does not come back."""
    worst, found, judged = 0.0, None, False
    growing = OF_A_COMPARISON if view.objective.compares_scores else GROWING
    # A difference of scores, or what looks like one whatever is said.
    if view.objective_name == "wgan" or view.is_below_zero:
        growing = OF_A_CRITIC
    for name, harmless in growing.items():
        size = np.abs(view.trace.get(name))
        if np.isfinite(size).sum() < 2 * LEAST_SPELL:
            continue
        judged = True
        smooth = view.smoothed(size)
        half = Spell(0, max(LEAST_SPELL, view.rows // 2) - 1).within(smooth)
        if not len(half):
            continue
        calm = float(np.quantile(half, 0.25))
        grown = smooth / max(calm, harmless / EXPLODED)
        spell = longest(grown > EXPLODED, grown > CALM_AGAIN)
        if spell is None or not view.lasts(spell):
            continue
        peak = float(spell.within(smooth).max())
        if peak / harmless > worst:
            worst, what = peak / harmless, COLUMNS[name]
            text = f"{what} goes from {number(calm)} to {number(peak)}, and does not come back"
            evidence = Evidence(f"growth of {what}", peak / max(calm, 1e-9), text)
            found = Found("severe", spell, sureness(2 * spell.rows), [evidence])
    return found if judged else Missing()


def lsgan_on_sigmoid(view: View) -> Answer:
    """Squares of probabilities, with D(G(z)) pinned where the sigmoid is flat."""
    if view.objective_name != "lsgan-on-sigmoid":
        return Missing() if view.objective_name == UNKNOWN else None
    raw, smooth = view.fake_probability, view.smoothed(view.fake_probability)
    from_end = np.minimum(smooth, 1 - smooth)
    spell, severity = longest(from_end < PINNED, from_end < UNPINNED), "warning"
    if spell is None or spell.rows < LEAST_SPELL:
        spell = view.whole
    else:
        spell = spell.begin_where(np.minimum(raw, 1 - raw) < PINNED)
        severity = "severe" if view.lasts(spell) else "warning"
    output = spell.median(raw)
    slope, _, percent = squared_sigmoid_slope(output)
    text = (
        f"where D(G(z)) is {number(output)}, the gradient of (D(G(z)) - 1)^2 through the sigmoid "
        f"is {number(slope)}: {percent} of its largest"
    )
    evidence = [Evidence("D(G(z))", output, text)]
    # Of the code it is so from the first line on, whenever it shows.
    return Found(severity, view.whole, sureness(spell.rows), evidence)


def loss_inconsistent(view: View) -> Answer:
    """Printed losses that cannot come from the printed outputs (Jensen's inequality), or a G whose
    loss is that of the other label."""
    if found := _of_other_fakes(view) or _wrong_label(view):
        return found  # whatever the losses look like: they are those of no objective
    if not (np.isfinite(view.real_probability) & np.isfinite(view.fake_probability)).any():
        return Missing()
    judged = [each for each in (_impossible_d_loss(view), _impossible_g_loss(view)) if each]
    if not judged:
        return None
    rows = np.sort(np.concatenate([rows for _, rows in judged]))
    evidence = [evidence for evidence, _ in judged]
    return Found("note", Spell.over(rows), sureness(len(rows)), evidence)


def _of_other_fakes(view: View) -> Found | None:
    """D is certain of fakes where G has no loss."""
    if not view.is_certain_of_others:
        return None
    value = view.whole.median(view.trace.first("g_adversarial", "g_loss"))
    text = (
        f"G's loss is {number(value)} (median) where D's on fakes is next to 0, too: under every "
        "objective in which G wants D(G(z)) up, one of them is large where the other is small"
    )
    title = "G's loss and D's are not of the same fakes, or neither is trained yet"
    evidence = [Evidence("G's loss", value, text)]
    sure, first = sureness(view.rows), (REMEDIES["check-g"], REMEDIES["check-loop"])
    return Found("warning", view.whole, sure, evidence, title=title, first_remedies=first)


def _wrong_label(view: View) -> Found | None:
    """Under BCE, a loss of G that is that of calling its images fake."""
    fake, g_loss = view.trace.first("d_fake_after", "d_fake_before"), view.g_adversarial
    with np.errstate(all="ignore"):
        of_bce = view.loss_in_log / np.sum(bce_at_mean(view.trace.get("d_real"), fake), axis=0)
        apart = np.abs(np.log(g_loss / -np.log1p(-fake)))
    rows = np.flatnonzero(np.isfinite(apart) & np.isfinite(of_bce) & (fake < OBVIOUS_FAKE))
    if len(rows) < 2 * LEAST_SPELL or not BCE_LIKE[0] < np.median(of_bce[rows]) < BCE_LIKE[1]:
        return None
    # One with a small weight may be of this size, but falls where D(G(z)) rises.
    rises_alike = np.corrcoef(g_loss[rows], fake[rows])[0, 1] > TOGETHER
    if np.quantile(apart[rows], 0.75) > WRONG_LABEL or not rises_alike:
        return None
    text = (
        f"G's loss is {number(float(np.median(g_loss[rows])))} where D(G(z)) is "
        f"{number(float(np.median(fake[rows])))} (medians), and both rise together: it is "
        "-log(1 - D(G(z))), which is least where D calls every fake a fake"
    )
    evidence = [Evidence("G's loss", float(np.median(g_loss[rows])), text)]
    title = "G is asked for images that D calls fake"
    first = (REMEDIES["check-g-label"],)
    sure = sureness(len(rows))
    return Found("warning", Spell.over(rows), sure, evidence, title=title, first_remedies=first)


def _impossible_d_loss(view: View) -> tuple[Evidence, np.ndarray] | None:
    """D's loss below the least that its mean outputs allow, or above the most, and the rows."""
    real, fake, loss = view.real_probability, view.fake_probability, view.d_loss
    if view.objective_name == "non-saturating":
        bound, limit = "at least", np.sum(bce_at_mean(real, fake), axis=0)
        impossible = loss < limit * (1 - ROUNDING) - PRINTED
    elif view.objective_name == "lsgan-on-sigmoid":
        bound, limit = "at most", 1 - real + fake
        impossible = loss > limit * (1 + ROUNDING) + PRINTED
    else:
        return None
    known = np.isfinite(limit) & np.isfinite(loss)
    rows = np.flatnonzero(impossible & known)
    # One line may be a slip of the printing; two in a short log, three in any, are none.
    if len(rows) < 2 or (len(rows) < 3 and len(rows) < SHARE_OF_ROWS * known.sum()):
        return None
    row = rows[np.argmax(np.abs(np.log(np.maximum(loss[rows], 1e-9) / limit[rows])))]
    text = (
        f"in {lines(len(rows), int(known.sum()))} D's loss cannot come from D(x) and D(G(z)): at "
        f"{view.at(row)} they allow {bound} {number(limit[row])}, and {number(loss[row])} "
        "is printed: an average over other steps, scaled, or more than this loss"
    )
    return Evidence("lines whose loss is impossible", float(len(rows)), text), rows


def _impossible_g_loss(view: View) -> tuple[Evidence, np.ndarray] | None:
    """Under squared sigmoids, the part of G's loss that cannot be adversarial, and the rows."""
    loss = view.trace.get("g_loss")
    if view.objective_name != "lsgan-on-sigmoid" or view.trace.has("g_adversarial"):
        return None
    rows = np.flatnonzero(loss > 1 + ROUNDING)
    if len(rows) < 2 or len(rows) < SHARE_OF_ROWS * np.isfinite(loss).sum():
        return None
    rest = float(np.median(loss[rows])) - 1
    text = (
        f"G's loss is above 1 in {lines(len(rows))}, the most of a squared error behind a sigmoid: "
        f"at least {number(round(rest, 2))} of it is another term"
    )
    return Evidence("G's loss that is not adversarial", rest, text), rows


RULES = (
    described("non-finite", non_finite),
    described("divergence", divergence),
    described("lsgan-on-sigmoid", lsgan_on_sigmoid),
    described("loss-inconsistent", loss_inconsistent),
)
