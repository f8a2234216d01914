"""What a page shows of one training: a run folder, read whole or as it grows, or a log."""

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from counterpoise.balance.policies import POLICIES, policy_options
from counterpoise.balance.smoothing import check_decay
from counterpoise.config import RunConfig
from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.diagnosis.finding import SEVERITIES, Diagnosis, Finding
from counterpoise.errors import UserError
from counterpoise.outlook import WORDS, outlook, stage_rows
from counterpoise.pages.charts import METRIC
from counterpoise.pages.curves import Curves
from counterpoise.pages.samples import Samples, read_samples
from counterpoise.pages.timeline import Reasons
from counterpoise.pages.wording import game_verdict
from counterpoise.run_folder import BEGAN, BICUBIC, RESUMED, RunFolder
from counterpoise.run_rows import RunReader, Take
from counterpoise.run_status import (
    Event,
    Status,
    patience_seconds,
    progress_words,
    status_of,
)
from counterpoise.trace import Trace, as_float

# Sections that only the configuration of a run of ours has.
OWN_SECTIONS = {"generator", "data", "train"}
NO_D = "it has no step with a discriminator yet"


class Recommended(BaseModel):
    """The generator that `counterpoise best` recommends."""

    step: int
    weights: str
    why: str


class Best(BaseModel):
    """`best.json`, as far as it is shown."""

    version: Literal[1]
    images: str
    image_count: int
    recommended: Recommended


@dataclass(frozen=True)
class Band:
    """Where a controller holds D's smoothed accuracy."""

    low: float
    high: float
    target: float
    decay: float
    text: str


@dataclass
class PageRun:
    """One training, as a page shows it."""

    name: str
    source: str  # the folder or file, as it was given
    # A game of G against each D, by D's name ("" where there is one); None: G is trained alone.
    judged: list[tuple[str, Diagnosis | None]]
    curves: Curves
    status: Status | None = None  # None of a log that is whole
    progress: str = ""
    not_judged: str = ""  # why there is no diagnosis at all
    facts: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what a person must know of the reading
    events: list[Event] = field(default_factory=list)
    reasons: Reasons = field(default_factory=Reasons)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    metric_curves: Curves = field(default_factory=Curves)
    bicubic: dict[str, float] = field(default_factory=dict)
    samples: Samples = field(default_factory=Samples)
    best: Best | None = None
    outlook: tuple[str, str] | None = None  # whether more training pays, and why
    config_tree: dict[str, Any] = field(default_factory=dict)
    config: RunConfig | None = None  # of a run of ours, where this version can read it
    policy: str | None = None
    policy_options: dict[str, Any] = field(default_factory=dict)
    band: Band | None = None

    @property
    def verdicts(self) -> list[tuple[str, str]]:
        """A sentence for each game, or why there is none, and the worst severity in it."""
        if not self.judged:
            return [(f"Not judged: {self.not_judged or 'nothing is known yet'}.", "unknown")]
        return [(game_verdict(name, d), _worst([d])) for name, d in self.judged]

    @property
    def worst(self) -> str:
        """The worst severity of all findings, "unknown" where there are none."""
        return _worst([diagnosis for _, diagnosis in self.judged])

    @property
    def findings(self) -> list[tuple[str, Finding]]:
        """The findings of all games, worst first, each with its title; D's name is before it where
        there are several."""
        found = [
            (f"{name}: {finding.title}" if name else finding.title, finding)
            for name, diagnosis in self.judged
            if diagnosis is not None
            for finding in diagnosis.findings
        ]
        return sorted(found, key=lambda one: SEVERITIES.index(one[1].severity))

    @property
    def begun(self) -> list[str]:
        """What it said when it began, and each time that it was resumed."""
        return [event.message for event in self.events if event.kind in (BEGAN, RESUMED)]


