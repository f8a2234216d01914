"""What the page of a report shows of one run, beside its charts and samples."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from counterpoise.diagnosis.finding import SEVERITIES, Finding
from counterpoise.diagnosis.found import number
from counterpoise.outlook import TITLES
from counterpoise.pages.run_report_charts import metric_text, metric_title
from counterpoise.pages.run_report_folder import METRIC, MOST_METRICS, ReportedRun
from counterpoise.pages.run_report_outlook import MOST_CANDIDATES
from counterpoise.pages.run_report_paper import paper_rows
from counterpoise.pages.run_report_timeline import event_step, ticks, timeline
from counterpoise.pages.wording import headline, objective_line, span, todo, verdict
from counterpoise.run_folder import BEGAN, BICUBIC, RESUMED

# Events that are listed: of more, the first and the last.
MOST_EVENTS = 400
# Characters of a text from a file that are shown, and lines of a configuration.
MOST_CHARACTERS, MOST_CONFIG_LINES = 2000, 1000
STAGE_TITLES = {BICUBIC: "bicubic", "pretrain": "E (pretrained)"}


def section_of(run: ReportedRun, place: int, first_number: int) -> dict[str, Any]:
    """What the template shows of a run; its findings are numbered from `first_number`."""
    anchor = f"run-{place}-finding"
    findings: list[tuple[int, Finding]] = list(
        enumerate((f for d in run.diagnoses for f in d.findings), start=first_number)
    )
    severities = [f.severity for _, f in findings]
    events, left_out = _listed(run.events)
    return {
        "run": run,
        "worst": min(severities, key=SEVERITIES.index, default="unknown"),
        "verdict": verdict_of(run),
        "headlines": [headline(d) for d in run.diagnoses],
        "objectives": [objective_line(d) for d in run.diagnoses],
        "findings": [(n, f, span(f), todo(f), f"{anchor}-{n}") for n, f in findings],
        "first_number": first_number,
        "lines": timeline(run, first_number, anchor),
        "ticks": ticks(run.curves.first_step, run.curves.last_step),
        "facts": _facts(run),
        "candidates": _candidate_table(run),
        "events": [_event(event) for event in events],
        "events_left_out": left_out,
        "begun": [text for _, _, kind, text in map(_event, run.events) if kind in (BEGAN, RESUMED)],
        "non_finite": _non_finite(run),
        "config": _config_text(run),
        "policy_options": {key: shortened(str(value)) for key, value in run.policy_options.items()},
    }


def verdict_of(run: ReportedRun) -> str:
    """The diagnosis of a run in a sentence, or why there is none."""
    if not run.diagnoses:
        return f"Not judged: {run.not_diagnosed}."
    if len(run.diagnoses) == 1:
        return verdict(run.diagnoses[0])
    return " ".join(f"{d.title}: {verdict(d)}" for d in run.diagnoses)


def config_differences(runs: Sequence[ReportedRun]) -> list[tuple[str, list[str]]]:
    """The configured values that are not the same in all runs."""
    if len(runs) < 2:
        return []
    flat = [_flat(run.config_tree) for run in runs]
    paths = dict.fromkeys(path for tree in flat for path in tree)
    rows = [(path, [shortened(tree.get(path, "not set")) for tree in flat]) for path in paths]
    return [(path, values) for path, values in rows if len(set(values)) > 1][:MOST_EVENTS]


def metric_table(runs: Sequence[ReportedRun]) -> dict[str, Any] | None:
    """Held-out metrics: of each run plain bicubic, and the last row of each stage beside it."""
    shown: list[tuple[ReportedRun, str, Mapping[str, Any]]] = []
    for run in runs:
        newest = {str(row.get("stage", "")): row for row in run.metrics}
        shown += [(run, stage, row) for stage, row in newest.items()]
    if not shown:
        return None
    names = _metric_names(row for _, _, row in shown)
    rows = []
    for run, stage, row in shown:
        letters = "" if run.config is None else run.config.loss.letters
        title = STAGE_TITLES.get(stage) or (letters if stage == "train" and letters else stage)
        cells = [_metric_cell(name, row.get(name), run.bicubic.get(name), stage) for name in names]
        step = event_step(row)
        rows.append((run.name, title, "" if step is None else f"{step:,}", cells))
    return {"names": [metric_title(name) for name in names], "rows": rows}


def papers(runs: Sequence[ReportedRun]) -> list[dict[str, Any]]:
    """The paper's rows for the variants that the runs are of, and how the runs differ from them."""
    found: dict[str, dict[str, Any]] = {}
    for run in runs:
        paper = None if run.config is None else paper_rows(run.config, _features_note(run))
        if paper is not None:
            table = {"variant": paper.variant, "rows": paper.rows, "differences": []}
            found.setdefault(paper.variant, table)["differences"].append(
                (run.name, paper.differences)
            )
    return list(found.values())


