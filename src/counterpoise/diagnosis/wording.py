"""A diagnosis in sentences: alike in the terminal, on a page and in Python.

Always in this order: the answer, what to do first, the evidence, what was not judged.
"""

import itertools
import textwrap
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import NamedTuple

from counterpoise.diagnosis.finding import PROBLEMS, Diagnosis, Finding, Remedy, lines
from counterpoise.diagnosis.view import LEAST_ROWS
from counterpoise.errors import one_line
from counterpoise.objectives import OBJECTIVES
from counterpoise.trace import step_text

# Findings that the answer names, and of each finding what is shown of its evidence at first.
NAMED, SHOWN_EVIDENCE = 3, 2
WIDTH = 88  # columns of the text that `print` shows
UNBROKEN = "code", "line"  # kinds of paragraphs that are not broken, however long
# Findings that a log of few lines may show, in each of them.
OF_A_LINE = "d-saturated", "d-too-weak"


def headline(diagnosis: Diagnosis) -> str:
    """Which training this is: file, lines, steps, format."""
    name = f"{diagnosis.source} ({diagnosis.title})" if diagnosis.title else diagnosis.source
    steps = _steps(diagnosis.first_step, diagnosis.last_step, diagnosis.notes)
    what = f"{lines(diagnosis.rows)} of numbers, {steps}"
    if not diagnosis.source:  # not read: of a loop that goes on
        return f"{diagnosis.title}: {what}".removeprefix(": ")
    return f"{name}: {what}" + (f", read as {diagnosis.format}" if diagnosis.format else "")


def objective_line(diagnosis: Diagnosis) -> str:
    """The objective and how it is known."""
    name = diagnosis.objective
    title = OBJECTIVES[name].title if name in OBJECTIVES else "unknown, say it with --objective"
    return f"Objective: {title} ({diagnosis.objective_evidence})."


def verdict(diagnosis: Diagnosis | None, name: str = "") -> str:
    """The answer in a sentence or two; after the name of a D where there are several. None: G is
    trained alone."""
    lead = f"{name}: " if name else ""
    if diagnosis is None:
        return f"{lead}G is trained alone: nothing to judge until D joins."
    if diagnosis.rows == 0 and not diagnosis.problems:
        return f"{lead}Nothing to judge yet."
    if diagnosis.healthy:
        return f"{lead}Healthy, as far as this log can show."
    if not diagnosis.problems:
        doubt = next(f for f in diagnosis.findings if f.id == "not-enough-evidence")
        why = "; ".join(item.text for item in doubt.evidence)
        few = [f for f in diagnosis.findings if f.id in OF_A_LINE and diagnosis.rows < LEAST_ROWS]
        so_far = f" So far {'; '.join(map(_within_sentence, few))}, in each line." if few else ""
        return f"{lead}This log cannot say whether the training is healthy: {why}.{so_far}"
    severe = [f for f in diagnosis.problems if f.severity == "severe"]
    chosen = severe or list(diagnosis.problems)
    named = [(_within_sentence(f), when(f, diagnosis)) for f in chosen[:NAMED]]
    spells = {spell for _, spell in named}
    if len(spells) == 1:
        said = f"Not healthy, {spells.pop()}: {'; '.join(title for title, _ in named)}."
    else:
        said = f"Not healthy: {'; '.join(f'{title} ({spell})' for title, spell in named)}."
    more = len(diagnosis.problems) - len(named)
    return f"{lead}{said}" + (f" And {more} more, below." if more else "")


def _within_sentence(finding: Finding) -> str:
    """What is wrong, as part of a sentence and in the words of those who ask."""
    title = finding.conditional_title
    # A small first letter, unless it begins with the name of a network.
    return title if title.startswith(("D ", "G ", "D's ", "G's ")) else title[0].lower() + title[1:]


def when(finding: Finding, diagnosis: Diagnosis) -> str:
    """Since when, in steps as the log counts them."""
    if finding.last_step < diagnosis.last_step:
        return _steps(finding.first_step, finding.last_step, diagnosis.notes)
    if finding.first_step <= diagnosis.first_step:
        whole = f"in the last {diagnosis.rows:,} lines"
        return whole if diagnosis.is_window else "from the first line to the last"
    return f"from step {step_text(finding.first_step, diagnosis.notes)} on"


def _steps(first: int, last: int, notes: Container[str]) -> str:
    return f"steps {step_text(first, notes)} to {step_text(last, notes)}"


def span(finding: Finding, notes: Container[str]) -> str:
    """Since when, by the notes on the reading, and how sure."""
    steps = _steps(finding.first_step, finding.last_step, notes)
    return f"{steps}, confidence {finding.confidence:.0%}"


