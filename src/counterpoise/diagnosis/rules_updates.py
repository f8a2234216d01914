"""Rules on whether the networks are trained, and on what a policy does: `g-frozen`, `d-frozen`,
`learning-rate-gone`, `d-restarts`, `inert-rule`, `held-back`."""

import numpy as np

from counterpoise.diagnosis.finding import Answer, Evidence, Found, Missing, lines, number, sureness
from counterpoise.diagnosis.remedies import REMEDIES, described
from counterpoise.diagnosis.view import View
from counterpoise.objectives import cut_by
from counterpoise.spells import LEAST_SPELL, Spell, last_digit, longest, runs_of, stands_still
from counterpoise.trace import LEAST_RATE

SOME, ALL = 0.1, 0.9  # shares of the judged rows in which D was not trained
# A step of D may move D(G(z)) by as little as this share of p (1 - p): where that is less than the
# last printed digit, equal numbers say nothing.
VISIBLE_MOVE = 0.002
# Below this relative loss D is good enough for a loss gate to hold it, above the other to free it.
HELD, FREED = 0.35, 0.6
# Probability that D's worse half is larger where it is trained than where it stands still: 0.5 is a
# rest by chance, 1 a gate on exactly these numbers.
GATED = 0.75
# Policies that rest D by design, and record each rest with its reason.
RESTING_POLICIES = ("threshold", "ratio", "skip-band", "win-rate")

# Lines of one and the same loss of three digits or more; the same of both losses, of any digits.
LEAST_STANDING, MANY_STANDING = 3, 20
# A learning rate is gone below this share of its largest, or below this whatever it was; the share
# of the log beyond which that is no end of a schedule.
RATE_GONE, NO_RATE, AFTER_SCHEDULE = 1e-3, 1e-10, 0.1
HALF_GATE = 0.3  # the half loss of D below which common gates do not train it
BY_DESIGN = "D rests as its policy is made to. Each rest is recorded with its reason."
TOO_FEW_DIGITS = "D(G(z)) before and after D's update, away from 0 and 1 or with more digits"
# A policy's factor on a learning rate under which it holds a network back, and the share of the
# training from which on that is no passing trial; under the second factor hardly anything is left.
HELD_BACK, MOST_OF_IT, STRANGLED = 0.5, 0.5, 0.1


def rests(view: View) -> tuple[np.ndarray, np.ndarray]:
    """Rows in which D was not trained, and rows of which it is known whether; boolean, (rows,)."""
    updated = view.trace.get("d_updated")
    if np.isfinite(updated).any():
        # Where neither was trained, the loop was adding up gradients.
        trained = (updated == 1) | (view.trace.get("g_updated") != 0)
        known = np.isfinite(updated) & trained
        return (updated == 0) & known, known
    before, after = view.trace.get("d_fake_before"), view.trace.get("d_fake_after")
    known = np.isfinite(before) & np.isfinite(after)
    if not known.any():
        return known, known
    # Numbers that a step could not have moved by a printed digit say nothing.
    moved_least = VISIBLE_MOVE * np.abs(before)
    if np.array_equal(before[known], np.clip(before[known], 0, 1)):
        moved_least = VISIBLE_MOVE * before * (1 - before)
    known &= (moved_least >= last_digit(before[known])) | (before != after)
    return (before == after) & known, known


def _too_little_known(view: View) -> Missing:
    is_printed = view.trace.has("d_fake_before", "d_fake_after")
    return Missing(TOO_FEW_DIGITS if is_printed else "")


def d_frozen(view: View) -> Answer:
    """D(G(z)) is equal before and after D's update: D was not updated, and how often."""
    if found := _standing_loss(view, "D", "d_loss", "d_loss_real"):
        return found
    resting, known = rests(view)
    count, of = int(resting.sum()), int(known.sum())
    if of < LEAST_SPELL:
        return _too_little_known(view)
    share = count / of
    by_design = view.trace.policy in RESTING_POLICIES and share < ALL
    in_turn = _is_every_kth(known & ~resting) or (not by_design and _is_every_kth(resting))
    if share < SOME or count < 2 or in_turn:
        return None
    unbroken = max((run.rows for run in runs_of(resting[known])), default=0)
    what = "D was not updated in"
    if not view.trace.has("d_updated"):
        what = "D(G(z)), printed before and after D's update, is the same number in"
    text = f"{what} {lines(count, of)} ({share:.0%})"
    if 1 < unbroken < of:
        text += f", {unbroken} of them in a row"
    text += "" if view.trace.has("d_updated") else ": D did not change in between"
    spell = Spell.over(np.flatnonzero(resting))
    # A D that is bad and still does not move: the loop is broken.
    broken = share >= ALL and spell.median(np.where(resting, view.relative_d_loss, np.nan)) > FREED
    return Found(
        "severe" if share >= ALL else "note" if by_design else "warning",
        spell,
        sureness(of),
        [
            Evidence("share of steps in which D was not trained", share, text),
            *_gate(view, resting, known),
            *_pair(view, resting, known),
        ],
        title="D is not trained in any printed step" if share >= ALL else "",
        meaning=BY_DESIGN if by_design else "",
        first_remedies=(REMEDIES["check-loop"],) if broken else (),
    )


