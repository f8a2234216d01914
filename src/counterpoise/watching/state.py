"""What a training shows at one time, as plain data and in words: made from files, drawn elsewhere.

Of a run or log that is whole, and of one that goes on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counterpoise.diagnosis.finding import SEVERITIES, Diagnosis, Finding
from counterpoise.diagnosis.found import number
from counterpoise.run_folder import BICUBIC
from counterpoise.run_rows import RunReader
from counterpoise.run_status import RUNNING, Event, Status, ago
from counterpoise.trace import Trace, as_float

# Of the bicubic row and of the newest one.
METRICS = (("psnr_y", "PSNR (Y)", ".2f"), ("ssim_y", "SSIM (Y)", ".4f"))


@dataclass(frozen=True)
class JudgedTraining:
    """One G against one D (a log, and a run of ours, may have several)."""

    whole: Trace  # from the beginning of its stage, thinned: for charts
    diagnosis: Diagnosis | None  # of its latest rows, or of all; None where there is no D

    @property
    def title(self) -> str:
        """Which D, or which training of the file; "" where there is one alone."""
        return self.whole.title


@dataclass(frozen=True)
class State:
    """Everything that is shown of a training at one time."""

    source: str  # the folder or file, as it was given
    status: Status | None = None  # None of a log that is whole
    stage: str = ""
    step: int | None = None
    planned_steps: int | None = None
    steps_per_second: float | None = None
    policy: str | None = None
    action: str = ""  # what the policy changes in the latest step, and why
    learning_rates: tuple[tuple[str, float], ...] = ()
    games: tuple[JudgedTraining, ...] = ()
    held_out: str = ""  # the newest metrics on held-out images
    sample: Path | None = None  # the newest sheet of samples
    events: tuple[Event, ...] = ()  # oldest first
    notes: tuple[str, ...] = ()  # what a person must know of the reading
    unread_bytes: int = 0
    reader: RunReader | None = None  # of a run of ours: all its files

    @property
    def progress(self) -> str:
        """How far it is, how fast it goes and how long it takes, in words."""
        if self.unread_bytes:
            return f"reading: {self.unread_bytes / 1e6:.0f} MB to go"
        step, planned, pace = self.step, self.planned_steps, self.steps_per_second
        if step is None:
            return "no step yet"
        parts = [f"step {step:,}" + ("" if planned is None else f" of {planned:,}")]
        if pace and self.status is not None and self.status.kind == RUNNING:
            parts.append(f"{pace:.3g} steps/s" if pace >= 1 else f"{1 / pace:.3g} s/step")
            if planned is not None:
                parts.append(f"{ago((planned - step) / pace)} left")
        return ", ".join(parts)

    @property
    def findings(self) -> list[tuple[JudgedTraining, Finding]]:
        """The findings of all games, worst first."""
        found = [
            (game, finding)
            for game in self.games
            for finding in (game.diagnosis.findings if game.diagnosis else ())
        ]
        return sorted(found, key=lambda one: SEVERITIES.index(one[1].severity))

    def facts(self) -> list[tuple[str, str]]:
        """Settings and numbers in words: what each is, and what it says."""
        rates = ", ".join(f"{name} {number(rate)}" for name, rate in self.learning_rates)
        policy = f"{self.policy}: {self.action}" if self.policy and self.action else ""
        found = {
            "stage": self.stage,
            "policy": policy,
            "learning rates": rates,
            "held out": self.held_out,
        }
        return [(name, words) for name, words in found.items() if words]


def action_words(policy: str | None, action: Any) -> str:
    """What a policy asks for in a step, and why; `action` is that of a row of `signals.jsonl`."""
    if policy == "none":
        return "trains both as configured"
    if not isinstance(action, dict):
        return "not asked in this stage"
    parts = []
    for name, value in action.items():
        if isinstance(value, bool):
            parts.append(name if value else f"not {name}")
        elif isinstance(value, int | float):
            parts.append(f"{name} {number(as_float(value))}")
    words = ", ".join(parts) or "changes nothing"
    return f"{words} ({action['reason']})" if action.get("reason") else words


def held_out_words(rows: Sequence[Mapping[str, Any]], stage: str) -> str:
    """The newest metrics on held-out images of a stage beside bicubic's; "" where there are none.

    `rows` are those of `metrics.jsonl`.
    """
    by_stage = {str(row.get("stage")): row for row in rows}
    newest, bicubic = by_stage.get(stage, {}), by_stage.get(BICUBIC, {})
    parts = []
    for name, title, form in METRICS:
        value, reference = newest.get(name), bicubic.get(name)
        if isinstance(value, int | float):
            beside = ""
            if isinstance(reference, int | float):
                beside = f" (bicubic {as_float(reference):{form}})"
            parts.append(f"{title} {as_float(value):{form}}{beside}")
    return ", ".join(parts)