def _worst(diagnoses: Iterable[Diagnosis | None]) -> str:
    found = [f.severity for d in diagnoses if d is not None for f in d.findings]
    return min(found, key=SEVERITIES.index, default="unknown")


class BookedRun:
    """The files of a run folder, with all that a page shows of their rows."""

    def __init__(self, folder: RunFolder) -> None:
        self._curves, self._reasons = Curves(), Reasons()
        self.reader = RunReader(folder, self._begin)
        self._samples: tuple[object, Samples] = (None, Samples())

    def _begin(self, config: Mapping[str, Any]) -> Take:
        """What takes the rows of `signals.jsonl`, which begin (anew)."""
        band = band_of(config)
        curves, reasons = Curves(None if band is None else band.decay), Reasons()
        self._curves, self._reasons = curves, reasons

        def take(step: int, row: Mapping[str, Any]) -> None:
            curves.add_row(step, row)
            reasons.add_row(step, row)

        return take

    def page_run(
        self,
        name: str,
        judged: list[tuple[str, Diagnosis | None]],
        status: Status,
        progress: str,
        sample_bytes: int,
        facts: Iterable[tuple[str, str]] = (),
    ) -> PageRun:
        """The run as a page shows it: as far as it was read, with these diagnoses."""
        reader, tree = self.reader, self.reader.config
        notes = reader.notes()
        if not reader.run.signals.is_file():
            notes.append("signals.jsonl is not there: nothing to draw, nothing to judge")
        config = _config(tree, notes)
        samples = self._read_samples(sample_bytes)
        run = PageRun(
            name=name,
            source=str(reader.run.path),
            judged=judged,
            curves=self._curves,
            status=status,
            progress=progress,
            not_judged="" if judged else NO_D,
            notes=notes + samples.notes,
            events=reader.known_events(),
            reasons=self._reasons,
            metrics=reader.metrics,
            metric_curves=_metric_curves(reader.metrics),
            bicubic=next((numbers(r) for r in reader.metrics if r.get("stage") == BICUBIC), {}),
            samples=samples,
            config_tree=tree,
            config=config,
            policy=reader.policy or "none",
            policy_options=_policy_options(tree),
            band=band_of(tree),
        )
        run.facts = list((dict(_facts(run, reader)) | dict(facts)).items())
        if config is not None:
            found = outlook(stage_rows(reader.metrics), reader.planned_steps)
            run.outlook = WORDS[found.more_training_pays], found.reason
            run.best = _read_best(reader.run, run.notes)
        return run

    def _read_samples(self, most_bytes: int) -> Samples:
        """The sheets of samples, read again where there are others."""
        files = self.reader.run.sample_files()
        try:
            seen = [(path, path.stat().st_mtime_ns) for path in files]
        except OSError:  # One was there a moment ago.
            seen = []
        if self._samples[0] != seen:
            self._samples = seen, read_samples(files, most_bytes)
        return self._samples[1]


def read_run(path: Path, name: str, sample_bytes: int) -> PageRun:
    """Read a run folder, and judge all of it. `UserError` where it is none, or its signals cannot
    be read; whatever else is amiss is a note."""
    folder = RunFolder.open(path)
    booked = BookedRun(folder)
    reader = booked.reader
    try:
        reader.read_whole()
        signals = reader.signals
        traces = signals.whole(reader.objective, reader.policy) if signals.has_d else []
        judged: list[tuple[str, Diagnosis | None]] = [(t.title, diagnose(t)) for t in traces]
        status = status_of(
            str(path),
            reader.known_events(),
            step=signals.step,
            planned_steps=reader.planned_steps,
            quiet_seconds=reader.quiet_seconds(time.time()),
            patience=patience_seconds(reader.step_seconds()),
        )
        progress = progress_words(signals.step, reader.planned_steps)
        return booked.page_run(name, judged, status, progress, sample_bytes)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror or error}); "
            "give a run folder that you may read"
        ) from error