def _is_every_kth(chosen: np.ndarray) -> bool:
    """Whether D is trained, or rests, in every k-th row, as a loop does that has it so: where an
    epoch ends, sooner or later than that, but never as late as if one was left out."""
    rows = np.flatnonzero(chosen)
    between = np.diff(rows)
    if not len(between):
        return False
    k = np.bincount(between).argmax()
    # Not one that stood still before, or does since.
    ends = rows[0], len(chosen) - 1 - rows[-1]
    return bool(k > 1 and (between == k).mean() > 0.5 and max(*ends, between.max() // 2) < k)


def g_frozen(view: View) -> Answer:
    """G's loss is the same number in every line, at the end of its range or elsewhere, or no
    gradient reaches G."""
    names = "g_adversarial", "g_loss"
    is_known = any(map(view.trace.has, names))
    found = _standing_loss(view, "G", *names) or _no_gradient(view)
    return found or (None if is_known else Missing())


def _no_gradient(view: View) -> Found | None:
    """The printed norm of G's gradient is 0 in every line."""
    norms = view.whole.within(view.trace.get("g_gradient_norm"))
    if len(norms) < 2 * LEAST_SPELL or norms.any():
        return None
    text = (
        f"the norm of G's gradient is 0 in all of {lines(len(norms))}: none reaches G, or it is "
        "measured after zero_grad()"
    )
    evidence = [Evidence("largest norm of G's gradient", 0.0, text)]
    title = "G's gradient is 0"
    return Found("warning", view.whole, sureness(len(norms)), evidence, title=title)


def _standing_loss(view: View, network: str, *names: str) -> Found | None:
    """A network's loss is the same number in every line, though batches differ."""
    loss = view.whole.within(view.trace.first(*names))
    both = map(view.whole.within, (view.loss_in_log, view.trace.first("g_adversarial", "g_loss")))
    none_moves = all(len(e) >= MANY_STANDING and np.ptp(e) == 0 and e[0] != 0 for e in both)
    if len(loss) < LEAST_STANDING or not (none_moves or stands_still(loss)):
        return None
    steps = view.steps_shown
    if view.is_short and steps is not None and steps < view.rows:
        return None  # A loop that trains it every fifth time prints the same so often.
    value, first = float(loss[0]), (REMEDIES["check-loop"],) if network == "D" else ()
    text = f"{network}'s loss is {number(value)} in all of {lines(len(loss))}: "
    if who := cut_by(value):
        of_d = "D is certainly wrong, about every image or every one of a kind"
        what = "D is certain, and no gradient reaches G" if network == "G" else of_d
        text += f"where {who} cuts it off: {what}"
        first = (REMEDIES["losses-from-logits"],)
    else:
        text += f"batches differ, so {network} is not trained, or D answers alike whatever it sees"
    evidence = [Evidence(f"{network}'s loss, unchanging", value, text)]
    severity = "severe" if len(loss) >= 2 * LEAST_STANDING else "warning"
    title = f"{network}'s loss does not move"
    sure = sureness(len(loss))
    return Found(severity, view.whole, sure, evidence, title=title, first_remedies=first)


def learning_rate_gone(view: View) -> Answer:
    """A printed learning rate is next to nothing, for longer than a schedule's last steps."""
    rate = np.fmin(view.trace.get("g_learning_rate"), view.trace.get("d_learning_rate"))
    known = view.whole.within(rate)
    if view.is_own_record or not len(known):
        return Missing()
    limit = max(RATE_GONE * known.max(), NO_RATE)
    # A rate that is printed as 0 may be rounded.
    gone = (rate < limit) & ((rate > 0) | (last_digit(known) < limit))
    spell = longest(gone, gone | np.isnan(rate))
    least = min(view.rows, max(LEAST_SPELL, AFTER_SCHEDULE * view.rows))
    if spell is None or spell.rows < least or not view.lasts(spell):
        return None
    at_end = float(known[-1]) if known[-1] > LEAST_RATE else 0.0
    text = (
        f"the printed learning rate is {number(at_end)} at the end, under {limit:.1g} from "
        f"{view.at(spell.first)} on; its largest was {number(known.max())}"
    )
    evidence = [Evidence("learning rate", at_end, text)]
    severity = "severe" if spell.rows > view.rows / 2 else "warning"
    severity = "note" if view.is_short else severity
    return Found(severity, spell, sureness(spell.rows), evidence)


def _gate(view: View, resting: np.ndarray, known: np.ndarray) -> list[Evidence]:
    """Whether D's half losses tell the rows in which it was trained from the others."""
    worse_half = np.fmax(*view.d_loss_halves)
    judged = np.isfinite(worse_half)
    held, free = worse_half[judged & resting], worse_half[judged & known & ~resting]
    if len(held) < 2:
        return []
    limit = float(held.max())
    text = f"D stood still where both of its half losses were at most {number(limit)}"
    if len(free) and limit < free.min():
        text += f", and was trained exactly where one was at least {number(free.min())}: a gate"
        text += " near there" if view.trace.has("d_loss_real") else ", as far as mean outputs tell"
    elif not len(free) and limit < HELD:
        text += ': as under a gate such as "train D only where a half loss is above 0.3"'
    else:
        return []
    return [Evidence("largest half loss of D at standstill", limit, text)]


def _pair(view: View, resting: np.ndarray, known: np.ndarray) -> list[Evidence]:
    """What D's update does to D(G(z)), where there was one."""
    before, after = view.trace.get("d_fake_before"), view.trace.get("d_fake_after")
    both = np.isfinite(before) & np.isfinite(after)
    moved = both & known & ~resting
    what = "the two D(G(z)) are of the same fake images, before and after a step of D"
    if not moved.any():
        text = f"{what}; here there was none in any line"
        return [Evidence("D's steps seen", 0.0, text)] if both.any() else []
    fell = int((after < before)[moved].sum())
    text = f"{what}: where it was trained, D(G(z)) fell in {lines(fell, int(moved.sum()))}"
    rose = np.flatnonzero(moved & (after > before))
    # NaN is not below.
    one_sided = rose[view.d_loss_halves[1][rose] < HALF_GATE]
    if len(one_sided):
        text += (
            f" (at {view.at(one_sided[0])} it rose and D's fake half is below {HALF_GATE}: "
            "a gate that lets D train on real images alone raises all of its outputs)"
        )
    return [Evidence("share of D's steps that lowered D(G(z))", fell / moved.sum(), text)]


def d_restarts(view: View) -> Answer:
    """D alternates between standstill, when it is good, and bursts, when it is bad."""
    resting, known = rests(view)
    if known.sum() < LEAST_SPELL:
        return _too_little_known(view)
    flags = resting[known]
    rows_of_rests, bursts = ([run.rows for run in runs_of(each)] for each in (flags, ~flags))
    restarts = int((flags[:-1] & ~flags[1:]).sum())
    if restarts < 2 or not SOME <= flags.mean() <= ALL or _is_every_kth(known & ~resting):
        return None
    worse_half = np.fmax(*view.d_loss_halves)[known]
    if not np.isfinite(worse_half).any():
        worse_half = view.d_loss[known]
    held, free = (worse_half[s & np.isfinite(worse_half)] for s in (flags, ~flags))
    if len(held) < 2 or len(free) < 2:
        return None
    gated = float((free[:, None] > held[None, :]).mean())
    every_row = np.median(np.diff(view.steps)) <= 1
    # Where every step is on record, single rests between steps are no bursts.
    if gated < GATED or (every_row and np.mean(rows_of_rests) < 2):
        return None
    how_often = (
        f"D starts again {restarts} times after standing still; it is trained in {len(bursts)} "
        f"bursts of {min(bursts)} to {max(bursts)} lines"
    )
    how_well = (
        f"the worse half of D's loss is {number(float(np.median(held)))} (median) where D stands "
        f"still and {number(float(np.median(free)))} where it is trained: it waits for G"
    )
    name = "how well D's worse half tells training from standstill"
    evidence = [Evidence("restarts", float(restarts), how_often), Evidence(name, gated, how_well)]
    # What D's rests bring: they are the fault, and `d-frozen`.
    return Found("note", Spell.over(np.flatnonzero(known)), sureness(len(flags), 0.9), evidence)


def inert_rule(view: View) -> Answer:
    """A balance policy is configured and changed nothing in any step."""
    policy, acted = view.trace.policy, view.trace.get("policy_acted")
    count = int(np.isfinite(acted).sum())
    if policy is None or not count:
        return Missing()
    if policy == "none" or (acted == 1).any() or count < 5 * LEAST_SPELL:
        return None
    text = f"`{policy}` is configured, and it changed nothing in {lines(count)}"
    evidence = Evidence("steps in which the rule acted", 0.0, text)
    return Found("note", view.whole, sureness(count), [evidence])


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
    described("g-frozen", g_frozen),
    described("d-frozen", d_frozen),
    described("learning-rate-gone", learning_rate_gone),
    described("d-restarts", d_restarts),
    described("inert-rule", inert_rule),
    described("held-back", held_back),
)
