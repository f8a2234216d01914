"""What a log's numbers mean before any rule is asked: which objective, which lines, which labels.

Where they do not mean what the rules would take them for, that is said once, in words, and what
cannot be judged by is left out: silence is better than a verdict on another quantity.
"""

import dataclasses
import math

import numpy as np

from counterpoise.diagnosis.inference import infer
from counterpoise.diagnosis.loss_curves import SPREAD, factors, g_curve, summed_loss
from counterpoise.diagnosis.reading import Reading
from counterpoise.diagnosis.view import LEAST_ROWS, NEARLY_ALL, View
from counterpoise.objectives import cut_by
from counterpoise.programs import UNKNOWN_PROGRAM, Program
from counterpoise.trace import D_COLUMNS, LOSSES_AND_OUTPUTS, Trace

# D's loss over that of one D at chance: nearly always above the first and mostly above the second
# is more than one D's loss, if no line is further from the median than by this factor; so many
# times chance are no D's.
ABOVE_CHANCE, SEVERAL, STEADY, MOST = 1.2, 1.5, 2.0, 20.0
HALVES = 0.3  # the largest sum of "outputs" that are halves
# D's outputs nearer to each other than this cannot have a loss of 0 under any objective.
UNTRAINED_GAP = 0.5
# The loss of a D that begins to be trained is above this in most of so many lines.
YOUNG_LOSS, YOUNG_LINES = 0.1, 10
# What is flipped with D's labels, and the sum of an output's two sides: of logits it is 0.
FLIPPED = dict.fromkeys(("d_real", "d_fake_before", "d_fake_after", "auc"), 1.0)
FLIPPED |= dict.fromkeys(("real_logit_mean", "fake_logit_mean", "held_out_logit_mean"), 0.0)


def views(trace: Trace, program: Program = UNKNOWN_PROGRAM, given: str = "") -> list[View]:
    """What the numbers of a trace may mean, likeliest first. `given`: who says the trace's
    objective, if anybody does."""
    trace, of_halves = _with_halves(trace)
    judged, notes = _without_untrained(trace.part(_until_lost(trace)), program.d_starts_late)
    readings = infer(judged, program, given)
    notes += of_halves
    return [_view(trace, judged, program, reading, notes) for reading in readings]


def _until_lost(trace: Trace) -> slice:
    """The rows before a loss or an output becomes NaN and stays it: no training is behind them."""
    rows = len(trace)
    for step, name in trace.non_finite:
        row = int(np.searchsorted(trace.steps, step))
        if name in LOSSES_AND_OUTPUTS and not np.isfinite(trace.get(name)[row:]).any():
            rows = min(rows, row)
    return slice(rows)


def _view(
    log: Trace, trace: Trace, program: Program, reading: Reading, notes: tuple[str, ...]
) -> View:
    if reading.labels_flipped:
        # The outputs of a D which is asked for 1 on real images and 0 on fake ones.
        columns = trace.columns.items()
        flipped = {n: FLIPPED[n] - values if n in FLIPPED else values for n, values in columns}
        trace = dataclasses.replace(trace, columns=flipped)
        notes += (
            "labels are flipped (real images asked for 0, fake ones for 1): D(x) and D(G(z)) of "
            "the findings are 1 minus those of the log",
        )
    view = View(log, trace, reading, program, *factors(trace, reading, program), notes=notes)
    reason = _why_loss_says_nothing(view)
    if reason:
        notes += (f"D is not judged by its loss: {reason}",)
        view = dataclasses.replace(view, loss_says_nothing=reason, notes=notes)
    return view


