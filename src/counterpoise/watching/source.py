"""Something that is looked at again and again: its pace, and its games as they were judged last."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from time import time

from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.run_rows import RowHandler, RunReader
from counterpoise.run_status import STALE_SECONDS, Status, patience_seconds, status_of
from counterpoise.trace import Trace
from counterpoise.watching.state import JudgedTraining, State

# A diagnosis that took a second is not made again for so many.
REST = 20.0
# The pace is that of the last minute, but of so many arrivals at least.
WINDOW_SECONDS = 60.0
LEAST_ARRIVALS = 5
# What was seen in less time says little.
LEAST_SECONDS = 10.0

# All of a training, the rows that it is judged by, and whether it has a D to be judged.
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
    # Of a run: whether it is judged by all rows of its stage, not by the latest.
    judge_all: bool = False
    stale_seconds: float = STALE_SECONDS
    # Makes what else handles the rows of a run, such as the charts of a page: see `RunReader`.
    begin: Callable[[], RowHandler] | None = None
    # Seconds since the epoch, as the times of files are.
    clock: Callable[[], float] = time


class Arrivals:
    """When which step was seen last; times in seconds of any clock."""

    def __init__(self) -> None:
        self.seen: deque[tuple[float, int]] = deque()

    def add(self, seconds: float, step: int) -> None:
        """Step `step` is there at this time. A step before the last one begins anew."""
        if self.seen and step <= self.seen[-1][1]:
            if step == self.seen[-1][1]:
                return
            self.seen.clear()
        self.seen.append((seconds, step))
        while len(self.seen) > LEAST_ARRIVALS and seconds - self.seen[1][0] > WINDOW_SECONDS:
            self.seen.popleft()

    def steps_per_second(self, step_seconds: Sequence[float] = ()) -> float | None:
        """The pace as it was seen, or by the times that the latest steps took, as they say; None
        where too little is known."""
        if self.seen and self.seen[-1][0] - self.seen[0][0] >= LEAST_SECONDS:
            (first, first_step), (last, last_step) = self.seen[0], self.seen[-1]
            return (last_step - first_step) / (last - first)
        return len(step_seconds) / sum(step_seconds) if step_seconds else None

    def longest_gap_seconds(self) -> float:
        """The longest time without a step; 0 where there was none."""
        return max((later - earlier for (earlier, _), (later, _) in pairwise(self.seen)), default=0)


class Source:
    """Something that is watched."""

    def __init__(self, path: Path, options: WatchOptions) -> None:
        self.path, self.options = path, options
        self._begin()

    def _begin(self) -> None:
        """What is watched begins (anew)."""
        self._arrivals = Arrivals()
        self._games: tuple[JudgedTraining, ...] = ()
        self._outdated, self._rests_until = True, 0.0

    def poll(self) -> None:
        """Read a portion of what is new."""
        raise NotImplementedError

    def state(self, *, judge_now: bool = False) -> State:
        """What is known. Judged anew where that is due, or `judge_now`."""
        raise NotImplementedError

    def _traces(self) -> Iterable[Traces]:
        """What there is to judge."""
        raise NotImplementedError

    def _arrived(self, step: int | None, changed_at: float) -> None:
        if step is not None:
            # The steps that are there already are of the time when the last one was written.
            self._arrivals.add(self.options.clock() if self._arrivals.seen else changed_at, step)

    def _status(
        self,
        step: int | None,
        changed_at: float,
        reader: RunReader | None = None,
        step_seconds: Sequence[float] = (),
    ) -> Status:
        """Whether it goes on; a run of ours has a `reader`."""
        now, gap = self.options.clock(), self._arrivals.longest_gap_seconds()
        return status_of(
            str(self.path),
            reader.events if reader else (),
            step=step,
            planned_steps=reader.planned_steps if reader else None,
            quiet_seconds=now - changed_at if changed_at else 0.0,
            patience=patience_seconds(step_seconds, gap, self.options.stale_seconds),
            own_run=reader is not None,
        )

    def _judge(self, *, now: bool) -> tuple[JudgedTraining, ...]:
        """The games, judged anew where there are new rows and it is time (or `now`)."""
        began = self.options.clock()
        if self._outdated and (now or began >= self._rests_until):
            mean = self.options.d_loss_is_mean
            self._games = tuple(
                JudgedTraining(whole, diagnose(judged, d_loss_is_mean=mean) if has_d else None)
                for whole, judged, has_d in self._traces()
            )
            ended = self.options.clock()
            self._outdated, self._rests_until = False, ended + REST * (ended - began)
        return self._games
