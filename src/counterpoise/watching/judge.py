"""Diagnoses what is watched, no oftener than a small share of the time allows."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.diagnosis.finding import Diagnosis
from counterpoise.run_status import STALE_SECONDS
from counterpoise.trace import Trace
from counterpoise.watching.state import Game

# A diagnosis that took a second is not made again for so many.
REST = 20.0

# All of a training, its latest rows, and whether it has a D to be judged.
Traces = tuple[Trace, Trace, bool]


@dataclass(frozen=True)
class WatchOptions:
    """What a person says of what is watched, and when a training counts as stale."""

    # What the losses are, where the files do not say it.
    objective: str | None = None
    # Names of a log's numbers, as `names.checked_mapping` gives them.
    mapping: Mapping[str, str] = field(default_factory=dict)
    # Of a log: see `diagnose`.
    d_loss_is_mean: bool = False
    stale_seconds: float = STALE_SECONDS
    # Whether a page is to be shown, so that all rows are kept for its charts.
    page: bool = False
    # Seconds since the epoch, as the times of files are.
    clock: Callable[[], float] = time.time


class Judge:
    """Keeps the games as they were judged last."""

    def __init__(self, options: WatchOptions, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._d_loss_is_mean = clock, options.d_loss_is_mean
        self._games: tuple[Game, ...] = ()
        self._outdated, self._rests_until = False, 0.0

    def outdate(self) -> None:
        """There are new rows."""
        self._outdated = True

    def forget(self) -> None:
        """What was judged is no more."""
        self._games, self._outdated, self._rests_until = (), True, 0.0

    def games(self, traces: Callable[[], Iterable[Traces]], *, now: bool) -> tuple[Game, ...]:
        """The games, judged anew where there are new rows and it is time (or `now`)."""
        if self._outdated and (now or self._clock() >= self._rests_until):
            began = self._clock()
            self._games = tuple(
                Game(whole, self._judged(latest) if has_d else None)
                for whole, latest, has_d in traces()
            )
            ended = self._clock()
            self._outdated, self._rests_until = False, ended + REST * (ended - began)
        return self._games

    def _judged(self, trace: Trace) -> Diagnosis:
        return diagnose(trace, d_loss_is_mean=self._d_loss_is_mean)
