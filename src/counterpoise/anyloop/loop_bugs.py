"""The bugs of hand-written loops that can be seen while they run: `loop_bugs.toml`, a row each."""

from dataclasses import dataclass

from counterpoise.diagnosis.finding import Evidence, Finding, Remedy
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
    for name, row in read_table("counterpoise.anyloop", "loop_bugs.toml").items()
}


@dataclass(frozen=True)
class LoopFinding:
    """A bug that was found in the user's loop."""

    id: str
    meaning: str
    change: str
    line: str  # `file:line` of the user's code, "" where it has none
    step: int
    detail: str = ""  # what was seen, where it says more than `meaning`

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
