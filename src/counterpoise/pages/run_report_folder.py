"""Everything that a report says of one run, read from its folder."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from counterpoise.balance.policies import POLICIES, policy_options
from counterpoise.balance.smoothing import check_decay
from counterpoise.config import RunConfig
from counterpoise.config_file import BadYamlError, read_yaml
from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.diagnosis.finding import Diagnosis
from counterpoise.errors import UserError
from counterpoise.json_lines import iterate_json_lines, read_json_lines
from counterpoise.logs.read import read_log
from counterpoise.pages.run_report_curves import MOST_BUCKETS, TERM, CurveBuilder, Curves
from counterpoise.pages.run_report_outlook import Future, read_future
from counterpoise.pages.run_report_reasons import Reason, ReasonBuilder
from counterpoise.pages.run_report_samples import Samples, read_samples
from counterpoise.pages.run_report_state import RunState, run_state
from counterpoise.run_folder import BICUBIC, RunFolder
from counterpoise.trace import as_float

# Sections that only the configuration of a run of ours has.
OWN_SECTIONS = {"generator", "data", "train"}
METRIC = "metric."
MOST_METRICS = 24


@dataclass(frozen=True)
class Band:
    """Where a controller holds D's smoothed accuracy."""

    low: float
    high: float
    target: float
    decay: float
    text: str


@dataclass(frozen=True)
class ReportedRun:
    """One run, as its folder has it."""

    name: str
    folder: RunFolder
    config_tree: dict[str, Any]
    config: RunConfig | None  # of a run of ours, where this version can read it
    policy_options: dict[str, Any]  # as given, with the defaults of the others
    band: Band | None
    diagnoses: list[Diagnosis]
    not_diagnosed: str  # why there is no diagnosis, where there is none
    curves: Curves
    reasons: list[Reason]
    decided_steps: int  # in which the policy was asked
    metrics: list[dict[str, Any]]
    metric_curves: Curves  # of the held-out metrics, with `METRIC` before their names
    bicubic: dict[str, float]
    events: list[dict[str, Any]]
    samples: Samples
    state: RunState
    future: Future
    notes: list[str]  # on what could not be read

    @property
    def policy(self) -> str:
        """The name of the policy, "none" where there is none."""
        balance = self.config_tree.get("balance")
        name = balance.get("policy") if isinstance(balance, dict) else None
        return name if isinstance(name, str) else "none"


def read_run(path: Path, name: str, sample_bytes: int, buckets: int = MOST_BUCKETS) -> ReportedRun:
    """Read a run folder. `UserError` where it is none; whatever else is amiss is a note."""
    folder = RunFolder.open(path)
    notes: list[str] = []
    try:
        return _read(folder, name, sample_bytes, buckets, notes)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror or error}); "
            "give a run folder that you may read"
        ) from error


def _read(
    folder: RunFolder, name: str, sample_bytes: int, buckets: int, notes: list[str]
) -> ReportedRun:
    tree = _config_tree(folder, notes)
    config = _config(tree, notes)
    options = _policy_options(tree)
    band = _band(tree, options)

    # Signals, in one pass for the curves and one for the diagnosis, which has its own reader.
    builder = CurveBuilder(None if band is None else band.decay, buckets)
    reasons = ReasonBuilder()
    if not folder.signals.is_file():
        notes.append("signals.jsonl is not there: nothing to draw, nothing to judge")
    for _, row in iterate_json_lines(folder.signals):
        step = builder.add(row)
        if step is not None and row is not None and isinstance(row.get("action"), dict):
            reasons.add(step, row["action"])
    curves = builder.build()
    notes += _curve_notes(curves)
    diagnoses, not_diagnosed = _diagnoses(folder)

    metrics, torn = read_json_lines(folder.metrics)
    notes += torn
    events, torn = read_json_lines(folder.events)
    notes += torn
    seconds = curves.curves.get("seconds")
    state = run_state(
        folder,
        events,
        curves.last_step,
        None if config is None else config.train.pretrain_steps + config.train.steps,
        None if seconds is None else seconds.last[1],
    )
    samples = read_samples(folder.sample_files(), sample_bytes)
    future = read_future(folder, config, metrics)
    return ReportedRun(
        name=name,
        folder=folder,
        config_tree=tree,
        config=config,
        policy_options=options,
        band=band,
        diagnoses=diagnoses,
        not_diagnosed=not_diagnosed,
        curves=curves,
        reasons=reasons.build(),
        decided_steps=reasons.steps,
        metrics=metrics,
        metric_curves=_metric_curves(metrics, buckets),
        bicubic=next((_numbers(row) for row in metrics if row.get("stage") == BICUBIC), {}),
        events=events,
        samples=samples,
        state=state,
        future=future,
        notes=[*notes, *samples.notes, *future.notes],
    )


