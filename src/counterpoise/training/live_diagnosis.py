"""Diagnoses a training while it runs, and words what is new."""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.diagnosis.finding import PROBLEMS, SEVERITIES
from counterpoise.trace import TraceBuilder, signals_row_values

# Rows that are judged, the latest: what is past is past, and a diagnosis must cost little.
MOST_ROWS = 2048
# A finding is gone when so many diagnoses in a row did not find it.
GONE_AFTER = 3


class LiveDiagnosis:
    """Judges the latest rows of `signals.jsonl`; tells each finding once while it stands."""

    def __init__(self, objective: str, policy: str) -> None:
        self._objective, self._policy = objective, policy
        self._rows: deque[tuple[int, dict[str, float]]] = deque(maxlen=MOST_ROWS)
        # Findings that were told, with their severity, and for how many diagnoses they were absent.
        self._standing: dict[str, str] = {}
        self._absent: dict[str, int] = {}

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a row of `signals.jsonl`; those of a stage without D are left out."""
        if "d_loss_real" in row:
            self._rows.append((int(row["step"]), signals_row_values(row)))

    def take_up(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take the rows of a training that is resumed; what they show is told already."""
        for row in rows:
            self.add(row)
        self.news()

    def news(self) -> list[str]:
        """A line for each problem that is new or has become worse, and for each that is gone."""
        if not self._rows:
            return []
        builder = TraceBuilder(objective=self._objective, policy=self._policy)
        for step, values in self._rows:
            builder.add(step, values)
        problems = [f for f in diagnose(builder.build()).findings if f.severity in PROBLEMS]
        lines = []
        for finding in problems:
            self._absent.pop(finding.id, None)
            told = self._standing.get(finding.id, SEVERITIES[-1])
            if SEVERITIES.index(finding.severity) < SEVERITIES.index(told):
                self._standing[finding.id] = finding.severity
                lines.append(
                    f"{finding.id} ({finding.severity}) since step {finding.first_step}: "
                    f"{finding.title}"
                )
        for name in self._standing.keys() - {finding.id for finding in problems}:
            self._absent[name] = self._absent.get(name, 0) + 1
            if self._absent[name] == GONE_AFTER:
                del self._standing[name], self._absent[name]
                lines.append(f"{name}: no longer found")
        return lines
