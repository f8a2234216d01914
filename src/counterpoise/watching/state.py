"""What a watched training shows, as plain data: made from rows, and drawn elsewhere."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from counterpoise.diagnosis.finding import Diagnosis
from counterpoise.diagnosis.found import number
from counterpoise.run_folder import (
    CLOSED,
    DIVERGED,
    ENDED,
    FAILED,
    INTERRUPTED,
    STOPPED_EARLY,
    UNSAVED,
)
from counterpoise.trace import Trace
from counterpoise.watching.words import ago, objective_words, progress_words

# Kinds of a status beside those of a run's last event.
WAITING, STARTING, RUNNING, STALE, GONE = "waiting", "starting", "running", "stale", "gone"
# A log that cannot be read, and one in which nothing is known (yet).
UNREADABLE, UNKNOWN = "unreadable", "unknown"
# Those where nothing more is to come unless somebody does something.
FINAL = (ENDED, INTERRUPTED, DIVERGED, FAILED, CLOSED)


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
    time: datetime | None = None  # of this machine's zone; None where it says none

    @property
    def clock(self) -> str:
        """When it was, for a person at this machine: the time, or the day where it is long ago."""
        if self.time is None:
            return ""
        recent = datetime.now(UTC) - self.time < timedelta(hours=12)
        return f"{self.time:%H:%M}" if recent else f"{self.time:%Y-%m-%d %H:%M}"


@dataclass(frozen=True)
class Game:
    """One G against one D (a log may have several)."""

    whole: Trace  # from the beginning of its stage, thinned: for charts
    diagnosis: Diagnosis | None  # of its latest rows; None where there is no D to be judged

    @property
    def title(self) -> str:
        """Which training of the file, "" where there is one alone."""
        return self.whole.title

    @property
    def goes_back(self) -> bool:
        """Whether there are rows before those that were judged."""
        judged = self.diagnosis
        return judged is not None and int(self.whole.steps[0]) < judged.first_step


@dataclass(frozen=True)
class State:
    """Everything that is shown of a training at one time."""

    source: str  # the folder or file, as it was given
    status: Status
    stage: str = ""
    step: int | None = None
    total_steps: int | None = None
    steps_per_second: float | None = None
    policy: str | None = None
    action: str = ""  # what the policy changes in the latest step, and why
    learning_rates: tuple[tuple[str, float], ...] = ()
    games: tuple[Game, ...] = ()
    held_out: str = ""  # the newest metrics on held-out images
    sample: Path | None = None  # the newest sheet of samples
    events: tuple[Event, ...] = ()  # oldest first
    notes: tuple[str, ...] = ()  # what a person must know of the reading
    unread_bytes: int = 0

    @property
    def progress(self) -> str:
        """How far it is, how fast it goes and how long it takes, in words."""
        pace = self.steps_per_second if self.status.kind == RUNNING else None
        return progress_words(self.step, self.total_steps, pace, self.seconds_left)

    @property
    def seconds_left(self) -> float | None:
        """At this pace; None where that cannot be said, or nothing is left to wait for."""
        if self.status.kind != RUNNING or not self.steps_per_second:
            return None
        if self.step is None or self.total_steps is None:
            return None
        return max(0, self.total_steps - self.step) / self.steps_per_second


def facts(state: State) -> list[tuple[str, str]]:
    """Settings and numbers in words: what each is, and what it says."""
    found = []
    if state.stage:
        found.append(("stage", state.stage))
    if state.policy is not None and state.action:
        found.append(("policy", f"{state.policy}: {state.action}"))
    if state.learning_rates:
        rates = ", ".join(f"{name} {number(rate)}" for name, rate in state.learning_rates)
        found.append(("learning rates", rates))
    if state.held_out:
        found.append(("held out", state.held_out))
    judged = [game.diagnosis for game in state.games if game.diagnosis and game.diagnosis.rows]
    # Games of one log mostly have the same.
    found += [("objective", words) for words in dict.fromkeys(map(objective_words, judged))]
    return found + [("note", note) for note in state.notes]


def status_of(
    source: str,
    *,
    step: int | None,
    total_steps: int | None,
    last: Event | None,
    quiet_seconds: float,
    patience_seconds: float,
    own_run: bool = True,
) -> Status:
    """Whether a training goes on, from its newest step, from the newest event that says what became
    of its process (`last`), and from how long nothing was heard of it."""
    at_end = last is not None and (step is None or step <= last.step)
    if last is not None and last.kind == STOPPED_EARLY and at_end:
        go_on = f"go on all the same: counterpoise resume {source} --stop never"
        return Status(ENDED, f"{last.message}; {go_on}")
    if last is not None and last.kind in FINAL and at_end:
        return Status(last.kind, _final_words(last, source))
    if step is not None and total_steps is not None and step >= total_steps:
        return Status(ENDED, f"ended: all {total_steps:,} steps are done")
    if quiet_seconds > patience_seconds:
        # A run of ours would have said that it ended.
        what, why = ("step", "it hangs, or was killed") if own_run else ("line", "ended, or hangs")
        words = f"no {what} yet, and nothing new" if step is None else f"no new {what}"
        return Status(STALE, f"{words} for {ago(quiet_seconds)}: {why}")
    if step is None:
        return Status(STARTING, "starting: no step yet")
    return Status(RUNNING, "running")


def _final_words(last: Event, source: str) -> str:
    if last.kind == INTERRUPTED:
        lost = f", {UNSAVED}" if UNSAVED in last.message else ""
        return f"interrupted after step {last.step:,}{lost}; go on: counterpoise resume {source}"
    if last.kind == CLOSED:
        return f"closed after step {last.step:,}: its loop ended, or broke off"
    if last.kind == ENDED:
        return f"ended after step {last.step:,}"
    return last.message if last.kind == FAILED else f"diverged: {last.message}"
