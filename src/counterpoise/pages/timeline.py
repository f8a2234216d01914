"""A run as lines over its steps: stages, findings, what the policy did and why."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from counterpoise.diagnosis.finding import Finding
from counterpoise.pages.curves import Curves
from counterpoise.trace import NO_CHANGE, rows_by_discriminator

# Spells nearer to each other than this share of all steps are drawn as one.
NEAR = 0.004
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
        actions = {name: own.get("action") for name, own in rows_by_discriminator(row).items()}
        known = {name: action for name, action in actions.items() if isinstance(action, dict)}
        self.asked += bool(known)
        for name, action in known.items():
            if changed := sorted(action.keys() - NO_CHANGE):
                sets = ", ".join(f"{name} to {action[name]}" for name in changed)
                text = (f"{name}: " if name else "") + str(action.get("reason") or f"sets {sets}")
                self.kinds.setdefault(_NUMBER.sub("#", text), Reason()).add(step, text)


class Line(NamedTuple):
    """One line of the timeline."""

    label: str
    kind: str  # its style
    spans: list[tuple[Span, str]]  # each with its words
    text: str  # the same in words
    number: int = 0  # of a finding


def timeline(
    curves: Curves, findings: Iterable[tuple[int, str, Finding]], reasons: Reasons
) -> list[Line]:
    """The lines of a run; empty where no step is recorded. `findings` have their numbers and
    titles beside them."""
    if curves.span is None:
        return []
    lines = []
    if curves.stages:
        stages = [(span, f"{name}: {_words(span)}") for name, span in curves.stages.items()]
        lines.append(Line("stages", "stage", stages, "; ".join(words for _, words in stages)))
    for number, title, finding in findings:
        span = (finding.first_step, finding.last_step)
        text = f"{finding.severity}, {_words(span)}"
        lines.append(Line(title, finding.severity, [(span, text)], text, number))
    near = NEAR * (curves.span[1] - curves.span[0])
    for reason in reasons.kinds.values():
        spells = _merged(reason.spells, near)
        share = reason.count / max(1, reasons.asked)
        whole = _words((spells[0][0], spells[-1][1]))
        text = f"in {reason.count:,} steps ({share:.1%}), {whole}"
        lines.append(Line(reason.text, "action", [(one, _words(one)) for one in spells], text))
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
