"""How fast a training goes, from when its steps were seen: pure arithmetic on times."""

import statistics
from collections import deque
from collections.abc import Sequence
from itertools import pairwise

# The pace is that of the last minute, but of so many arrivals at least.
WINDOW_SECONDS = 60.0
LEAST_ARRIVALS = 5
# What was seen in less time says little.
LEAST_SECONDS = 10.0
# A training is patiently waited for this many times what a step (or a line) took before.
STEPS_OF_PATIENCE = 20.0
LINES_OF_PATIENCE = 3.0


class Arrivals:
    """When which step was seen last; times in seconds of any clock."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, seconds: float, step: int) -> None:
        """Step `step` is there at this time. A step before the last one begins anew."""
        if self._seen and step <= self._seen[-1][1]:
            if step == self._seen[-1][1]:
                return
            self._seen.clear()
        self._seen.append((seconds, step))
        while len(self._seen) > LEAST_ARRIVALS and seconds - self._seen[1][0] > WINDOW_SECONDS:
            self._seen.popleft()

    def steps_per_second(self) -> float | None:
        """None where too little was seen."""
        if len(self._seen) < 2:
            return None
        (first, first_step), (last, last_step) = self._seen[0], self._seen[-1]
        seconds = last - first
        return (last_step - first_step) / seconds if seconds >= LEAST_SECONDS else None

    def longest_gap_seconds(self) -> float:
        """The longest time without a step; 0 where there was none."""
        times = [seconds for seconds, _ in self._seen]
        return max((b - a for a, b in pairwise(times)), default=0.0)


def steps_per_second(arrivals: Arrivals, step_seconds: Sequence[float]) -> float | None:
    """The pace as it was seen, or by the times that the latest steps took, as they say."""
    seen = arrivals.steps_per_second()
    total = sum(step_seconds)
    return seen if seen is not None else len(step_seconds) / total if total > 0 else None


def patience_seconds(arrivals: Arrivals, step_seconds: Sequence[float], least: float) -> float:
    """How long without a step is nothing unusual."""
    step = statistics.median(step_seconds) if step_seconds else 0.0
    gap = LINES_OF_PATIENCE * arrivals.longest_gap_seconds()
    return max(least, STEPS_OF_PATIENCE * step, gap)
