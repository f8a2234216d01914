"""What the policy of a run did and why, over its steps."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from counterpoise.trace import NO_CHANGE, rows_by_discriminator

_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")

Span = tuple[int, int]  # first and last step


@dataclass
class Reason:
    """A reason that a policy gave, its numbers aside, and the steps in which it acted for it."""

    text: str = ""  # as it was given last
    count: int = 0
    spells: list[Span] = field(default_factory=list)

    def add(self, step: int, text: str) -> None:
        """It is the reason in this step, in these words."""
        self.text = text
        self.count += 1
        if self.spells and 0 <= step - self.spells[-1][1] <= 1:
            self.spells[-1] = (self.spells[-1][0], step)
        else:
            self.spells.append((step, step))

    def merged(self, near: float) -> list[Span]:
        """Its spells, as one where so few steps are between them that none could be seen."""
        merged: list[Span] = []
        for first, last in sorted(self.spells):
            if merged and first - merged[-1][1] <= near:
                merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
            else:
                merged.append((first, last))
        return merged


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
