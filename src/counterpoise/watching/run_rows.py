"""What the rows of a run's files say, taken one by one: no files here, and no drawing."""

import math
from collections import deque
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from counterpoise.logs.folders import RUN_FOLDER
from counterpoise.run_folder import BEGAN, ENDED, RESUMED, STOPPED_EARLY
from counterpoise.trace import Trace, TraceBuilder, signals_row_values
from counterpoise.watching.state import FINAL, Event

MOST_EVENTS = 20
# Steps whose own times give the pace where it was not seen.
PACE_STEPS = 100
NETWORKS = ("g", "d")


class RunRows:
    """Collects `signals.jsonl`, `events.jsonl` and `metrics.jsonl`, whatever stands in them.

    A step that is not past the last one takes its place and that of all after it: the training
    went on from an earlier checkpoint.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self.forget_events()
        self.metrics: dict[str, Mapping[str, Any]] = {}
        self.forget_signals()

    def forget_signals(self) -> None:
        """The file begins anew."""
        self.step: int | None = None
        self.stage = ""
        self.action: Mapping[str, Any] | None = None
        self.learning_rates: tuple[tuple[str, float], ...] = ()
        self.has_d = False
        self.step_seconds: deque[float] = deque(maxlen=PACE_STEPS)
        self._builder = TraceBuilder(source=self._source, format=RUN_FOLDER)

    def forget_events(self) -> None:
        """The file begins anew."""
        self.events: deque[Event] = deque(maxlen=MOST_EVENTS)
        # The newest that says what became of the process.
        self.last: Event | None = None

    def signal(self, row: Mapping[str, Any]) -> bool:
        """Take a row of `signals.jsonl`; False (or an error of its values) where it is none."""
        step = row.get("step")
        if not isinstance(step, int) or isinstance(step, bool) or abs(step) >= 1 << 60:
            return False
        stage, has_d = str(row.get("stage", "")), "d_loss" in row
        # First what may raise, so that such a row leaves no trace.
        values = signals_row_values(row)
        rates = [(n.upper(), row.get(f"{n}_learning_rate")) for n in NETWORKS]
        learning_rates = tuple((n, float(r)) for n, r in rates if isinstance(r, int | float))
        if (stage, has_d) != (self.stage, self.has_d):
            # Numbers of another stage are of another loss.
            self._builder = TraceBuilder(source=self._source, format=RUN_FOLDER)
            self.step_seconds.clear()
        elif self.step is not None and step <= self.step:
            self._builder.go_back(step - 1)
        self.step, self.stage, self.has_d = step, stage, has_d
        self.learning_rates = learning_rates
        self._builder.add(step, values)
        action = row.get("action")
        self.action = action if isinstance(action, Mapping) else None
        seconds = row.get("seconds")
        if isinstance(seconds, int | float) and math.isfinite(seconds) and seconds > 0:
            self.step_seconds.append(float(seconds))
        return True

    def event(self, row: Mapping[str, Any]) -> bool:
        """Take a row of `events.jsonl`; False where it is none."""
        step, kind, message = row.get("step"), row.get("kind"), row.get("message")
        if not isinstance(step, int) or not isinstance(kind, str) or not isinstance(message, str):
            return False
        event = Event(step, kind, message, _time(row.get("time")))
        self.events.append(event)
        # A training that stops early ends after it, without a reason.
        early = self.last is not None and self.last.kind == STOPPED_EARLY and kind == ENDED
        if kind in (*FINAL, STOPPED_EARLY, BEGAN, RESUMED) and not early:
            self.last = event
        return True

    def metric(self, row: Mapping[str, Any]) -> bool:
        """Take a row of `metrics.jsonl`; False where it is none."""
        if not isinstance(row.get("stage"), str):
            return False
        self.metrics[str(row["stage"])] = row
        return True

    def traces(self, objective: str | None, policy: str | None) -> tuple[Trace, Trace] | None:
        """All of the stage under way, and its latest rows; None before a row."""
        if not self._builder.rows_read:
            return None
        self._builder.objective, self._builder.policy = objective, policy
        return self._builder.build(), self._builder.latest()


def _time(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone()
    except (TypeError, ValueError, OverflowError):
        return None
