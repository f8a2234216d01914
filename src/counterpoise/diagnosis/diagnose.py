"""The diagnosis of one training run: every rule asked, worst finding first. Pure functions of
recorded numbers: the same for a log file and for a training under way."""

import dataclasses
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from counterpoise.diagnosis import (
    rules_discriminator,
    rules_generator,
    rules_losses,
    rules_updates,
    verdict,
)
from counterpoise.diagnosis.finding import (
    PROBLEMS,
    SEVERITIES,
    Answer,
    Candidate,
    Diagnosis,
    Evidence,
    Finding,
    Found,
    Missing,
    NotJudged,
    Rule,
)
from counterpoise.diagnosis.interpretation import views
from counterpoise.diagnosis.loop_bugs import LoopFinding, with_loop_bugs
from counterpoise.diagnosis.reading import named
from counterpoise.diagnosis.remedies import REMEDIES
from counterpoise.diagnosis.view import View
from counterpoise.objectives import UNKNOWN, objective_name
from counterpoise.programs import PROGRAMS, UNKNOWN_PROGRAM
from counterpoise.registry import Registry
from counterpoise.trace import Trace

# Of equal severity, nearer causes come first.
MODULES = rules_losses, rules_updates, rules_discriminator, rules_generator, verdict
RULES: Registry[Rule] = Registry(
    "finding",
    *((rule.id, rule) for module in MODULES for rule in module.RULES),
)
# Where the log leaves several objectives: the probability of those under which a finding holds
# that makes it be said outright, as a warning with its condition, or as a note with it.
OUTRIGHT, WARNED, NOTED = 0.9, 0.5, 0.2
NAMED_OF_A_SIDE = 2  # objectives under which a finding holds, and of those under which it does not

Judged = tuple[View, Answer]


# Numbers of any size may be in a log; what overflows is infinite, and no rule is met by it.
@np.errstate(all="ignore")
def diagnose(
    trace: Trace,
    objective: str | None = None,
    *,
    d_loss_is_mean: bool = False,
    program: str | None = None,
) -> Diagnosis:
    """Everything that the numbers of a training show, worst first.

    `objective` is any name of `objectives.OBJECTIVES` or an alias, and overrides what the trace
    says; `program`, a name of `programs.PROGRAMS`, is what printed the log; `UserError` for an
    unknown one. `d_loss_is_mean` says that `d_loss` is the mean of D's two halves; without it that
    is taken from the trace or the program, or inferred. Where the numbers leave more than one
    objective, findings are judged under each, and say under which they hold. Where nothing is
    found, the diagnosis is `healthy`, or `not-enough-evidence` where the log could not show it.
    """
    profile = PROGRAMS[program] if program else PROGRAMS.get(trace.program, UNKNOWN_PROGRAM)
    given = ""  # who says what the objective is
    if name := objective or trace.objective:
        trace = dataclasses.replace(trace, objective=objective_name(name))
        is_run = trace.format == "run folder"
        given = "the run's own configuration" if is_run else "as it was said"
    if objective is not None:
        given = "as you said"
    if profile.discriminators > 1 or d_loss_is_mean:
        # A sum over several D's is of whole losses, whatever others of its layout print.
        trace = dataclasses.replace(trace, d_loss_is_mean=d_loss_is_mean)
    judged = views(trace, profile, given)
    findings, not_judged = [], []
    for rule in RULES.values():
        answers = [(view, _answer(view, rule)) for view in judged]
        if found := _merged(rule, answers):
            findings.append(found)
        elif missing := [answer for _, answer in answers if isinstance(answer, Missing)]:
            not_judged.append(NotJudged(rule.id, (missing[0].need or rule.needs,)))
    if not any(finding.severity in PROBLEMS for finding in findings):
        findings.append(_verdict(judged, [each for each in findings if each.if_objective]))
    severe = [each for each in findings if each.severity == "severe"]
    start = int(trace.steps[0]) if len(trace) else 0

    def rank(finding: Finding) -> tuple[int, bool]:
        # Every checkpoint from before a late divergence has what was wrong long before it.
        half = (start + finding.first_step) / 2
        is_late = finding.id == "divergence" and any(each.first_step < half for each in severe)
        return SEVERITIES.index(finding.severity), is_late

    findings.sort(key=rank)
    shares: dict[str, float] = defaultdict(float)
    for each in judged:
        shares[each.objective_name] += each.reading.probability
    likeliest = max(shares, key=lambda each: shares[each])
    view = judged[0]
    is_normal = profile.normal and likeliest in profile.objectives
    normal = (f"normal for {profile.title}: {profile.normal}",) if is_normal else ()
    diagnosis = Diagnosis(
        findings=tuple(findings),
        source=trace.source,
        title=trace.title,
        format=trace.format,
        objective=likeliest if shares[likeliest] > WARNED else UNKNOWN,
        objective_evidence=view.reading.evidence,
        not_judged=tuple(not_judged),
        first_step=start,
        last_step=int(trace.steps[-1]) if len(trace) else 0,
        rows=len(trace),
        notes=(*trace.notes, *view.notes, *normal),
        objectives=tuple(Candidate(each, round(share, 3)) for each, share in shares.items()),
        program=profile.name,
        is_window=trace.is_window,
    )
    if diagnosis.problems and "divergence" not in diagnosis.ids():
        notes = (*(each.text for each in verdict.jumps(view, verdict.SPIKE)), *diagnosis.notes)
        diagnosis = dataclasses.replace(diagnosis, notes=notes)
    bugs = [LoopFinding.of_text(*each) for each in trace.loop_bugs]
    return with_loop_bugs(diagnosis, [bug for bug in bugs if bug is not None])


