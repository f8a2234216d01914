"""The diagnosis of one training run: every rule asked, worst finding first.

Pure functions of recorded numbers: the same for a log file and for a training under way.
"""

import dataclasses

import numpy as np

from counterpoise.diagnosis.catalogue import CATALOGUE
from counterpoise.diagnosis.critic import distance_in_words
from counterpoise.diagnosis.finding import (
    PROBLEMS,
    SEVERITIES,
    Diagnosis,
    Evidence,
    Finding,
    NotJudged,
)
from counterpoise.diagnosis.found import Found, Missing, Rule, lines, number, sureness
from counterpoise.diagnosis.rules_discriminator import (
    d_memorises,
    d_saturated,
    d_too_weak,
    oscillation,
)
from counterpoise.diagnosis.rules_generator import (
    adversarial_term_drowned,
    content_term_drowned,
    g_vanishing_gradient,
    mode_collapse,
    trivially_separable,
)
from counterpoise.diagnosis.rules_losses import (
    divergence,
    loss_inconsistent,
    lsgan_on_sigmoid,
    non_finite,
)
from counterpoise.diagnosis.rules_updates import d_frozen, d_restarts, inert_rule
from counterpoise.diagnosis.view import View
from counterpoise.diagnosis.windows import Spell
from counterpoise.objectives import objective_name
from counterpoise.registry import Registry
from counterpoise.trace import Trace

# Of equal severity, nearer causes come first.
RULES: Registry[Rule] = Registry(
    "rule",
    ("non-finite", non_finite),
    ("divergence", divergence),
    ("lsgan-on-sigmoid", lsgan_on_sigmoid),
    ("d-frozen", d_frozen),
    ("d-saturated", d_saturated),
    ("d-restarts", d_restarts),
    ("g-vanishing-gradient", g_vanishing_gradient),
    ("d-too-weak", d_too_weak),
    ("oscillation", oscillation),
    ("mode-collapse", mode_collapse),
    ("d-memorises", d_memorises),
    ("adversarial-term-drowned", adversarial_term_drowned),
    ("content-term-drowned", content_term_drowned),
    ("trivially-separable", trivially_separable),
    ("loss-inconsistent", loss_inconsistent),
    ("inert-rule", inert_rule),
)

# Rows below which only NaN is judged.
LEAST_ROWS = 6
# Steps that a training on record step by step must have had before it is judged by these: every
# young D is at chance, every young G's outputs are alike, and every game swings at first.
LEAST_STEPS = {
    "d-too-weak": 200,
    "inert-rule": 200,
    "adversarial-term-drowned": 200,
    "content-term-drowned": 200,
    "oscillation": 400,
    "mode-collapse": 400,
}


# Numbers of any size may be in a log; what overflows is infinite, and no rule is met by it.
@np.errstate(all="ignore")
def diagnose(
    trace: Trace, objective: str | None = None, *, d_loss_is_mean: bool = False
) -> Diagnosis:
    """Everything that the numbers of a training show, worst first.

    `objective` is any name of `objectives.OBJECTIVES` or an alias, and overrides what the trace
    says; `UserError` for an unknown one. `d_loss_is_mean` says that `d_loss` is the mean of D's two
    halves; without it that is taken from the trace, or inferred from D's outputs. Where nothing is
    found, the diagnosis is `healthy`, or `not-enough-evidence` where the log could not show it.
    """
    name = objective or trace.objective
    if name is not None:
        trace = dataclasses.replace(trace, objective=objective_name(name))
    if d_loss_is_mean:
        trace = dataclasses.replace(trace, d_loss_is_mean=True)
    view = View.of(trace)
    findings, not_judged = [], []
    for rule_id in RULES:
        if view.rows < LEAST_ROWS and rule_id != "non-finite":
            not_judged.append(NotJudged(rule_id, (f"at least {LEAST_ROWS} lines",)))
            continue
        least_steps = LEAST_STEPS.get(rule_id, 0)
        if _every_step(view) and view.steps[-1] - view.steps[0] < least_steps:
            not_judged.append(NotJudged(rule_id, (f"at least {least_steps} steps",)))
            continue
        answer = RULES[rule_id](view)
        if isinstance(answer, Found):
            findings.append(_finding(view, rule_id, answer))
        elif isinstance(answer, Missing):
            not_judged.append(NotJudged(rule_id, answer.fields))
    if not any(finding.severity in PROBLEMS for finding in findings):
        findings.append(_verdict(view))
    findings.sort(key=lambda f: SEVERITIES.index(f.severity))
    return Diagnosis(
        findings=tuple(findings),
        source=trace.source,
        title=trace.title,
        format=trace.format,
        objective=view.objective_name,
        objective_evidence=view.objective_evidence,
        not_judged=tuple(not_judged),
        first_step=int(view.steps[0]) if view.rows else 0,
        last_step=int(view.steps[-1]) if view.rows else 0,
        rows=view.rows,
        notes=(*trace.notes, *view.interpretation.notes),
    )


def _every_step(view: View) -> bool:
    """Whether the rows are our own records of single steps; other logs' lines may be epochs."""
    ours = view.trace.format in ("", "signals", "run folder")
    return ours and view.rows > 1 and bool(np.median(np.diff(view.steps)) <= 1)


def _finding(view: View, finding_id: str, found: Found) -> Finding:
    entry = CATALOGUE[finding_id]
    return Finding(
        id=finding_id,
        severity=found.severity,
        first_step=int(view.steps[found.spell.first]) if view.rows else 0,
        last_step=int(view.steps[found.spell.last]) if view.rows else 0,
        confidence=min(1.0, found.confidence),
        title=entry.title,
        meaning=found.meaning or entry.meaning,
        evidence=found.evidence,
        # To change to the objective that it has already is no advice.
        remedies=tuple(
            remedy
            for remedy in (*found.first_remedies, *entry.remedies)
            if remedy.config != f"loss.adversarial.form={view.objective_name}"
        ),
        source=entry.source,
    )


def _verdict(view: View) -> Finding:
    """`healthy`, or why that cannot be said."""
    lead = view.lead
    known = int(np.isfinite(lead).sum())
    whole = Spell(0, max(0, view.rows - 1))
    if view.rows < LEAST_ROWS:
        text = f"there are {lines(view.rows)}, and it takes {LEAST_ROWS}"
        evidence: tuple[Evidence, ...] = (Evidence("lines", float(view.rows), text),)
    elif view.objective_name == "wgan" and np.isfinite(view.d_loss).sum() >= LEAST_ROWS:
        value, text, is_well = distance_in_words(view)
        evidence = (Evidence("the critic's estimate of the distance", value, text),)
        if is_well:
            found = Found("healthy", whole, sureness(view.rows, 0.7), evidence)
            return _finding(view, "healthy", found)
    elif known < max(LEAST_ROWS, view.rows // 20):
        text = "nothing in it says how well D tells real from fake"
        if view.interpretation.loss_says_nothing:
            text += ", and D is not judged by its loss (a note says why)"
        elif np.isfinite(view.d_loss).any():
            text += f"; its losses cannot be read, since {view.objective_evidence}"
        evidence = (Evidence("lines that say who leads", float(known), text),)
    else:
        value = float(np.nanmedian(lead))
        text = f"D's lead is {number(value)} (median; 0 is chance, 1 certainty) over {lines(known)}"
        found = Found("healthy", whole, sureness(known, 0.9), (Evidence("D's lead", value, text),))
        return _finding(view, "healthy", found)
    return _finding(view, "not-enough-evidence", Found("note", whole, 1.0, evidence))
