"""The sentences about a diagnosis, alike in the terminal and on a page."""

from counterpoise.diagnosis.finding import PROBLEMS, Diagnosis, Finding
from counterpoise.diagnosis.found import lines
from counterpoise.objectives import OBJECTIVES


def headline(diagnosis: Diagnosis) -> str:
    """Which training this is: file, lines, steps, format."""
    name = f"{diagnosis.source} ({diagnosis.title})" if diagnosis.title else diagnosis.source
    what = f"{lines(diagnosis.rows)}, steps {diagnosis.first_step} to {diagnosis.last_step}"
    return f"{name}: {what}" + (f", read as {diagnosis.format}" if diagnosis.format else "")


def objective_line(diagnosis: Diagnosis) -> str:
    """The objective and how it is known."""
    name = diagnosis.objective
    title = OBJECTIVES[name].title if name in OBJECTIVES else "unknown"
    advice = "" if name in OBJECTIVES else " (say it with --objective)"
    return f"Objective: {title}{advice}: {diagnosis.objective_evidence}."


def verdict(diagnosis: Diagnosis) -> str:
    """The diagnosis in one sentence."""
    problems = diagnosis.problems
    if not problems:
        if diagnosis.healthy:
            return "Healthy, as far as this log can show."
        return "This log cannot say whether the training is healthy."
    severe = [f for f in problems if f.severity == "severe"]
    chosen = severe or list(problems)
    count = "one thing" if len(chosen) == 1 else f"{len(chosen)} things"
    kind = "is seriously wrong" if severe else "needs a change"
    if len(chosen) > 1:
        kind = "are seriously wrong" if severe else "need a change"
    names = "; ".join(_within_sentence(finding.title) for finding in chosen)
    return f"Not healthy: {count} {kind}: {names}."


def game_verdict(name: str, diagnosis: Diagnosis | None) -> str:
    """The diagnosis of G against one of several D's in a sentence; None: G is trained alone."""
    if diagnosis is None:
        words = "G is trained alone: nothing to judge until D joins."
    elif diagnosis.rows == 0:
        words = "Nothing to judge yet."
    else:
        words = verdict(diagnosis)
    return f"{name}: {words}" if name else words


def _within_sentence(title: str) -> str:
    """A title with a small first letter, unless it begins with the name of a network."""
    word = title.split()[0]
    return title if word in ("D", "G", "D's", "G's") else title[0].lower() + title[1:]


def span(finding: Finding) -> str:
    """Since when, and how sure."""
    return f"steps {finding.first_step} to {finding.last_step}, confidence {finding.confidence:.0%}"


def todo(finding: Finding) -> str:
    """The heading over what to do about a finding."""
    return "What to change, likeliest first" if finding.severity in PROBLEMS else "What to do"
