"""Rules on losses: `non-finite`, `divergence`, `lsgan-on-sigmoid`, `loss-inconsistent`."""

import numpy as np

from counterpoise.diagnosis.finding import Evidence
from counterpoise.diagnosis.found import (
    LEAST_SPELL,
    Answer,
    Found,
    Missing,
    begin_where,
    lasts,
    lines,
    median_within,
    number,
    sureness,
)
from counterpoise.diagnosis.least_losses import bce_at_mean
from counterpoise.diagnosis.view import View
from counterpoise.diagnosis.windows import Spell, longest, spells
from counterpoise.objectives import UNKNOWN
from counterpoise.trace import COLUMNS

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
OF_A_CRITIC = {
    name: GROWING[name] for name in ("d_penalty", "g_gradient_norm", "d_gradient_norm")
} | {"d_loss": 100.0}
# Relativistic objectives compare scores alone: both may drift together.
OF_A_COMPARISON = {name: size for name, size in GROWING.items() if "logit_mean" not in name}
# Growth over the calm part of the training that counts as divergence, and where it ends.
EXPLODED, CALM_AGAIN = 20.0, 8.0
# D(G(z)) or its complement below which a squared sigmoid passes on next to nothing.
PINNED, UNPINNED = 0.02, 0.06
# The largest slope of (sigmoid(x) - 1)^2, at sigmoid(x) = 1/3.
STEEPEST = 8 / 27
# What is put down to rounding in an impossible loss, as a share and in units; the rows it takes.
ROUNDING, PRINTED, SHARE_OF_ROWS = 0.03, 2e-3, 0.1


def non_finite(view: View) -> Answer:
    """A NaN or an infinity anywhere."""
    if not view.trace.non_finite:
        return None
    step = view.trace.non_finite[0][0]
    row = int(np.searchsorted(view.steps, step))
    names = sorted({column for _, column in view.trace.non_finite})
    what = ", ".join(COLUMNS.get(column, column) for column in names[:4])
    text = f"first at step {step}; not finite: {what}"
    count = len(view.trace.non_finite)
    last = max(view.rows - 1, 0)
    return Found(
        "severe",
        Spell(min(row, last), last),
        1.0,
        (Evidence("values that are not finite", float(count), text),),
    )


