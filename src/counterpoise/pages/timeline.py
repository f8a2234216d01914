"""A run as lines over its steps: stages, findings, what the policy did and why."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from counterpoise.diagnosis.finding import Finding
from counterpoise.pages.curves import Curves
from counterpoise.trace import DISCRIMINATORS, NO_CHANGE

TICKS = 6
# Percent of the line: that one step can be seen, and spells this near to each other are one.
LEAST_WIDTH = 0.4
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")

Span = tuple[int, int]  # first and last step


@dataclass
class Reason:
    """A reason that a policy gave, its numbers aside, and the steps in which it acted for it."""

    text: str = ""  # as it was given last
    count: int = 0
    spells: list[Span] = field(default_factory=list)

    def add(self, step: int, text: str) -> None:
        self.text = text
        self.count += 1
        if self.spells and 0 <= step - self.spells[-1][1] <= 1:
            self.spells[-1] = (self.spells[-1][0], step)
        else:
            self.spells.append((step, step))


class Reasons:
    """What the policy of a run did, by reason, in the order in which they were first given."""

    def __init__(self) -> None:
        self.kinds: dict[str, Reason] = {}
        self.asked = 0  # steps in which a policy was asked

    def add_row(self, step: int, row: Mapping[str, Any]) -> None:
        """Take a row of `signals.jsonl`."""
        each = row.get(DISCRIMINATORS)
        actions = [("", row.get("action"))]
        if isinstance(each, Mapping):
            named = ((d, own) for d, own in each.items() if isinstance(own, Mapping))
            actions += [(f"{name}: ", own.get("action")) for name, own in named]
        known = [(lead, action) for lead, action in actions if isinstance(action, dict)]
        self.asked += bool(known)
        for lead, action in known:
            if not (changed := sorted(action.keys() - NO_CHANGE)):
                continue
            text = str(action.get("reason") or "")
            if not text:
                sets = (f"{name.replace('_', ' ')} to {action[name]}" for name in changed)
                text = f"sets {', '.join(sets)}"
            self.kinds.setdefault(lead + _NUMBER.sub("#", text), Reason()).add(step, lead + text)


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
    number: int = 0  # of a finding


def timeline(
    curves: Curves,
    findings: Iterable[tuple[str, Finding]],
    reasons: Reasons,
    first_number: int = 1,
) -> list[Line]:
    """The lines of a run; empty where no step is recorded.

    `findings` have their titles beside them, and are numbered from `first_number`.
    """
    first, last = curves.first_step, curves.last_step
    if first is None or last is None:
        return []
    scale = _Scale(first, last)
    lines = []
    if curves.stages:
        bars = [scale.bar(span, f"{name}: {_words(span)}") for name, span in curves.stages.items()]
        lines.append(Line("stages", "stage", bars, "; ".join(bar.title for bar in bars)))
    for number, (title, finding) in enumerate(findings, start=first_number):
        span = (finding.first_step, finding.last_step)
        bar = scale.bar(span, f"{finding.severity}: {finding.title}")
        text = f"{finding.severity}, {_words(span)}"
        lines.append(Line(title, finding.severity, [bar], text, number))
    for reason in reasons.kinds.values():
        spells = scale.merged(reason.spells)
        steps = "1 step" if reason.count == 1 else f"{reason.count:,} steps"
        whole = _words((spells[0][0], spells[-1][1]))
        text = f"{steps} ({reason.count / max(1, reasons.asked):.1%}), {whole}"
        bars = [scale.bar(spell, _words(spell)) for spell in spells]
        lines.append(Line(reason.text, "action", bars, text))
    return lines


def ticks(curves: Curves) -> list[tuple[float, str]]:
    """Round steps to write under the lines, each with its place in percent."""
    first, last = curves.first_step, curves.last_step
    if first is None or last is None:
        return []
    length = max(1, last - first)
    rough = length / TICKS
    power = 10 ** math.floor(math.log10(rough)) if rough > 1 else 1
    distance = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    found = range(-(-first // distance) * distance, last + 1, distance)
    return [(round(100 * (step - first) / length, 3), f"{step:,}") for step in found]


def _words(span: Span) -> str:
    first, last = span
    return f"step {first:,}" if first == last else f"steps {first:,} to {last:,}"


class _Scale:
    """Steps to percent of the line."""

    def __init__(self, first: int, last: int) -> None:
        self._first, self._length = first, max(1, last - first)

    def bar(self, span: Span, title: str) -> Bar:
        left = self._percent(span[0])
        width = max(LEAST_WIDTH, self._percent(span[1]) - left)
        return Bar(round(min(left, 100 - LEAST_WIDTH), 3), round(width, 3), title)

    def merged(self, spells: Iterable[Span]) -> list[Span]:
        """Spells without those that are too near to each other to be told apart."""
        near = LEAST_WIDTH / 100 * self._length
        merged: list[Span] = []
        for first, last in sorted(spells):
            if merged and first - merged[-1][1] <= near:
                merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
            else:
                merged.append((first, last))
        return merged

    def _percent(self, step: int) -> float:
        return min(100.0, max(0.0, 100 * (step - self._first) / self._length))
