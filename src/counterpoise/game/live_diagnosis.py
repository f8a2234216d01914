"""Diagnoses a training while it runs, and words what is new."""

from collections.abc import Iterable, Mapping
from typing import Any

from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.diagnosis.finding import Diagnosis
from counterpoise.diagnosis.news import FindingNews, News
from counterpoise.trace import TraceBuilder, rows_by_discriminator, signals_row_values


class LiveDiagnosis:
    """Judges the rows of a training under way, each discriminator's apart; tells each finding once
    while it stands."""

    def __init__(self, policy: str, source: str = "") -> None:
        self._policy, self._source = policy, source
        # By D's name, as all here.
        self._builders: dict[str, TraceBuilder] = {}
        self._news: dict[str, FindingNews] = {}
        self._objectives: dict[str, str] = {}

    def set_objective(self, name: str, d: str = "") -> None:
        """A D's objective is known."""
        self._objectives[d] = name

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a row of `signals.jsonl`; not one without a step, or of a stage without D."""
        step = row.get("step")
        for d, flat in rows_by_discriminator(row).items():
            if "d_loss_real" in flat and isinstance(step, int):
                self._builder(d).add(step, signals_row_values(flat))

    def _builder(self, d: str) -> TraceBuilder:
        if d not in self._builders:
            self._builders[d] = TraceBuilder(self._source, title=d, policy=self._policy)
        self._builders[d].objective = self._objectives.get(d)
        return self._builders[d]

    def take_up(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take the rows of a training that is resumed; what they show is told already."""
        for row in rows:
            self.add(row)
        self.news()

    def news(self, *, latest: bool = True) -> list[News]:
        """What is new of each problem, by the latest rows or by all; D's name is before it where
        there are several."""
        news = []
        for d, builder in self._builders.items():
            trace = builder.latest() if latest else builder.build()
            for each in self._news.setdefault(d, FindingNews()).of(diagnose(trace).findings):
                news.append(News(f"D '{d}': {each.text}" if d else each.text, each.finding))
        return news

    def diagnoses(self) -> dict[str, Diagnosis]:
        """What can be said about all rows, of each D by its name."""
        names = list(self._builders) or [""]
        return {d: diagnose(self._builder(d).build()) for d in names}