def divergence(view: View) -> Answer:
    """Something grows without settling, far above what it was while the training was calm."""
    worst: tuple[float, Found] | None = None
    judged = False
    growing = OF_A_COMPARISON if view.compares_scores else GROWING
    for name, harmless in (OF_A_CRITIC if view.is_critic else growing).items():
        size = np.abs(view.trace.get(name))
        if np.isfinite(size).sum() < 2 * LEAST_SPELL:
            continue
        judged = True
        smooth = view.smoothed(size)
        half = smooth[: max(LEAST_SPELL, view.rows // 2)]
        half = half[np.isfinite(half)]
        if not len(half):
            continue
        calm = float(np.quantile(half, 0.25))
        grown = smooth / max(calm, harmless / EXPLODED)
        spell = longest(spells(grown > EXPLODED, grown > CALM_AGAIN))
        if spell is None or not lasts(view, spell):
            continue
        peak = float(np.nanmax(smooth[spell.first : spell.last + 1]))
        text = (
            f"{COLUMNS[name]} goes from about {number(calm)} to {number(peak)}, and does not "
            "come back"
        )
        found = Found(
            "severe",
            spell,
            sureness(2 * spell.rows),
            (Evidence(f"growth of {COLUMNS[name]}", peak / max(calm, 1e-9), text),),
        )
        if worst is None or peak / harmless > worst[0]:
            worst = (peak / harmless, found)
    if not judged:
        return Missing(("a loss, an output or a gradient norm over at least 8 lines",))
    return None if worst is None else worst[1]


def lsgan_on_sigmoid(view: View) -> Answer:
    """Squares of probabilities, with D(G(z)) pinned where the sigmoid is flat."""
    if view.objective_name == UNKNOWN:
        return Missing(("D's outputs beside its losses, or --objective",))
    if view.objective_name != "lsgan-on-sigmoid":
        return None
    fake = view.smoothed(view.fake_probability)
    from_end = np.minimum(fake, 1 - fake)
    spell = longest(spells(from_end < PINNED, from_end < UNPINNED))
    pinned = spell is not None and spell.rows >= LEAST_SPELL
    if spell is None or not pinned:
        spell = Spell(0, view.rows - 1)
    else:
        raw = view.fake_probability
        spell = begin_where(np.minimum(raw, 1 - raw) < PINNED, spell)
    output = median_within(view.fake_probability, spell)
    slope = 2 * output * (1 - output) ** 2
    evidence = [
        Evidence("objective", None, f"how it is known: {view.objective_evidence}"),
        Evidence(
            "D(G(z))",
            output,
            f"at D(G(z)) = {number(output)} the gradient of (D(G(z)) - 1)^2 through the sigmoid "
            f"is {number(slope)}, {slope / STEEPEST:.1%} of its largest",
        ),
    ]
    return Found(
        "severe" if pinned and lasts(view, spell) else "warning",
        spell,
        sureness(spell.rows),
        tuple(evidence),
    )


def loss_inconsistent(view: View) -> Answer:
    """Printed losses that cannot come from the printed outputs (Jensen's inequality)."""
    real, fake = view.real_probability, view.fake_probability
    if not (np.isfinite(real) & np.isfinite(fake)).any():
        return Missing(("D's outputs as probabilities beside its losses",))
    evidence, rows = _d_loss_too_low(view)
    more, more_rows = _g_loss_too_high(view)
    impossible = np.concatenate([rows, more_rows]).astype(int)
    if not evidence and not more:
        return None
    spell = Spell(int(impossible.min()), int(impossible.max()))
    return Found("note", spell, sureness(len(impossible)), tuple(e for e in (evidence, more) if e))


def _d_loss_too_low(view: View) -> tuple[Evidence | None, np.ndarray]:
    """D's loss below the least that its mean outputs allow, or above the most."""
    real, fake, loss = view.real_probability, view.fake_probability, view.d_loss
    nothing = np.array([], dtype=int)
    with np.errstate(invalid="ignore", divide="ignore"):
        if view.objective_name == "non-saturating":
            least = np.sum(bce_at_mean(real, fake), axis=0)
            impossible = loss < least * (1 - ROUNDING) - PRINTED
        elif view.objective_name == "lsgan-on-sigmoid":
            least = 1 - real + fake
            impossible = loss > least * (1 + ROUNDING) + PRINTED
        else:
            return None, nothing
    known = np.isfinite(least) & np.isfinite(loss)
    rows = np.flatnonzero(impossible & known)
    # One line may be a slip of the printing; two in a short log, three in any, are none.
    if len(rows) < 2 or (len(rows) < 3 and len(rows) < SHARE_OF_ROWS * known.sum()):
        return None, nothing
    row = rows[np.argmax(np.abs(np.log(np.maximum(loss[rows], 1e-9) / least[rows])))]
    bound = "at least" if view.objective_name == "non-saturating" else "at most"
    text = (
        f"in {lines(len(rows), int(known.sum()))} D's loss cannot come from D(x) and D(G(z)): at "
        f"step {view.steps[row]} they allow {bound} {number(least[row])}, and {number(loss[row])} "
        f"is printed; {_why(loss, least, known)}"
    )
    return Evidence("lines whose loss is impossible", float(len(rows)), text), rows


def _why(loss: np.ndarray, least: np.ndarray, known: np.ndarray) -> str:
    """The likeliest reason for losses that do not belong to their outputs."""
    ratio = np.log(np.maximum(loss[known], 1e-9) / np.maximum(least[known], 1e-9))
    if len(ratio) >= LEAST_SPELL and np.std(ratio) < 0.1:
        return f"always by a factor of about {number(float(np.exp(np.median(ratio))))}: scaled"
    return "likely an average over many steps beside outputs of the last one"


def _g_loss_too_high(view: View) -> tuple[Evidence | None, np.ndarray]:
    """Under squared sigmoids, the part of G's loss that cannot be adversarial."""
    nothing = np.array([], dtype=int)
    loss = view.trace.get("g_loss")
    if view.objective_name != "lsgan-on-sigmoid" or view.trace.has("g_adversarial"):
        return None, nothing
    rows = np.flatnonzero(loss > 1 + ROUNDING)
    if len(rows) < 2 or len(rows) < SHARE_OF_ROWS * np.isfinite(loss).sum():
        return None, nothing
    rest = float(np.median(loss[rows])) - 1
    text = (
        f"G's loss is above 1 in {lines(len(rows))} and a squared error behind a sigmoid is at "
        f"most 1, so at least {number(round(rest, 2))} of it is another term (unless it is doubled)"
    )
    return Evidence("G's loss that is not adversarial", rest, text), rows
