"""Diagnoses a training while it runs, and words what is new."""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.diagnosis.news import FindingNews
from counterpoise.trace import LATEST_ROWS, TraceBuilder, signals_row_values


class LiveDiagnosis:
    """Judges the latest rows of `signals.jsonl`; tells each finding once while it stands."""

    def __init__(self, objective: str, policy: str) -> None:
        self._objective, self._policy = objective, policy
        self._rows: deque[tuple[int, dict[str, float]]] = deque(maxlen=LATEST_ROWS)
        self._news = FindingNews()

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a row of `signals.jsonl`; not one without a step, or of a stage without D."""
        step = row.get("step")
        if "d_loss_real" in row and isinstance(step, int):
            self._rows.append((step, signals_row_values(row)))

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
        return [news.text for news in self._news.of(diagnose(builder.build()).findings)]
