"""Rules on whether D is trained: `d-frozen`, `d-restarts`, `inert-rule`."""

import numpy as np

from counterpoise.diagnosis.finding import Evidence, Remedy
from counterpoise.diagnosis.found import (
    LEAST_SPELL,
    Answer,
    Found,
    Missing,
    lines,
    median_within,
    number,
    sureness,
)
from counterpoise.diagnosis.least_losses import last_digit
from counterpoise.diagnosis.rules_discriminator import d_saturated
from counterpoise.diagnosis.view import View
from counterpoise.diagnosis.windows import Spell, runs_of

# Shares of the judged rows in which D was not trained.
SOME, MOST, ALL = 0.1, 0.5, 0.9
# A step of D may move D(G(z)) by as little as this share of p (1 - p): where that is less than the
# last printed digit, equal numbers say nothing.
VISIBLE_MOVE = 0.002
# A gate is told from chance by half losses that differ by this factor.
GATE_GAP = 1.0
# Below this relative loss D is good enough for a loss gate to hold it, above the other to free it.
HELD, FREED = 0.35, 0.6
# Probability that D's worse half is larger where it is trained than where it stands still: 0.5 is a
# rest by chance, 1 a gate on exactly these numbers.
GATED = 0.75
# Policies that rest D by design, and record each rest with its reason.
RESTING_POLICIES = ("threshold", "ratio", "skip-band", "win-rate")

PAIR = "D(G(z)) before and after D's update"
FIX_LOOP = Remedy(
    "D is bad and still does not move: look for the reason in the loop. Its optimizer must own its "
    "parameters, backward() and step() must be reached, its learning rate must not be 0.",
    code="counterpoise.check_loop(balance)",
)


def rests(view: View) -> tuple[np.ndarray, np.ndarray]:
    """Rows in which D was not trained, and rows of which that is known; boolean, (rows,)."""
    updated = view.trace.get("d_updated")
    if np.isfinite(updated).any():
        # Where neither was trained, the loop was adding up gradients.
        trained = (updated == 1) | (view.trace.get("g_updated") != 0)
        return updated == 0, np.isfinite(updated) & trained
    before, after = view.trace.get("d_fake_before"), view.trace.get("d_fake_after")
    known = np.isfinite(before) & np.isfinite(after)
    if not known.any():
        return known, known
    # Numbers that a step could not have moved by a printed digit say nothing.
    moved_least = VISIBLE_MOVE * np.abs(before)
    if ((before[known] >= 0) & (before[known] <= 1)).all():
        moved_least = VISIBLE_MOVE * before * (1 - before)
    known &= (moved_least >= last_digit(before[known])) | (before != after)
    return before == after, known


def d_frozen(view: View) -> Answer:
    """D(G(z)) is equal before and after D's update: D was not updated, and how often."""
    resting, known = rests(view)
    if known.sum() < LEAST_SPELL:
        return Missing((_pair_needed(view),))
    share = view.share(resting, known)
    if share < SOME or (resting & known).sum() < 2:
        return None
    rows = np.flatnonzero(resting & known)
    spell = Spell(int(rows[0]), int(rows[-1]))
    held = median_within(np.where(resting & known, view.relative_d_loss, np.nan), spell)
    evidence = [_how_often(view, resting, known)]
    evidence += _gate(view, resting, known)
    evidence += _pair(view, resting, known)
    evidence += _meanwhile(view, resting, known)
    broken = share >= ALL and held > FREED
    by_design = view.trace.policy in RESTING_POLICIES and share < ALL
    severity = "severe" if share >= ALL else "warning"
    meaning = ""
    if by_design:
        severity = "note"
        meaning = (
            f"D rested in {share:.0%} of the rows, as its policy `{view.trace.policy}` is made to. "
            "Each rest is recorded with its reason in signals.jsonl."
        )
    return Found(
        severity,
        spell,
        sureness(int(known.sum())),
        tuple(evidence),
        meaning,
        (FIX_LOOP,) if broken else (),
    )


def _pair_needed(view: View) -> str:
    if view.trace.has("d_fake_before", "d_fake_after"):
        return f"{PAIR}, away from 0 and 1 or with more digits: here a step of D could not show"
    return PAIR


def _how_often(view: View, resting: np.ndarray, known: np.ndarray) -> Evidence:
    count, of = int((resting & known).sum()), int(known.sum())
    unbroken = max((run.rows for run in runs_of((resting & known)[known])), default=0)
    what = (
        "D was not updated in"
        if view.trace.has("d_updated")
        else "D(G(z)) is the same number before and after D's update in"
    )
    text = f"{what} {lines(count, of)} ({count / of:.0%})"
    if unbroken > 1 and unbroken < of:
        text += f", {unbroken} of them in a row"
    return Evidence("share of steps in which D was not trained", count / of, text)


def _gate(view: View, resting: np.ndarray, known: np.ndarray) -> list[Evidence]:
    """Whether D's half losses tell the rows in which it was trained from the others."""
    worse_half = np.fmax(*view.d_loss_halves)
    judged = known & np.isfinite(worse_half)
    held, free = worse_half[judged & resting], worse_half[judged & ~resting]
    if len(held) < 2:
        return []
    if not len(free):
        if held.max() < HELD:
            text = (
                f"in all of them both half losses of D are below {number(held.max())}: that is "
                'what a gate such as "train D only where a half loss is above 0.3" does'
            )
            return [Evidence("largest half loss of D at standstill", float(held.max()), text)]
        return []
    if held.max() < GATE_GAP * free.min():
        text = (
            f"D stood still exactly where both of its half losses were at most "
            f"{number(held.max())}, and was trained exactly where one was at least "
            f"{number(free.min())}: a gate on its half losses, with a threshold of about there "
            "(printed means give lower bounds of the losses)"
        )
        return [Evidence("largest half loss of D at standstill", float(held.max()), text)]
    return []


