"""What became of a run: finished, going on, stopped, broken off; from what its folder holds."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from counterpoise.run_folder import (
    BEGAN,
    CLOSED,
    DIVERGED,
    ENDED,
    FAILED,
    INTERRUPTED,
    RESUMED,
    STOPPED_EARLY,
    UNSAVED,
    RunFolder,
)

# A run that wrote a row this recently, or within so many of its steps, is taken to be going on.
LIVELY_SECONDS = 120
LIVELY_STEPS = 50
GOING_ON, FINISHED, STOPPED, BROKEN = "going on", "finished", "stopped", "broken"
LOST, UNKNOWN = "lost", "unknown"


_SPEAKING = {BEGAN, RESUMED, STOPPED_EARLY, ENDED, INTERRUPTED, DIVERGED, FAILED, CLOSED}


@dataclass(frozen=True)
class RunState:
    """How a run stands, and the sentence that says so."""

    kind: str
    text: str


def run_state(
    run: RunFolder,
    events: Sequence[Mapping[str, Any]],
    last_step: int | None,
    planned_steps: int | None,
    seconds_per_step: float | None,
) -> RunState:
    """Judge by the last event that speaks of it, and by when the last row was written.

    `planned_steps` of a run of ours; None for somebody's own loop, which has no plan.
    """
    if last_step is None:
        return RunState(UNKNOWN, "No step is recorded yet.")
    of = "" if planned_steps is None else f" of {planned_steps:,}"
    at = f"step {last_step:,}{of}"
    go_on = f"Go on with: counterpoise resume {run.path}"
    speaking = [e for e in events if isinstance(e.get("kind"), str) and e["kind"] in _SPEAKING]
    # A training that stops early ends after it, without a reason.
    if [event["kind"] for event in speaking[-2:]] == [STOPPED_EARLY, ENDED]:
        del speaking[-1]
    kind = speaking[-1]["kind"] if speaking else None
    message = str(speaking[-1].get("message", "")) if speaking else ""
    if kind == DIVERGED:
        return RunState(LOST, f"Diverged: {message}.")
    if kind == FAILED:
        return RunState(
            BROKEN, f"Broke off at {at}: {message.removeprefix('broke off: ')}. {go_on}"
        )
    if kind == INTERRUPTED:
        lost = UNSAVED in message or message.startswith("broke off:")
        saved = UNSAVED if lost else "and saved"
        return RunState(STOPPED, f"Interrupted after {at}, {saved}. {go_on}")
    if kind == CLOSED:
        return RunState(FINISHED, f"Closed after {at}: the loop ended, or let go of it.")
    if planned_steps is not None and last_step >= planned_steps:
        return RunState(FINISHED, f"Finished: {at}.")
    if kind == STOPPED_EARLY:
        go_on = f"Go on all the same with: counterpoise resume {run.path} --stop never"
        return RunState(FINISHED, f"{message[:1].upper()}{message[1:]}. {go_on}")
    if kind == ENDED:
        return RunState(FINISHED, f"Ended after {at}.")
    age = time.time() - run.signals.stat().st_mtime
    if age < max(LIVELY_SECONDS, LIVELY_STEPS * (seconds_per_step or 0)):
        return RunState(GOING_ON, f"Still going on when this page was written: {at}.")
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.signals.stat().st_mtime))
    if planned_steps is None:
        return RunState(UNKNOWN, f"The last row, {at}, is of {when}; how it ended is not recorded.")
    return RunState(
        BROKEN, f"Broken off at {at}: nothing was written since {when}, and no end. {go_on}"
    )
