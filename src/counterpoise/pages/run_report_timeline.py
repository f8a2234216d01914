"""A run as lines over its steps: stages, findings, what the policy did, what happened."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from counterpoise.pages.run_report_folder import ReportedRun
from counterpoise.pages.run_report_reasons import Reason
from counterpoise.pages.run_report_samples import spread
from counterpoise.run_folder import DIVERGED, FAILED, INTERRUPTED, RESUMED

# Kinds of events that are marked on the timeline. The others are in the list of what happened.
MARKED = {
    "non-finite": "NaN or infinity",
    DIVERGED: "diverged",
    "roll-back": "roll-backs",
    "rollback": "roll-backs",
    RESUMED: "resumed",
    INTERRUPTED: "interrupted",
    FAILED: "broke off",
    "loop-bug": "bugs of the loop",
    "torn-line": "torn lines",
}
MOST_MARKS = 100
MOST_TICKS = 6
MOST_NAMES = 3
LEAST_WIDTH = 0.4  # percent, so that one step can be seen


@dataclass(frozen=True)
class Bar:
    """A span of steps, in percent of the line."""

    left: float
    width: float
    title: str


@dataclass
class Line:
    """One line of the timeline."""

    label: str
    kind: str  # its style
    bars: list[Bar] = field(default_factory=list)
    text: str = ""  # the same in words
    anchor: str = ""  # of what it is about
    number: int = 0  # of a finding


def timeline(run: ReportedRun, first_number: int, anchor: str) -> list[Line]:
    """The lines of a run, from the stages to single events; empty where no step is recorded."""
    first, last = run.curves.first_step, run.curves.last_step
    if first is None or last is None:
        return []
    scale = _Scale(first, last)
    lines = [_stages(run, scale)]
    number = first_number
    for diagnosis in run.diagnoses:
        for finding in diagnosis.findings:
            span = (finding.first_step, finding.last_step)
            line = Line(finding.title, finding.severity, anchor=f"{anchor}-{number}", number=number)
            line.bars = [scale.bar(*span, f"{finding.severity}: {finding.title}")]
            line.text = f"{finding.severity}, {_span(*span)}"
            lines.append(line)
            number += 1
    lines += [_reason_line(reason, run, scale) for reason in run.reasons]
    lines += _event_lines(run, scale)
    return lines


def _stages(run: ReportedRun, scale: "_Scale") -> Line:
    line = Line("stages", "stage")
    for name, (first, last) in run.curves.stages.items():
        line.bars.append(scale.bar(first, last, f"{name}: {_span(first, last)}"))
    line.text = "; ".join(bar.title for bar in line.bars)
    return line


def _reason_line(reason: Reason, run: ReportedRun, scale: "_Scale") -> Line:
    line = Line(reason.text, "action")
    line.bars = [scale.bar(*spell, _span(*spell)) for spell in reason.spells]
    share = reason.count / max(1, run.decided_steps)
    steps = "1 step" if reason.count == 1 else f"{reason.count:,} steps"
    line.text = f"{steps} ({share:.1%}), {_span(reason.first_step, reason.last_step)}"
    return line


def _event_lines(run: ReportedRun, scale: "_Scale") -> list[Line]:
    steps: dict[str, list[int]] = {}
    for event in run.events:
        title = MARKED.get(str(event.get("kind")))
        step = event_step(event)
        if title is not None and step is not None:
            steps.setdefault(title, []).append(step)
    for marked in run.curves.non_finite.values():
        steps.setdefault(MARKED["non-finite"], []).extend(marked)
    lines = []
    for title, found in steps.items():
        line = Line(title, "event")
        shown = sorted(set(found))
        line.bars = [
            scale.bar(step, step, f"{title}: step {step:,}") for step in spread(shown, MOST_MARKS)
        ]
        line.text = f"{len(shown)} steps, {_span(shown[0], shown[-1])}"
        if len(shown) == 1:
            line.text = f"step {shown[0]:,}"
        if title == MARKED["non-finite"] and run.curves.non_finite:
            line.text += f", in {_few(list(run.curves.non_finite))}"
        if len(shown) > MOST_MARKS:
            line.text += f"; {MOST_MARKS} of them are marked"
        lines.append(line)
    return lines


def ticks(first: int | None, last: int | None) -> list[tuple[float, str]]:
    """Round steps to write under the lines, each with its place in percent."""
    if first is None or last is None:
        return []
    length = max(1, last - first)
    rough = length / MOST_TICKS
    power = 10 ** math.floor(math.log10(rough)) if rough > 1 else 1
    distance = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    found = range(-(-first // distance) * distance, last + 1, distance)
    return [(round(100 * (step - first) / length, 3), f"{step:,}") for step in found]


def event_step(event: Mapping[str, Any]) -> int | None:
    """The step of an event; None where it has none."""
    step = event.get("step")
    return step if isinstance(step, int) and not isinstance(step, bool) else None


def _few(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _span(first: int, last: int) -> str:
    return f"step {first:,}" if first == last else f"steps {first:,} to {last:,}"


class _Scale:
    """Steps to percent of the line."""

    def __init__(self, first: int, last: int) -> None:
        self._first, self._length = first, max(1, last - first)

    def bar(self, first: int, last: int, title: str) -> Bar:
        left = self._percent(first)
        width = max(LEAST_WIDTH, self._percent(last) - left)
        return Bar(round(min(left, 100 - LEAST_WIDTH), 3), round(width, 3), title)

    def _percent(self, step: int) -> float:
        return min(100.0, max(0.0, 100 * (step - self._first) / self._length))
