"""How fast a training goes, from when its steps were seen: pure arithmetic on times."""

from collections import deque
from collections.abc import Sequence
from itertools import pairwise

# The pace is that of the last minute, but of so many arrivals at least.
WINDOW_SECONDS = 60.0
LEAST_ARRIVALS = 5
# What was seen in less time says little.
LEAST_SECONDS = 10.0


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

    def steps_per_second(self, step_seconds: Sequence[float] = ()) -> float | None:
        """The pace as it was seen, or by the times that the latest steps took, as they say; None
        where too little is known."""
        if len(self._seen) > 1:
            (first, first_step), (last, last_step) = self._seen[0], self._seen[-1]
            if last - first >= LEAST_SECONDS:
                return (last_step - first_step) / (last - first)
        total = sum(step_seconds)
        return len(step_seconds) / total if total > 0 else None

    def longest_gap_seconds(self) -> float:
        """The longest time without a step; 0 where there was none."""
        times = [seconds for seconds, _ in self._seen]
        return max((b - a for a, b in pairwise(times)), default=0.0)