def log_run(source: str, judged: Iterable[tuple[Trace, Diagnosis | None]]) -> PageRun:
    """A log of any program: its traces, each with what was found in it."""
    curves, diagnoses, notes = Curves(), [], dict[str, None]()
    for trace, diagnosis in judged:
        curves.add_trace(trace, trace.title)
        diagnoses.append((trace.title, diagnosis))
        notes |= dict.fromkeys((diagnosis or trace).notes)
    return PageRun(Path(source).name or source, source, diagnoses, curves, notes=list(notes))


def _config(tree: dict[str, Any], notes: list[str]) -> RunConfig | None:
    if not tree.keys() >= OWN_SECTIONS:
        return None
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        places = ", ".join(".".join(map(str, e["loc"])) for e in error.errors()[:8])
        notes.append(f"config.yaml is of another version of counterpoise, or was changed: {places}")
        return None


def _policy_options(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the policy as given, with the defaults of the others."""
    balance = tree.get("balance")
    if not isinstance(balance, dict):
        return {}
    name, given = balance.get("policy"), balance.get("options")
    known = policy_options(POLICIES[name]) if isinstance(name, str) and name in POLICIES else {}
    return known | (given if isinstance(given, dict) else {})


def band_of(tree: Mapping[str, Any]) -> Band | None:
    """The band of D's accuracy, where the policy of a configuration has one."""
    balance, options = tree.get("balance"), _policy_options(tree)
    name = balance.get("policy") if isinstance(balance, dict) else None
    try:
        decay = check_decay(float(options["decay"]))
        target = float(options["target"])
        if name == "auto":
            low, high = float(options["low"]), float(options["high"])
        elif name == "accuracy-band":
            half = float(options["half_width"])
            low, high = target - half, target + half
        else:
            return None
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    if not all(map(math.isfinite, (low, high, target))):
        return None
    text = f"{name} holds D's smoothed accuracy between {low:g} and {high:g}, target {target:g}"
    return Band(low, high, target, decay, text)


def _facts(run: PageRun, reader: RunReader) -> list[tuple[str, str]]:
    """The few things that a reader wants to know first."""
    facts = [("policy", str(run.policy))]
    if run.config is not None:
        facts.insert(0, ("losses", run.config.loss.letters))
        facts.append(("batch", str(run.config.train.batch_size)))
        facts.append(("seed", str(run.config.train.seed)))
    facts.append(("steps on record", f"{reader.signals.rows:,}"))
    if (seconds := run.curves.curves.get(("", "seconds"))) is not None:
        facts.append(("seconds per step", f"{seconds.mean:.3g} (mean)"))
    return facts


def _metric_curves(metrics: list[dict[str, Any]]) -> Curves:
    """The curves of the held-out metrics, bicubic's aside."""
    curves = Curves()
    for row in metrics:
        step = row.get("step")
        if row.get("stage") != BICUBIC and isinstance(step, int):
            curves.add(step, numbers(row), METRIC)
    return curves


def numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of a row of `metrics.jsonl`: what is a number in it, but the step."""
    return {
        name: as_float(value)
        for name, value in row.items()
        if name != "step" and isinstance(value, int | float) and not isinstance(value, bool)
    }


def _read_best(folder: RunFolder, notes: list[str]) -> Best | None:
    """`best.json`; None where there is none, and where it is of no use, which is a note."""
    if not folder.best.exists():
        return None
    make_anew = f"make it anew with `counterpoise best {folder.path}`"
    try:
        best = Best.model_validate_json(folder.best.read_bytes())
    except (OSError, ValidationError) as error:
        notes.append(f"best.json cannot be read ({str(error).splitlines()[0]}): {make_anew}")
        return None
    files = folder.checkpoint_files()
    if files and files[-1].name < folder.checkpoint(best.recommended.step).name:
        # The run was resumed from an earlier one.
        notes.append(f"best.json recommends a step past the newest checkpoint: {make_anew}")
        return None
    return best
