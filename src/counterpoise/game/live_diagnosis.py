"""Diagnoses a training while it runs, and words what is new."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.diagnosis.finding import Diagnosis
from counterpoise.diagnosis.news import FindingNews, News
from counterpoise.run_rows import SignalRows
from counterpoise.trace import TraceBuilder, rows_by_discriminator


class LiveDiagnosis:
    """Judges the rows of a training under way, each discriminator's apart; tells each finding once
    while it stands."""

    def __init__(self, policy: str, source: str = "") -> None:
        self._policy, self._source = policy, source
        self._rows = SignalRows(source)
        # By D's name, as all here.
        self._news: dict[str, FindingNews] = {}
        self.objectives: dict[str, str] = {}

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a row of `signals.jsonl`; not one without a step, or of a stage without D."""
        if any("d_loss_real" in flat for flat in rows_by_discriminator(row).values()):
            self._rows.add(row)

    def load_rows(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take the rows of a training that is resumed; what they show is told already."""
        for row in rows:
            self.add(row)
        self.news()

    def news(self, *, latest: bool = True) -> list[News]:
        """What is new of each problem, by the latest rows or by all; D's name is before it where
        there are several."""
        news = []
        for trace in self._rows.traces(self.objectives, self._policy):
            lead = f"D '{trace.title}': " if trace.title else ""
            told = self._news.setdefault(trace.title, FindingNews())
            new = told.of(diagnose(trace.latest() if latest else trace).findings)
            news += [News(lead + each.text, each.finding) for each in new]
        return news

    def diagnosis(self, d: str = "") -> Diagnosis:
        """What can be said about all rows of a D, which may have none yet."""
        nothing = replace(TraceBuilder().build(), source=self._source, title=d)
        traces = self._rows.traces(self.objectives, self._policy)
        return diagnose(next((trace for trace in traces if trace.title == d), nothing))