def _pair(view: View, resting: np.ndarray, known: np.ndarray) -> list[Evidence]:
    """What D's update does to D(G(z)), where there was one."""
    before, after = view.trace.get("d_fake_before"), view.trace.get("d_fake_after")
    moved = np.isfinite(before) & np.isfinite(after) & known & ~resting
    text = (
        "the two D(G(z)) are of the same fake images, before and after one step of D, so they "
        "differ by that step alone"
    )
    if moved.any():
        fell = int((after < before)[moved].sum())
        text += f": where D was trained, D(G(z)) fell in {lines(fell, int(moved.sum()))}"
        rose = np.flatnonzero(moved & (after > before))
        if len(rose):
            fake_half = view.d_loss_halves[1][rose]
            one_sided = rose[np.nan_to_num(fake_half, nan=np.inf) < 0.3]
            text += f" and rose in {len(rose)}"
            if len(one_sided):
                text += (
                    f" (at step {view.steps[one_sided[0]]} D's fake half is below 0.3, so a gate "
                    "lets it train on real images alone, which raises all of its outputs)"
                )
        return [Evidence("share of D's steps that lowered D(G(z))", fell / moved.sum(), text)]
    if np.isfinite(before).any() and np.isfinite(after).any():
        return [Evidence("D's steps seen", 0.0, text + "; here there was none in any line")]
    return []


def _meanwhile(view: View, resting: np.ndarray, known: np.ndarray) -> list[Evidence]:
    """What G gained while D stood still."""
    rows = np.flatnonzero(resting & known)
    output = view.fake_probability[rows]
    if (~np.isfinite(output)).any() or len(rows) < 2 * LEAST_SPELL:
        return []
    third = max(2, len(rows) // 3)
    first, last = float(np.median(output[:third])), float(np.median(output[-third:]))
    if (resting & known).sum() < ALL * known.sum() or last < 1.2 * first:
        return []
    text = (
        f"G gains only because D stands still: D(G(z)) goes from {number(first)} to "
        f"{number(last)} against the same D; once a half loss passes the gate, D will answer"
    )
    return [Evidence("D(G(z)) at the end over the beginning", last / first, text)]


def d_restarts(view: View) -> Answer:
    """D alternates between standstill, when it is good, and bursts, when it is bad."""
    resting, known = rests(view)
    if known.sum() < LEAST_SPELL:
        return Missing((_pair_needed(view),))
    share = view.share(resting, known)
    flags = resting[known]
    restarts = int((flags[:-1] & ~flags[1:]).sum())
    if restarts < 2 or not SOME <= share <= ALL:
        return None
    worse_half = np.fmax(*view.d_loss_halves)[known]
    if not np.isfinite(worse_half).any():
        worse_half = view.d_loss[known]
    held, free = (worse_half[s & np.isfinite(worse_half)] for s in (flags, ~flags))
    if len(held) < 2 or len(free) < 2:
        return None
    gated = float((free[:, None] > held[None, :]).mean())
    every_row = np.median(np.diff(view.steps)) <= 1
    bursts = [run.rows for run in runs_of(~flags)]
    # Where every step is on record, single rests between steps are no bursts.
    if gated < GATED or (every_row and np.mean([run.rows for run in runs_of(flags)]) < 2):
        return None
    rows = np.flatnonzero(known)
    evidence: tuple[Evidence, ...] = (
        Evidence(
            "restarts",
            float(restarts),
            f"D starts again {restarts} times after standing still; it is trained in "
            f"{len(bursts)} bursts of {min(bursts)} to {max(bursts)} lines",
        ),
        Evidence(
            "how well D's worse half tells training from standstill",
            gated,
            f"the worse half of D's loss is {number(float(np.median(held)))} (median) where D "
            f"stands still and {number(float(np.median(free)))} where it is trained: it waits "
            "until G has caught up",
        ),
    )
    real, fake = view.real_probability, view.fake_probability
    if np.isfinite(real).any() and np.isfinite(fake).any() and d_saturated(view) is None:
        text = (
            f"the game is alive: D(x) ranges from {_range(real)} and D(G(z)) from {_range(fake)}, "
            "and D is nowhere certain for long"
        )
        evidence += (Evidence("range of D(G(z))", float(np.nanmax(fake) - np.nanmin(fake)), text),)
    designed = view.trace.policy in RESTING_POLICIES
    return Found(
        "note" if designed else "warning",
        Spell(int(rows[0]), int(rows[-1])),
        sureness(int(known.sum()), 0.9),
        evidence,
    )


def _range(values: np.ndarray) -> str:
    return f"{number(float(np.nanmin(values)))} to {number(float(np.nanmax(values)))}"


def inert_rule(view: View) -> Answer:
    """A balance policy is configured and changed nothing in any step."""
    policy, acted = view.trace.policy, view.trace.get("policy_acted")
    if policy is None or not np.isfinite(acted).any():
        return Missing(("the policy of a run and its actions",))
    count = int(np.isfinite(acted).sum())
    if policy == "none" or (acted == 1).any() or count < 5 * LEAST_SPELL:
        return None
    text = f"`{policy}` is configured, and it changed nothing in {lines(count)}"
    return Found(
        "note",
        Spell(0, view.rows - 1),
        sureness(count),
        (Evidence("steps in which the rule acted", 0.0, text),),
    )