def _config_tree(folder: RunFolder, notes: list[str]) -> dict[str, Any]:
    try:
        tree = read_yaml(folder.config)
    except BadYamlError as error:
        notes.append(f"config.yaml is damaged: {' '.join(str(error).split())}")
        return {}
    if not isinstance(tree, dict):
        notes.append("config.yaml is damaged: it is no mapping of sections")
        return {}
    return tree


def _config(tree: dict[str, Any], notes: list[str]) -> RunConfig | None:
    if not tree.keys() >= OWN_SECTIONS:
        return None
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        places = ", ".join(".".join(map(str, e["loc"])) for e in error.errors()[:8])
        notes.append(f"config.yaml is of another version of counterpoise, or was changed: {places}")
        return None


def _policy_options(tree: dict[str, Any]) -> dict[str, Any]:
    balance = tree.get("balance")
    if not isinstance(balance, dict):
        return {}
    name, given = balance.get("policy"), balance.get("options")
    known = policy_options(POLICIES[name]) if isinstance(name, str) and name in POLICIES else {}
    return known | (given if isinstance(given, dict) else {})


def _band(tree: dict[str, Any], options: dict[str, Any]) -> Band | None:
    """The band of D's accuracy, where the policy has one."""
    balance = tree.get("balance")
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


def _diagnoses(folder: RunFolder) -> tuple[list[Diagnosis], str]:
    """What `counterpoise diagnose` says of the folder, or why it says nothing."""
    try:
        return [diagnose(trace) for trace in read_log(folder.path)], ""
    except UserError as error:
        return [], str(error)


def _curve_notes(curves: Curves) -> list[str]:
    notes = []
    if curves.torn_lines:
        word = "line is" if curves.torn_lines == 1 else "lines are"
        notes.append(
            f"signals.jsonl: {curves.torn_lines} {word} torn or not a JSON object: left out"
        )
    if curves.rows_without_step:
        notes.append(f"signals.jsonl: {curves.rows_without_step} lines without a step: left out")
    if curves.restarts:
        notes.append(
            f"signals.jsonl: the steps fall {curves.restarts} times, as where several trainings "
            "wrote into one folder: the charts have them over each other"
        )
    return notes


def _metric_curves(metrics: list[dict[str, Any]], buckets: int) -> Curves:
    """The curves of the held-out metrics, bicubic's aside."""
    builder = CurveBuilder(most_buckets=buckets)
    names: dict[str, None] = {}
    for row in metrics:
        if row.get("stage") != BICUBIC:
            names |= dict.fromkeys(_numbers(row))
            kept = list(names)[:MOST_METRICS]
            terms = {name: value for name, value in _numbers(row).items() if name in kept}
            builder.add({"step": row.get("step"), "g_terms": terms})
    found = builder.build()

    def renamed(values: dict[str, Any]) -> dict[str, Any]:
        return {METRIC + name.removeprefix(TERM): value for name, value in values.items()}

    return dataclasses.replace(
        found,
        curves=renamed(found.curves),
        non_finite=renamed(found.non_finite),
        non_finite_count=renamed(found.non_finite_count),
    )


def _numbers(row: dict[str, Any]) -> dict[str, float]:
    """The metrics of a row, those that are numbers."""
    return {
        name: as_float(value)
        for name, value in row.items()
        if name != "step" and isinstance(value, int | float) and not isinstance(value, bool)
    }
