"""What a training shows at one time, under way or whole: plain data, drawn elsewhere."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counterpoise.diagnosis.finding import SEVERITIES, Diagnosis, Finding, number
from counterpoise.run_folder import BICUBIC
from counterpoise.run_rows import RunReader
from counterpoise.run_status import RUNNING, Event, Status, ago
from counterpoise.trace import Trace, as_float, rows_by_discriminator

# Events that are findings are said from the diagnosis, those that end a run by its status.
FINDING = "finding"
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

    @property
    def severity(self) -> str:
        """That of its worst finding; "unknown" where there is no D."""
        return self.diagnosis.findings[0].severity if self.diagnosis else "unknown"


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
    facts: tuple[tuple[str, str], ...] = ()  # settings and numbers in words, each with its name
    games: tuple[JudgedTraining, ...] = ()
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


def facts_of(reader: RunReader) -> Iterator[tuple[str, str]]:
    """What is set and measured in a run, in words, each with its name."""
    signals = reader.signals
    if signals.stage:
        yield "stage", signals.stage
    last = signals.recent[-1] if signals.recent else {}
    each = rows_by_discriminator(last) if last else {}
    if reader.policy and each:
        actions = {d: action_words(reader.policy, row.get("action")) for d, row in each.items()}
        words = "; ".join(f"{d}: {action}" for d, action in actions.items())
        if len(set(actions.values())) == 1:  # One D, or all alike.
            words = next(iter(actions.values()))
        yield "policy", f"{reader.policy}: {words}"
    rates = {"G": last.get("g_learning_rate")}
    rates |= {f"D {d}".rstrip(): row.get("d_learning_rate") for d, row in each.items()}
    known = {name: as_float(r) for name, r in rates.items() if isinstance(r, int | float)}
    if known:
        yield "learning rates", ", ".join(f"{name} {number(r)}" for name, r in known.items())
    if held_out := held_out_words(reader.metrics, signals.stage):
        yield "held out", held_out


def action_words(policy: str, action: Any) -> str:
    """What a policy asks for in a step, and why; `action` is that of a row of `signals.jsonl`."""
    if policy == "none":
        return "trains both as configured"
    if not isinstance(action, dict):
        return "not asked in this step"
    asked = ((name, value) for name, value in action.items() if isinstance(value, int | float))
    words = ", ".join(f"{name} {number(as_float(value))}" for name, value in asked)
    reason = f" ({action['reason']})" if action.get("reason") else ""
    return (words or "changes nothing") + reason


def held_out_words(rows: Iterable[Mapping[str, Any]], stage: str) -> str:
    """A stage's newest row of `metrics.jsonl` beside bicubic's; "" where there is none."""
    by_stage = {str(row.get("stage")): row for row in rows}
    newest, bicubic = by_stage.get(stage, {}), by_stage.get(BICUBIC, {})
    parts = []
    for name, title, form in METRICS:
        value, other = (
            f"{as_float(row[name]):{form}}" if isinstance(row.get(name), int | float) else ""
            for row in (newest, bicubic)
        )
        if value:
            parts.append(f"{title} {value}" + (f" (bicubic {other})" if other else ""))
    return ", ".join(parts)
