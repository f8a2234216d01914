"""The words of a watched training, alike in the terminal and on the page."""

from collections.abc import Mapping, Sequence
from typing import Any

from counterpoise.diagnosis.finding import PROBLEMS, Diagnosis, Finding
from counterpoise.diagnosis.found import number
from counterpoise.pages.wording import objective_line, verdict
from counterpoise.run_folder import BICUBIC
from counterpoise.trace import as_float

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


def ago(seconds: float) -> str:
    """A span of time as people say it, in its largest unit: `45 s`, `2 min`, `3 h`, `4 days`."""
    seconds = max(0, int(seconds))
    if seconds < 90:
        return f"{seconds} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    if seconds < 48 * 3600:
        return f"{round(seconds / 3600)} h"
    return f"{round(seconds / 86400)} days"


def pace(steps_per_second: float) -> str:
    """`9.2 steps/s`, or seconds per step where a step takes longer than one."""
    if steps_per_second >= 1:
        return f"{steps_per_second:.3g} steps/s"
    return f"{1 / steps_per_second:.3g} s/step"


def progress_words(
    step: int | None,
    total_steps: int | None,
    steps_per_second: float | None,
    seconds_left: float | None,
) -> str:
    """How far a training is, how fast it goes and how long it takes; as far as that is known."""
    if step is None:
        return "no step yet"
    parts = [f"step {step:,}" + ("" if total_steps is None else f" of {total_steps:,}")]
    if steps_per_second:
        parts.append(pace(steps_per_second))
    if seconds_left is not None:
        parts.append(f"{ago(seconds_left)} left")
    return ", ".join(parts)


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


def held_out_words(rows: Mapping[str, Mapping[str, Any]], stage: str) -> str:
    """The newest metrics on held-out images of a stage beside bicubic's; "" where there are none.

    `rows` are the newest rows of `metrics.jsonl` by stage.
    """
    newest, bicubic = rows.get(stage, {}), rows.get(BICUBIC, {})
    parts = []
    for name, title, form in METRICS:
        value, reference = newest.get(name), bicubic.get(name)
        if isinstance(value, int | float):
            beside = ""
            if isinstance(reference, int | float):
                beside = f" (bicubic {as_float(reference):{form}})"
            parts.append(f"{title} {as_float(value):{form}}{beside}")
    return ", ".join(parts)


def since(finding: Finding, diagnosis: Diagnosis, goes_back: bool) -> str:
    """Since when a finding stands, or when it did.

    `goes_back`: the training has rows before those that were judged.
    """
    first = f"{finding.first_step:,}"
    if goes_back and finding.first_step <= diagnosis.first_step:
        first = f"{first} or before"
    share = (finding.last_step - diagnosis.first_step) / max(
        1, diagnosis.last_step - diagnosis.first_step
    )
    if share >= LASTS_SHARE:
        return f"since step {first}"
    return f"steps {first} to {finding.last_step:,}"


# A finding that goes on to here of what was judged still stands: its end is smoothed.
LASTS_SHARE = 0.9


def remedy_how(finding: Finding, policy: str | None) -> str:
    """How its first remedy is done: `--set ...` in a run of ours, code in another loop."""
    if not finding.remedies:
        return ""
    first = finding.remedies[0]
    return f"--set {first.config}" if policy is not None and first.config else first.code


def game_verdict(title: str, diagnosis: Diagnosis | None) -> str:
    """The diagnosis of one game in one sentence."""
    if diagnosis is None:
        words = "G is trained alone: nothing to judge until D joins."
    elif diagnosis.rows == 0:
        words = "Nothing to judge yet."
    else:
        words = verdict(diagnosis)
    return f"{title}: {words}" if title else words


def objective_words(diagnosis: Diagnosis) -> str:
    """What the losses are judged as, and how that is known."""
    return objective_line(diagnosis).removeprefix("Objective: ")


def shown_findings(diagnosis: Diagnosis | None) -> Sequence[Finding]:
    """The findings to show: those that call for a change, and notes."""
    if diagnosis is None or diagnosis.rows == 0:
        return ()
    return [f for f in diagnosis.findings if f.severity in PROBLEMS or f.severity == "note"]
