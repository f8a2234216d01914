"""Rules on losses: `non-finite`, `divergence`, `lsgan-on-sigmoid`, `loss-inconsistent`."""

import numpy as np

from counterpoise.diagnosis import remedies as fix
from counterpoise.diagnosis.finding import Evidence, Remedy
from counterpoise.diagnosis.found import Answer, Found, Missing, Rule, lines, number, sureness
from counterpoise.diagnosis.inference import bce_at_mean
from counterpoise.diagnosis.view import View
from counterpoise.diagnosis.windows import LEAST_SPELL, Spell, longest
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
OF_A_CRITIC = {"d_penalty": 50.0, "g_gradient_norm": 1e3, "d_gradient_norm": 1e3, "d_loss": 100.0}
# Relativistic objectives compare scores alone: both may drift together.
OF_A_COMPARISON = {name: size for name, size in GROWING.items() if "logit_mean" not in name}
# Growth over the calm part of the training that counts as divergence, and where it ends.
EXPLODED, CALM_AGAIN = 20.0, 8.0
# D(G(z)) or its complement below which a squared sigmoid passes on next to nothing.
PINNED, UNPINNED = 0.02, 0.06
# What is put down to rounding in an impossible loss, as a share and in units; the rows it takes.
ROUNDING, PRINTED, SHARE_OF_ROWS = 0.03, 2e-3, 0.1


def squared_sigmoid_slope(output: float) -> tuple[float, float]:
    """The slope of (sigmoid(x) - 1)^2 where the sigmoid is `output`, and that as a share of the
    largest (8/27, at 1/3)."""
    slope = 2 * output * (1 - output) ** 2
    return slope, slope / (8 / 27)


def non_finite(view: View) -> Answer:
    """A NaN or an infinity anywhere."""
    values = view.trace.non_finite
    if not values:
        return None
    step, last = values[0][0], max(view.rows - 1, 0)
    row = min(int(np.searchsorted(view.steps, step)), last)
    names = sorted({column for _, column in values})
    what = ", ".join(COLUMNS.get(column, column) for column in names[:4])
    text = f"first at step {step}; not finite: {what}"
    evidence = Evidence("values that are not finite", float(len(values)), text)
    return Found("severe", Spell(row, last), 1.0, [evidence])


def divergence(view: View) -> Answer:
    """Something grows without settling, far above what it was while the training was calm."""
    worst, found, judged = 0.0, None, False
    compares = view.objective is not None and view.objective.compares_scores
    growing = OF_A_COMPARISON if compares else GROWING
    for name, harmless in (OF_A_CRITIC if view.is_critic else growing).items():
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
        return Missing() if view.objective is None else None
    raw, smooth = view.fake_probability, view.smoothed(view.fake_probability)
    from_end = np.minimum(smooth, 1 - smooth)
    spell, severity = longest(from_end < PINNED, from_end < UNPINNED), "warning"
    if spell is None or spell.rows < LEAST_SPELL:
        spell = view.whole
    else:
        spell = spell.begin_where(np.minimum(raw, 1 - raw) < PINNED)
        severity = "severe" if view.lasts(spell) else "warning"
    output = spell.median(raw)
    slope, share = squared_sigmoid_slope(output)
    text = (
        f"at D(G(z)) = {number(output)} the gradient of (D(G(z)) - 1)^2 through the sigmoid "
        f"is {number(slope)}, {share:.1%} of its largest"
    )
    how = Evidence("objective", None, f"how it is known: {view.objective_evidence}")
    evidence = [how, Evidence("D(G(z))", output, text)]
    return Found(severity, spell, sureness(spell.rows), evidence)


def loss_inconsistent(view: View) -> Answer:
    """Printed losses that cannot come from the printed outputs (Jensen's inequality)."""
    if not (np.isfinite(view.real_probability) & np.isfinite(view.fake_probability)).any():
        return Missing()
    judged = [each for each in (_impossible_d_loss(view), _impossible_g_loss(view)) if each]
    if not judged:
        return None
    rows = np.sort(np.concatenate([rows for _, rows in judged]))
    evidence = [evidence for evidence, _ in judged]
    return Found("note", Spell.over(rows), sureness(len(rows)), evidence)


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
        f"step {view.steps[row]} they allow {bound} {number(limit[row])}, and {number(loss[row])} "
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
    Rule(
        "non-finite",
        non_finite,
        "A value is NaN or infinite",
        "A loss or output is no longer a number, so from there on every update destroys the "
        "weights. The training has to go back to a checkpoint from before that step.",
        "any loss or output",
        (
            fix.GO_BACK,
            Remedy(
                "Compute the losses from logits, in float32 also under mixed precision.",
                code="binary_cross_entropy_with_logits(logits.float(), labels)",
            ),
            Remedy("Add an epsilon under every square root and logarithm of your losses."),
            Remedy(
                "Clip the gradients of both networks.",
                code="torch.nn.utils.clip_grad_norm_(d.parameters(), 1.0)",
            ),
        ),
        fix.GOODFELLOW_TUTORIAL,
    ),
    Rule(
        "divergence",
        divergence,
        "The training diverges",
        "Losses, outputs or gradients grow without settling: the updates amplify the error "
        "instead of correcting it. Images of this training will not get better again.",
        "a loss, an output or a gradient norm over at least 8 lines",
        (fix.GO_BACK, fix.R1, fix.SPECTRAL, fix.AUTO),
        fix.MESCHEDER,
    ),
    Rule(
        "lsgan-on-sigmoid",
        lsgan_on_sigmoid,
        "Least squares behind a sigmoid",
        "D's output goes through a sigmoid before it is squared, and where the sigmoid is flat "
        "there is no gradient. Near 0 or 1 neither network is told to leave.",
        "D's outputs beside its losses, or --objective",
        (
            Remedy(
                "Take the sigmoid out of D and apply least squares to its raw scores.",
                config="loss.adversarial.form=lsgan",
                code="score = d(image)  # no sigmoid; loss = (score - target).square().mean()",
                source=fix.LSGAN,
            ),
            fix.NON_SATURATING,
            fix.LOWER_D_RATE,
        ),
        fix.LSGAN,
    ),
    Rule(
        "loss-inconsistent",
        loss_inconsistent,
        "Printed losses do not belong to the printed outputs",
        "These losses cannot come from these outputs of D, under any spread over the batch. "
        "Do not compare the columns line by line.",
        "D's outputs as probabilities beside its losses",
        (
            Remedy(
                "Print losses and outputs of the same step, or average both over the same "
                "steps, and each term of G's loss apart."
            ),
        ),
        "Jensen's inequality",
    ),
)