def _answer(view: View, rule: Rule) -> Answer:
    """What a rule answers, where there is enough to ask it."""
    if rule.judge is None:
        return None
    if view.rows < rule.least_rows:
        return Missing(f"at least {rule.least_rows} lines")
    if view.steps_shown is not None and view.steps_shown < rule.least_steps:
        return Missing(f"at least {rule.least_steps} steps")
    return rule.judge(view)


def _merged(rule: Rule, answers: Sequence[Judged]) -> Finding | None:
    """What a rule finds under the objectives that the log leaves: as severe as it is under nearly
    all of them, or with its condition; None where it is found under few."""
    held = [(view, found) for view, found in answers if isinstance(found, Found)]

    def share(severities: Sequence[str]) -> float:
        return sum(view.reading.probability for view, each in held if each.severity in severities)

    if (total := share(SEVERITIES)) < NOTED:
        return None
    view, found = held[0]
    for place, severity in enumerate(SEVERITIES, start=1):
        if share(SEVERITIES[:place]) >= OUTRIGHT - 1e-9:
            return _finding(view, rule, dataclasses.replace(found, severity=severity))
    is_problem = share(PROBLEMS) > WARNED
    # Numbers that are of a less likely objective stand behind the name of it.
    is_likeliest = isinstance(answers[0][1], Found)
    place = 1 if is_likeliest else 0
    found = dataclasses.replace(
        found,
        severity="warning" if is_problem else "note",
        confidence=found.confidence * total,
        evidence=[*found.evidence[:place], condition(answers), *found.evidence[place:]],
    )
    if not is_likeliest:
        remedies = (REMEDIES["say-objective"], *found.first_remedies)
        found = dataclasses.replace(found, first_remedies=remedies)
    names = tuple(dict.fromkeys(view.objective_name for view, _ in held))
    return dataclasses.replace(_finding(view, rule, found), if_objective=names)


def condition(answers: Sequence[Judged], what: str = "so") -> Evidence:
    """Under which objectives a finding holds and under which it does not, and what settles it."""
    sides: list[dict[str, float]] = [defaultdict(float), defaultdict(float)]
    for view, found in answers:
        sides[isinstance(found, Found)][view.reading.title] += view.reading.probability
    no, yes = (
        named((each for each in side.items() if each[1] >= 0.005), most=NAMED_OF_A_SIDE)
        for side in sides
    )
    text = f"{what} if D's loss is {yes}; "
    text += f"not {what}, or not to be told, if it is {no}; " if no else ""
    told = len({view.objective_name for view, _ in answers}) == 1
    text += "--d-loss-is-mean says that it is" if told else "--objective NAME settles it"
    name = "probability of the objectives under which it is so"
    return Evidence(name, sum(sides[True].values()), text)


def _verdict(judged: Sequence[View], doubts: Sequence[Finding]) -> Finding:
    """`healthy` where it is that under nearly all objectives that are left, and no finding holds
    under some (`doubts`: those that do); else why it cannot be said."""
    doubted = {name for finding in doubts for name in finding.if_objective}
    verdicts = [(view, verdict.verdict(view)) for view in judged]
    answers = [
        (
            view,
            found if found.severity == "healthy" and view.objective_name not in doubted else None,
        )
        for view, found in verdicts
    ]
    healthy = [(view, found) for view, found in answers if found is not None]
    total = sum(view.reading.probability for view, _ in healthy)
    if total >= OUTRIGHT and not doubts:
        view, found = healthy[0]
        found = dataclasses.replace(found, confidence=found.confidence * total)
        return _finding(view, verdict.HEALTHY, found)
    view, found = next((e for e in verdicts if e[1].severity != "healthy"), verdicts[0])
    evidence = [
        Evidence("confidence of a finding that forbids it", each.confidence, each.conditional_title)
        for each in doubts
    ]
    if healthy:
        evidence.append(condition(answers, "healthy"))
        if view is judged[0] and found.severity != "healthy":
            of = f"under {view.reading.title} "
            evidence += [dataclasses.replace(each, text=of + each.text) for each in found.evidence]
    if healthy or doubts:
        found = dataclasses.replace(found, severity="note", evidence=evidence)
    return _finding(view, verdict.NOT_ENOUGH, found)


def _finding(view: View, rule: Rule, found: Found) -> Finding:
    # To change to the objective that it has already is no advice, nor what does not fit it.
    useless = {REMEDIES[name] for name in view.program.unfit}
    if view.objective_name != UNKNOWN and not view.objective.smoothing_slope:
        useless.add(REMEDIES["label-smoothing"])
    own = f"loss.adversarial.form={view.objective_name}"
    return Finding(
        id=rule.id,
        severity=found.severity,
        first_step=int(view.log.steps[found.spell.first]) if len(view.log) else 0,
        last_step=int(view.log.steps[found.spell.last]) if len(view.log) else 0,
        confidence=min(1.0, found.confidence),
        title=found.title or rule.title,
        meaning=found.meaning or rule.meaning,
        evidence=tuple(found.evidence),
        remedies=tuple(
            remedy
            for remedy in dict.fromkeys((*found.first_remedies, *rule.remedies))
            if remedy not in useless and remedy.config != own
        ),
        source=rule.source,
    )
