"""A watched training as lines, one per change: for pipes and files."""

import math
import time
from collections.abc import Callable

from counterpoise.diagnosis.found import number
from counterpoise.diagnosis.news import FindingNews
from counterpoise.diagnosis.wording import shown_series, verdict
from counterpoise.run_status import FINAL
from counterpoise.watching.state import State

PROGRESS_SECONDS = 30.0  # how far it is, is said no oftener
SHOWN_NUMBERS = 4  # numbers beside the progress
# Events that are findings are said from the diagnosis, those that end a run by its status.
FINDING = "finding"


class Changes:
    """Remembers what was said."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._before = State("")
        self._news: dict[str, FindingNews] = {}
        self._verdicts: dict[str, str] = {}
        self._said_at = -math.inf
        self._said_step: int | None = None

    def lines(self, state: State) -> list[str]:
        """What is new since the last state."""
        before, self._before = self._before, state
        if (before.step or 0) > (state.step or 0):
            # Another training, or this one from an earlier step: what is wrong is told anew.
            self._news.clear()
            self._verdicts.clear()
        lines = []
        if state.status and (before.status is None or before.status.kind != state.status.kind):
            lines.append(f"{state.source}: {state.status.text}")
        if state.stage and before.stage != state.stage:
            lines.append(f"stage {state.stage}")
        for event in state.events:
            if event.kind not in (FINDING, *FINAL) and event not in before.events:
                lines.append(f"step {event.step}: {event.message}")
        lines += [f"note: {note}" for note in state.notes if note not in before.notes]
        if state.games is not before.games:
            lines += self._found(state)
        if state.sample is not None and before.sample != state.sample:
            lines.append(f"samples: {state.sample}")
        return lines + self._how_far(state)

    def _found(self, state: State) -> list[str]:
        lines = []
        for game in state.games:
            diagnosis, title = game.diagnosis, game.title
            if diagnosis is None:
                continue
            news = self._news.setdefault(title, FindingNews()).of(diagnosis.findings)
            words = verdict(diagnosis, title)
            if self._verdicts.get(title) != words and (news or title not in self._verdicts):
                lines.append(words)
                self._verdicts[title] = words
            for item in news:
                lines.append(f"{title}: {item.text}" if title else item.text)
                if item.finding is not None and (remedies := item.finding.remedies):
                    lines.append(f"  what to do first: {remedies[0].text}")
        return lines

    def _how_far(self, state: State) -> list[str]:
        now = self._clock()
        if state.unread_bytes or state.step in (None, self._said_step):
            return []
        if now - self._said_at < PROGRESS_SECONDS:
            return []
        self._said_at, self._said_step = now, state.step
        series = shown_series(state.games[0].whole) if state.games else []
        numbers = [f"{title} {number(float(v[-1]))}" for title, v in series[:SHOWN_NUMBERS]]
        return [", ".join([state.progress, *numbers])]
