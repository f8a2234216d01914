"""A run as lines over its steps: stages, findings, what the policy did and why."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from counterpoise.diagnosis.finding import Finding
from counterpoise.pages.curves import Curves
from counterpoise.trace import DISCRIMINATORS, NO_CHANGE

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
        actions = {"": row.get("action")}
        for name, own in each.items() if isinstance(each, Mapping) else ():
            actions[f"{name}: "] = own.get("action") if isinstance(own, Mapping) else None
        known = {lead: action for lead, action in actions.items() if isinstance(action, dict)}
        self.asked += bool(known)
        for lead, action in known.items():
            if changed := sorted(action.keys() - NO_CHANGE):
                sets = ", ".join(f"{name} to {action[name]}" for name in changed)
                text = lead + str(action.get("reason") or f"sets {sets}")
                self.kinds.setdefault(_NUMBER.sub("#", text), Reason()).add(step, text)


class Bar(NamedTuple):
    """A span of steps, in percent of the line."""

    left: float
    width: float
    title: str


class Line(NamedTuple):
    """One line of the timeline."""

    label: str
    kind: str  # its style
    bars: Sequence[Bar]
    text: str  # the same in words
    number: int = 0  # of a finding


def timeline(
    curves: Curves, findings: Iterable[tuple[int, str, Finding]], reasons: Reasons
) -> list[Line]:
    """The lines of a run; empty where no step is recorded. `findings` have their numbers and
    titles beside them."""
    first, last = curves.first_step, curves.last_step
    if first is None or last is None:
        return []
    length = max(1, last - first)

    def bar(span: Span, title: str) -> Bar:
        left, right = (min(100.0, max(0.0, 100 * (step - first) / length)) for step in span)
        left = min(left, 100 - LEAST_WIDTH)
        return Bar(round(left, 3), round(max(LEAST_WIDTH, right - left), 3), title)

    lines = []
    if curves.stages:
        bars = [bar(span, f"{name}: {_words(span)}") for name, span in curves.stages.items()]
        lines.append(Line("stages", "stage", bars, "; ".join(one.title for one in bars)))
    for number, title, finding in findings:
        span = (finding.first_step, finding.last_step)
        text = f"{finding.severity}, {_words(span)}"
        lines.append(Line(title, finding.severity, [bar(span, text)], text, number))
    for reason in reasons.kinds.values():
        spells = _merged(reason.spells, LEAST_WIDTH / 100 * length)
        share = reason.count / max(1, reasons.asked)
        whole = _words((spells[0][0], spells[-1][1]))
        text = f"in {reason.count:,} steps ({share:.1%}), {whole}"
        bars = [bar(spell, _words(spell)) for spell in spells]
        lines.append(Line(reason.text, "action", bars, text))
    return lines


def _words(span: Span) -> str:
    first, last = span
    return f"step {first:,}" if first == last else f"steps {first:,} to {last:,}"


def _merged(spells: Iterable[Span], near: float) -> list[Span]:
    """Spells without those that are too near to each other to be told apart."""
    merged: list[Span] = []
    for first, last in sorted(spells):
        if merged and first - merged[-1][1] <= near:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged
