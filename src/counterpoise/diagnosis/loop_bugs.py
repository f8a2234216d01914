"""The bugs of hand-written loops that can be seen while they run: `loop_bugs.toml`, a row each."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from counterpoise.diagnosis.finding import (
    PROBLEMS,
    SEVERITIES,
    Diagnosis,
    Evidence,
    Finding,
    Remedy,
)
from counterpoise.registry import read_table


@dataclass(frozen=True)
class LoopBug:
    """A kind of bug: what it is, and what to do. Where it is looked for turn by turn, it must show
    in so many `turns` in a row."""

    meaning: str
    change: str
    turns: int = 3
    severity: str = "severe"


LOOP_BUGS = {
    name: LoopBug(**row)
    for name, row in read_table("counterpoise.diagnosis", "loop_bugs.toml").items()
}


# `str` of a finding, as a run's events have it.
_TEXT = re.compile(r"(?:(?P<line>.+?:\d+): )?(?P<id>[a-z-]+): (?P<said>.*)", re.DOTALL)


@dataclass(frozen=True)
class LoopFinding:
    """A bug that was found in the user's loop."""

    id: str
    meaning: str
    change: str
    line: str  # `file:line` of the user's code, "" where it has none
    step: int
    detail: str = ""  # what was seen, where it says more than `meaning`

    @classmethod
    def of_text(cls, step: int, text: str) -> "LoopFinding | None":
        """Undo `str`; None for anything else, and for a bug that is not known any more."""
        said = _TEXT.fullmatch(text)
        if said is None or said["id"] not in LOOP_BUGS:
            return None
        bug = LOOP_BUGS[said["id"]]
        detail = said["said"].removeprefix(bug.meaning).removesuffix(f". {bug.change}.")
        detail = detail[2:-1] if detail.startswith(" (") else ""
        return cls(said["id"], bug.meaning, bug.change, said["line"] or "", step, detail)

    def __str__(self) -> str:
        where = f"{self.line}: " if self.line else ""
        detail = f" ({self.detail})" if self.detail else ""
        return f"{where}{self.id}: {self.meaning}{detail}. {self.change}."

    def as_finding(self, last_step: int) -> Finding:
        """Of a diagnosis of the steps up to this one."""
        title = self.meaning.partition(":")[0] + (f" ({self.line})" if self.line else "")
        remedy = Remedy(self.change)
        evidence = Evidence("the loop check", None, f"the loop check saw it in step {self.step}")
        severity = LOOP_BUGS[self.id].severity
        steps = self.step, max(self.step, last_step)
        return Finding(self.id, severity, *steps, 1.0, title, str(self), (evidence,), (remedy,))


def with_loop_bugs(diagnosis: Diagnosis, bugs: Sequence[LoopFinding]) -> Diagnosis:
    """The diagnosis with what the loop check has found before the findings as severe; with a
    problem among it the training is not healthy."""
    own = [bug.as_finding(diagnosis.last_step) for bug in bugs]
    others = list(diagnosis.findings)
    if any(each.severity in PROBLEMS for each in own):
        others = [each for each in others if each.severity in (*PROBLEMS, "note")]
    findings = sorted([*own, *others], key=lambda each: SEVERITIES.index(each.severity))
    return replace(diagnosis, findings=tuple(findings))
