"""The diagnosis of one training run: every rule asked, worst finding first. Pure functions of
recorded numbers: the same for a log file and for a training under way."""

import dataclasses

import numpy as np

from counterpoise.diagnosis import (
    rules_discriminator,
    rules_generator,
    rules_losses,
    rules_run,
    rules_updates,
    verdict,
)
from counterpoise.diagnosis.finding import PROBLEMS, SEVERITIES, Diagnosis, Finding, NotJudged
from counterpoise.diagnosis.found import Found, Missing, Rule
from counterpoise.diagnosis.interpretation import interpret
from counterpoise.diagnosis.verdict import LEAST_ROWS
from counterpoise.diagnosis.view import View
from counterpoise.objectives import objective_name
from counterpoise.registry import Registry
from counterpoise.trace import Trace

# Of equal severity, nearer causes come first.
MODULES = rules_losses, rules_run, rules_updates, rules_discriminator, rules_generator, verdict
RULES: Registry[Rule] = Registry(
    "finding",
    *((rule.id, rule) for module in MODULES for rule in module.RULES),
)


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
    view = interpret(trace)
    findings, not_judged = [], []
    for rule in RULES.values():
        answer = _answer(view, rule)
        if isinstance(answer, Found):
            findings.append(_finding(view, rule, answer))
        elif isinstance(answer, Missing):
            not_judged.append(NotJudged(rule.id, (answer.need or rule.needs,)))
    if not any(finding.severity in PROBLEMS for finding in findings):
        findings.append(_finding(view, *verdict.verdict(view)))
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
        notes=(*trace.notes, *view.notes),
    )


def _answer(view: View, rule: Rule) -> Found | Missing | None:
    """What a rule answers, where there is enough to ask it."""
    if rule.judge is None:
        return None
    if view.rows < LEAST_ROWS and rule.id != "non-finite":
        return Missing(f"at least {LEAST_ROWS} lines")
    # Where the rows are our own records of single steps; other logs' lines may be epochs.
    every_step = view.trace.format in ("", "run folder") and view.rows > 1
    every_step = every_step and np.median(np.diff(view.steps)) <= 1
    if every_step and view.steps[-1] - view.steps[0] < rule.least_steps:
        return Missing(f"at least {rule.least_steps} steps")
    return rule.judge(view)


def _finding(view: View, rule: Rule, found: Found) -> Finding:
    # To change to the objective that it has already is no advice.
    useless = f"loss.adversarial.form={view.objective_name}"
    return Finding(
        id=rule.id,
        severity=found.severity,
        first_step=int(view.steps[found.spell.first]) if view.rows else 0,
        last_step=int(view.steps[found.spell.last]) if view.rows else 0,
        confidence=min(1.0, found.confidence),
        title=rule.title,
        meaning=found.meaning or rule.meaning,
        evidence=tuple(found.evidence),
        remedies=tuple(
            remedy for remedy in (*found.first_remedies, *rule.remedies) if remedy.config != useless
        ),
        source=rule.source,
    )
