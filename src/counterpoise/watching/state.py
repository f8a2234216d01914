"""What a watched training shows, as plain data and in words: made from files, drawn elsewhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counterpoise.diagnosis.finding import PROBLEMS, Diagnosis, Finding
from counterpoise.diagnosis.found import number
from counterpoise.run_folder import BICUBIC
from counterpoise.run_status import RUNNING, Event, Status, progress_words
from counterpoise.trace import Trace, as_float

# Fields of an action by what they do; `{}` is the value.
ACTIONS = {
    "d_steps": "{} steps of D",
    "g_steps": "{} steps of G",
    "d_trains_on_real": "D does not learn from real images",
    "d_trains_on_fake": "D does not learn from fake images",
    "d_learning_rate_scale": "D's learning rate x {}",
    "g_learning_rate_scale": "G's learning rate x {}",
    "adversarial_weight_scale": "adversarial weight x {}",
    "noise_std": "noise {} on D's inputs",
    "augment_probability": "D's inputs augmented with probability {}",
    "lecam_weight": "LeCam's regulariser x {}",
    "r1_weight": "R1 with gamma {}",
    "label_smoothing": "labels smoothed by {}",
    "probe_discriminator": "D is examined",
    "keep_snapshot": "this state is kept",
    "roll_back": "goes back to the kept state",
}
ZERO_STEPS = {"d_steps": "D is not trained", "g_steps": "G is not trained"}
# Of the bicubic row and of the newest one.
METRICS = (("psnr_y", "PSNR (Y)", ".2f"), ("ssim_y", "SSIM (Y)", ".4f"))
# A finding that goes on to here of what was judged still stands: its end is smoothed.
LASTS_SHARE = 0.9


@dataclass(frozen=True)
class Game:
    """One G against one D (a log, and a run of ours, may have several)."""

    whole: Trace  # from the beginning of its stage, thinned: for charts
    diagnosis: Diagnosis | None  # of its latest rows; None where there is no D to be judged

    @property
    def title(self) -> str:
        """Which D, or which training of the file; "" where there is one alone."""
        return self.whole.title

    def shown_findings(self) -> Sequence[Finding]:
        """The findings to show: those that call for a change, and notes."""
        if self.diagnosis is None or self.diagnosis.rows == 0:
            return ()
        return [f for f in self.diagnosis.findings if f.severity in (*PROBLEMS, "note")]

    def since(self, finding: Finding) -> str:
        """Since when a finding stands, or when it did."""
        judged = self.diagnosis
        assert judged is not None, "it has findings"
        first = f"{finding.first_step:,}"
        if int(self.whole.steps[0]) < judged.first_step >= finding.first_step:
            first = f"{first} or before"
        length = max(1, judged.last_step - judged.first_step)
        if (finding.last_step - judged.first_step) / length >= LASTS_SHARE:
            return f"since step {first}"
        return f"steps {first} to {finding.last_step:,}"

    def remedy_how(self, finding: Finding) -> str:
        """How its first remedy is done: `--set ...` in a run of ours, code in another loop."""
        if not finding.remedies:
            return ""
        first = finding.remedies[0]
        own = self.whole.policy is not None and first.config
        return f"--set {first.config}" if own else first.code


@dataclass(frozen=True)
class State:
    """Everything that is shown of a training at one time."""

    source: str  # the folder or file, as it was given
    status: Status
    stage: str = ""
    step: int | None = None
    planned_steps: int | None = None
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
        if self.unread_bytes:
            return f"reading: {self.unread_bytes / 1e6:.0f} MB to go"
        pace = self.steps_per_second if self.status.kind == RUNNING else None
        return progress_words(self.step, self.planned_steps, pace, self.seconds_left)

    @property
    def seconds_left(self) -> float | None:
        """At this pace; None where that cannot be said, or nothing is left to wait for."""
        if self.status.kind != RUNNING or not self.steps_per_second:
            return None
        if self.step is None or self.planned_steps is None:
            return None
        return max(0, self.planned_steps - self.step) / self.steps_per_second

    def facts(self) -> list[tuple[str, str]]:
        """Settings and numbers in words: what each is, and what it says."""
        found = [("stage", self.stage)] if self.stage else []
        if self.policy is not None and self.action:
            found.append(("policy", f"{self.policy}: {self.action}"))
        if self.learning_rates:
            rates = ", ".join(f"{name} {number(rate)}" for name, rate in self.learning_rates)
            found.append(("learning rates", rates))
        if self.held_out:
            found.append(("held out", self.held_out))
        return found


def action_words(policy: str | None, action: Mapping[str, Any] | None) -> str:
    """What a policy asks for in a step, and why; `action` is that of a row of `signals.jsonl`."""
    if policy == "none":
        return "trains both as configured"
    if action is None:
        return "not asked in this stage"
    parts = []
    for field, phrase in ACTIONS.items():
        value = action.get(field)
        if value is None:
            continue
        if value == 0 and field in ZERO_STEPS:
            parts.append(ZERO_STEPS[field])
        elif isinstance(value, int | float):
            parts.append(phrase.format(number(as_float(value))))
    reason = action.get("reason")
    because = f" ({reason})" if isinstance(reason, str) and reason else ""
    return (", ".join(parts) or "changes nothing") + because


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
