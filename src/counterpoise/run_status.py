"""Whether a training goes on, and how it ended: one rule for all that show a run."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from counterpoise.run_folder import (
    BEGAN,
    CLOSED,
    DIVERGED,
    ENDED,
    FAILED,
    INTERRUPTED,
    RESUMED,
    UNSAVED,
)

# Kinds of a status beside those of a run's last event.
STARTING, RUNNING, STALE, GONE = "starting", "running", "stale", "gone"
# A log that cannot be read, and one in which nothing is known (yet).
UNREADABLE, UNKNOWN = "unreadable", "unknown"
# Those where nothing more is to come unless somebody does something.
FINAL = (ENDED, INTERRUPTED, DIVERGED, FAILED, CLOSED)
# Events that say what became of the process that writes a run.
_SPEAKING = (*FINAL, BEGAN, RESUMED)

# Without a new step (or line) for so long, and for so many times as long as a step (or the longest
# gap between two lines) took before, a training counts as stale.
STALE_SECONDS = 60.0
STEPS_OF_PATIENCE = 20.0
GAPS_OF_PATIENCE = 3.0


@dataclass(frozen=True)
class Status:
    """Whether the training goes on, in a word and in words."""

    kind: str
    text: str


@dataclass(frozen=True)
class Event:
    """A line of `events.jsonl`."""

    step: int
    kind: str
    message: str
    time: str = ""  # of this machine's zone; "" where it says none

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Event | None":
        """The event of a row; None where it is none."""
        step, kind, message = row.get("step"), row.get("kind"), row.get("message")
        if not isinstance(step, int) or not isinstance(kind, str) or not isinstance(message, str):
            return None
        try:
            at = datetime.fromisoformat(row.get("time", "")).astimezone()
        except (TypeError, ValueError, OverflowError):
            return cls(step, kind, message)
        return cls(step, kind, message, f"{at:%Y-%m-%d %H:%M:%S}")


def status_of(
    source: str,
    events: Iterable[Event] = (),
    *,
    step: int | None,
    planned_steps: int | None = None,
    quiet_seconds: float,
    step_seconds: Sequence[float] = (),
    longest_gap_seconds: float = 0.0,
    has_checkpoint: bool = True,
    own_run: bool = True,
) -> Status:
    """Whether a training goes on.

    By its newest step, by the newest event that says what became of its process, and by how long
    nothing was heard of it, against what its steps took. `planned_steps` is None for a loop without
    a plan; `own_run` is False for another program's log, which does not say how it ended.
    """
    go_on = f"go on: counterpoise resume {source}"
    if not has_checkpoint:
        go_on = "no checkpoint to go on from"
    speaking = [event for event in events if event.kind in _SPEAKING]
    last = speaking[-1] if speaking else None
    # After it nothing was done.
    if last is not None and last.kind in FINAL and (step is None or step <= last.step):
        return Status(last.kind, _final_words(last, go_on))
    if step is not None and planned_steps is not None and step >= planned_steps:
        return Status(ENDED, f"ended: all {planned_steps:,} steps are done")
    usual = statistics.median(step_seconds) if step_seconds else 0.0
    gap = GAPS_OF_PATIENCE * longest_gap_seconds
    if quiet_seconds > max(STALE_SECONDS, STEPS_OF_PATIENCE * usual, gap):
        # A run of ours would have said that it ended.
        what, why = ("step", "it hangs, or was killed") if own_run else ("line", "ended, or hangs")
        words = f"no {what} yet, and nothing new" if step is None else f"no new {what}"
        then = f"; {go_on}" if planned_steps and step else ""
        return Status(STALE, f"{words} for {ago(quiet_seconds)}: {why}{then}")
    if step is None:
        return Status(STARTING, "starting: no step yet")
    return Status(RUNNING, "running")


def _final_words(last: Event, go_on: str) -> str:
    at, message = f"step {last.step:,}", last.message
    # Earlier versions said it the other way.
    unsaved = f", {UNSAVED}" if UNSAVED in message or message.startswith("broke off:") else ""
    return {
        ENDED: f"ended after {at}",
        CLOSED: f"closed after {at}",
        INTERRUPTED: f"interrupted after {at}{unsaved}; {go_on}",
        FAILED: f"broke off at {at}: {message.removeprefix('broke off: ')}; {go_on}",
        DIVERGED: f"diverged: {message}",
    }[last.kind]


def ago(seconds: float) -> str:
    """A span of time as people say it, in its largest unit: `45 s`, `2 min`, `3 h`, `4 days`."""
    seconds = max(0, int(seconds))
    for below, size, unit in ((90, 1, "s"), (90 * 60, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < below:
            return f"{round(seconds / size)} {unit}"
    return f"{round(seconds / 86400)} days"
