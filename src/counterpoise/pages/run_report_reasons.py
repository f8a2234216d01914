"""What a policy did over a run, by reason, and the spells of steps in which it did so."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from counterpoise.trace import NO_CHANGE

_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
# Kinds of reasons that are told apart, and spells that each is drawn with.
MOST_REASONS = 24
MOST_SPELLS = 150
OTHER = "other reasons"
NO_REASON = "sets"  # where a policy gives no reason


@dataclass
class Reason:
    """One reason, its numbers aside."""

    text: str  # as it was given last
    count: int = 0  # steps
    first_step: int = 0
    last_step: int = 0
    # First and last steps, in order; spells with little between them are one.
    spells: list[tuple[int, int]] = field(default_factory=list)
    _tolerance: int = 1

    def add(self, step: int, text: str) -> None:
        if not self.count:
            self.first_step = step
        self.text, self.last_step = text, step
        self.count += 1
        if self.spells and 0 <= step - self.spells[-1][1] <= self._tolerance:
            self.spells[-1] = (self.spells[-1][0], step)
            return
        self.spells.append((step, step))
        while len(self.spells) > MOST_SPELLS:
            self._tolerance *= 2
            self._merge()

    def _merge(self) -> None:
        merged = self.spells[:1]
        for first, last in self.spells[1:]:
            if 0 <= first - merged[-1][1] <= self._tolerance:
                merged[-1] = (merged[-1][0], last)
            else:
                merged.append((first, last))
        # Steps that fall can leave spells that no tolerance merges.
        self.spells = merged if self._tolerance < 1 << 60 else merged[-MOST_SPELLS:]


class ReasonBuilder:
    """Collects the actions of a policy, row by row."""

    def __init__(self) -> None:
        self._reasons: dict[str, Reason] = {}
        self.steps = 0  # in which the policy was asked

    def add(self, step: int, action: Mapping[str, Any]) -> None:
        """Take the action of a step; one that changes nothing only counts as asked."""
        self.steps += 1
        changed = sorted(action.keys() - NO_CHANGE)
        if not changed:
            return
        text = str(action.get("reason") or "")
        if not text:
            settings = (f"{name.replace('_', ' ')} to {action[name]}" for name in changed)
            text = f"{NO_REASON} {', '.join(settings)}"
        kind = _NUMBER.sub("#", text)
        if kind not in self._reasons and len(self._reasons) >= MOST_REASONS:
            kind = OTHER
        self._reasons.setdefault(kind, Reason("")).add(step, text)

    def build(self) -> list[Reason]:
        """The reasons, in the order in which they were first given."""
        return list(self._reasons.values())