def _with_halves(trace: Trace) -> tuple[Trace, tuple[str, ...]]:
    """With `d_real` and `d_fake` as halves of D's loss (SEGAN's) where both are near 0, as outputs
    of no trained D are, and G's loss goes with that; without them where G's is not there."""
    real, fake = trace.get("d_real"), trace.get("d_fake_before")
    off = np.abs(trace.first("g_adversarial", "g_loss") - g_curve(Reading("lsgan"), 2 * fake))
    looks = (np.fmin(real, fake) >= 0) & (real + fake < HALVES) & ~(off > SPREAD)
    known = trace.columns.keys() & {"d_loss", "d_loss_real", "d_fake_after"}
    if known or looks.sum() <= len(trace) / 2:
        return trace, ()
    columns = {name: trace.get(name) for name in trace.columns.keys() - {"d_real", "d_fake_before"}}
    if np.isfinite(off).any():
        columns |= {"d_loss_real": real, "d_loss_fake": fake}
    note = (
        "D_real and D_fake are too small for outputs: they are halves of D's loss where G's loss "
        "is there and goes with them, and are not used elsewhere; --map NAME=d_loss_real says it"
    )
    return dataclasses.replace(trace, columns=columns), (note,)


def _without_untrained(trace: Trace, starts_late: bool) -> tuple[Trace, tuple[str, ...]]:
    """Without D's numbers in the lines at the beginning in which D was not trained yet.

    Programs that let G go ahead alone (VQGAN's `disc_start`) print 0 for D's loss: exactly 0, which
    outputs that hardly differ cannot have under any objective.
    """
    loss = summed_loss(trace)
    real = trace.first("real_logit_mean", "d_real")
    gap = np.abs(real - trace.first("fake_logit_mean", "d_fake_before"))
    idle = (loss == 0) & ~(gap > UNTRAINED_GAP)
    never = bool(idle.all())
    rows = len(idle) if never else int(np.argmin(idle))
    if rows < 2:
        return trace, ()
    # Without outputs it is the loss that has to show a D that was young when its zeros ended.
    after = loss[rows : rows + YOUNG_LINES]
    has_begun = len(after) > 0 and (after > YOUNG_LOSS).mean() > 0.5
    if not has_begun and not starts_late and not np.isfinite(gap[:rows]).any():
        return trace, ()
    columns = {}
    for name, values in trace.columns.items():
        # Outputs of a D that is never trained say what is wrong; its zeros say nothing.
        if name.startswith("d_loss") or (name in D_COLUMNS and not never):
            values = values.copy()
            values[:rows] = np.nan
        if np.isfinite(values).any():
            columns[name] = values
    note = (
        "D's loss is exactly 0 in every line: D is not trained (yet), and not judged by it"
        if never
        else f"D is not trained yet in the first {rows} lines, to step {trace.steps[rows - 1]} "
        "(its loss is exactly 0): D is judged from there on"
    )
    return dataclasses.replace(trace, columns=columns), (note,)


def _why_loss_says_nothing(view: View) -> str:
    """Why D's loss is none of what the objective's rules are about, and what to do; or nothing."""
    trace, objective = view.trace, view.objective
    if view.losses_are_one:
        return "it is the number that is printed as G's, in every line; print each from its own"
    if not objective.d_loss_reaches_zero:
        return ""
    if view.is_below_zero:
        return (
            f"it is below 0 in most lines, and under {objective.title} it cannot be; say "
            "--objective wgan, or turn the sign if it is the value that D maximises"
        )
    loss = view.whole.within(view.loss_in_log)
    if trace.has("d_real", "d_fake_before") or len(loss) < LEAST_ROWS:
        return ""
    chance, median = objective.equilibrium_d_loss, float(np.median(loss))
    if (
        SEVERAL * chance < median < MOST * chance
        and (loss > ABOVE_CHANCE * chance).mean() >= NEARLY_ALL
        and (np.abs(np.log(loss / median)) < math.log(STEADY)).mean() >= NEARLY_ALL
        # Where G's loss says that D takes fakes for real, that is what D's loss is large by, or a
        # clip does.
        and not cut_by(median)
        and not view.whole.median(view.fooled_half) > median / 2
    ):
        return (
            f"it is {median:.2f} (median{view.halves_are_summed}), where one D at chance has "
            f"{chance:.2f} under {objective.title}: it is several D's, or has a weight or another "
            "term in it; print each D's own loss, or D's outputs"
        )
    return ""