def shortened(text: str) -> str:
    """A text from a file, cut where nobody would read on."""
    if len(text) <= MOST_CHARACTERS:
        return text
    return f"{text[:MOST_CHARACTERS]}... ({len(text) - MOST_CHARACTERS:,} characters more)"


def _non_finite(run: ReportedRun) -> dict[str, str]:
    """How often each signal and each metric was NaN or infinite."""
    counts = run.curves.non_finite_count | run.metric_curves.non_finite_count
    return {
        name.removeprefix(METRIC): "once" if count == 1 else f"{count:,} times"
        for name, count in counts.items()
    }


def _facts(run: ReportedRun) -> list[tuple[str, str]]:
    """The few things that a reader wants to know first."""
    facts = [("policy", run.policy)]
    if run.config is not None:
        facts.insert(0, ("losses", run.config.loss.letters))
        facts.append(("batch", str(run.config.train.batch_size)))
        facts.append(("seed", str(run.config.train.seed)))
    facts.append(("steps on record", f"{run.curves.rows:,}"))
    seconds = run.curves.curves.get("seconds")
    if seconds is not None:
        facts.append(("seconds per step", f"{number(seconds.mean)} (mean)"))
    return facts


def _metric_names(rows: Any) -> list[str]:
    """The metrics of some rows, at most `MOST_METRICS`."""
    found = dict.fromkeys(
        name
        for row in rows
        for name, value in row.items()
        if name != "step" and isinstance(value, int | float)
    )
    return list(found)[:MOST_METRICS]


def _metric_cell(name: str, value: Any, bicubic: float | None, stage: str) -> tuple[str, str]:
    if not isinstance(value, int | float):
        return "not measured", ""
    if bicubic is None or stage == BICUBIC or not math.isfinite(value - bicubic):
        return metric_text(name, value), ""
    return metric_text(name, value), metric_text(name, value - bicubic, signed=True)


def _candidate_table(run: ReportedRun) -> dict[str, Any] | None:
    """The generators that `counterpoise best` ranked, the best first."""
    best = run.future.best
    if best is None:
        return None
    shown = best.candidates[:MOST_CANDIDATES]
    names = _metric_names(candidate.metrics for candidate in shown)
    rows = []
    for candidate in shown:
        values = [candidate.metrics.get(name) for name in names]
        cells = [
            "-" if value is None else metric_text(name, value)
            for name, value in zip(names, values, strict=True)
        ]
        distance = "" if candidate.distance is None else f"{candidate.distance:.3f}"
        rows.append((candidate.name, cells, distance, candidate.on_front))
    return {
        "names": [metric_title(name) for name in names],
        "rows": rows,
        "plane": " and ".join(TITLES.get(n, n) for n in (best.distortion, best.perception)),
        "left_out": len(best.candidates) - len(shown),
    }


def _features_note(run: ReportedRun) -> str:
    """What the run said of its feature network."""
    said = (str(event.get("message", "")) for event in run.events)
    return next((m.removeprefix("features: ") for m in said if m.startswith("features: ")), "")


def _listed(events: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """The events to list, and how many in the middle are left out."""
    if len(events) <= MOST_EVENTS:
        return list(events), 0
    half = MOST_EVENTS // 2
    return [*events[:half], *events[-half:]], len(events) - 2 * half


def _event(event: Mapping[str, Any]) -> tuple[str, str, str, str]:
    step = event_step(event)
    when = str(event.get("time", ""))[:19].replace("T", " ")
    kind = str(event.get("kind", ""))[:40]
    return when, "" if step is None else f"{step:,}", kind, shortened(str(event.get("message", "")))


def _config_text(run: ReportedRun) -> str:
    text = yaml.safe_dump(run.config_tree, sort_keys=False, allow_unicode=True)
    lines = [shortened(line) for line in text.splitlines()]
    if len(lines) > MOST_CONFIG_LINES:
        left_out = len(lines) - MOST_CONFIG_LINES
        lines[MOST_CONFIG_LINES:] = [f"# ... {left_out:,} lines more in {run.folder.config}"]
    return "\n".join(lines)


def _flat(tree: Any, prefix: str = "") -> dict[str, str]:
    if isinstance(tree, dict) and tree:
        found: dict[str, str] = {}
        for key, value in tree.items():
            found |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
        return found
    return {prefix: json.dumps(tree, default=str)}