def remedies(diagnosis: Diagnosis) -> list[Remedy]:
    """What to do about all of it, each thing once: first the first remedy of each finding, worst
    finding first; where nothing is wrong, what is to be done then before what notes are about."""
    calm = sorted(diagnosis.findings, key=lambda finding: finding.severity != "healthy")
    each = [finding.remedies for finding in diagnosis.problems or calm]
    ranked = itertools.chain.from_iterable(itertools.zip_longest(*each))
    return list({remedy.text: remedy for remedy in ranked if remedy is not None}.values())


def remedy_how(remedy: Remedy, is_own_training: bool) -> str:
    """How a remedy is done: `--set ...` in a training of ours, code elsewhere."""
    return f"--set {remedy.config}" if is_own_training and remedy.config else remedy.code


class Said(NamedTuple):
    """A paragraph of what is said, and what it is."""

    text: str
    kind: str = ""  # a severity, "strong", "soft", one of `UNBROKEN`, or plain
    indent: int = 0  # columns


def answer(diagnosis: Diagnosis) -> Iterator[Said]:
    """Of which log, the answer, and by which meaning of the numbers."""
    yield Said(headline(diagnosis), "soft")
    yield Said(verdict(diagnosis), diagnosis.findings[0].severity)
    yield Said(objective_line(diagnosis) if diagnosis.rows else "", "soft")


def evidence(diagnosis: Diagnosis, *, everything: bool = False) -> Iterator[Said]:
    """The findings with their numbers: the first two of each problem, or all, and what each
    means."""
    for finding in diagnosis.findings:
        if finding.id == "not-enough-evidence" and not everything:
            continue  # The answer is that already.
        since = span(finding, diagnosis.notes)
        title = f"{finding.severity}: {finding.title} [{finding.id}] {since}"
        yield Said(title, finding.severity)
        # Which pair of networks it is of, not which run.
        whose = diagnosis.title.partition("run ")[0].rstrip(", ")
        whose = f"{whose}: " if whose else ""
        beside = finding.severity not in PROBLEMS and diagnosis.problems
        shown = finding.evidence[: None if everything else 1 if beside else SHOWN_EVIDENCE]
        yield from (Said(f"- {whose}{item.text}", indent=2) for item in shown)
        if everything:
            yield Said(finding.meaning, indent=2)
            yield Said(f"Source: {finding.source}" if finding.source else "", "soft", 2)


def advice(
    diagnosis: Diagnosis, is_own_training: bool = False, *, everything: bool = False
) -> Iterator[Said]:
    """What to do first, or all that may be done, in a training of ours or in another's loop."""
    found = remedies(diagnosis)
    for place, remedy in enumerate(found if everything else found[:1], start=1):
        lead, kind = ("What to do first:", "strong") if place == 1 else (f"{place}.", "")
        yield Said(f"{lead} {remedy.text}", kind)
        how = remedy_how(remedy, is_own_training).splitlines()
        yield from (Said(line, "code", 3) for line in how)


def rest(diagnosis: Diagnosis, *, more: str = "") -> Iterator[Said]:
    """Notes on the reading, and what was not judged: how much, where `more` says how to see it."""
    yield from (Said(f"Note: {note}", "soft") for note in diagnosis.notes)
    if more:
        count = len(diagnosis.not_judged)
        checks = "1 check" if count == 1 else f"{count} checks"
        silent = f"{checks} could not be made: the log lacks their numbers. " if count else ""
        yield Said(f"{silent}More remedies and evidence, and what is missing: {more}", "soft")
        return
    needs: dict[str, list[str]] = {}
    for item in diagnosis.not_judged:
        needs.setdefault(", or ".join(item.missing), []).append(item.id)
    yield Said("Checks that could not be made, for lack of:" if needs else "", "strong")
    yield from (Said(f"{need}: {', '.join(ids)}", "soft", 2) for need, ids in needs.items())


def rendered(
    parts: Iterable[Iterable[Said]], width: int, styles: Mapping[str, str] | None = None
) -> str:
    """Paragraphs for so many columns, an empty line between parts. `styles` are ANSI codes by
    kind. What comes from a log commands no terminal: what does not print is escaped."""
    blocks = []
    for part in parts:
        lines = []
        for said in part:
            text, indent = one_line(said.text), " " * said.indent
            wrapper = textwrap.TextWrapper(width, indent, indent)
            wrapper.break_long_words = wrapper.break_on_hyphens = False
            broken = [indent + text] if said.kind in UNBROKEN else wrapper.wrap(text)
            style = (styles or {}).get(said.kind)
            lines += [f"\033[{style}m{line}\033[0m" if style else line for line in broken]
        blocks.append("\n".join(lines))
    return "\n\n".join(filter(None, blocks))


def text(diagnosis: Diagnosis) -> str:
    """What `print` shows of a diagnosis."""
    more = "`findings`, `not_judged`"
    parts = answer(diagnosis), advice(diagnosis), evidence(diagnosis), rest(diagnosis, more=more)
    return rendered(parts, WIDTH)
