"""The report of one run, or of several overlaid, as one self-contained HTML page."""

import base64
import datetime
import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup

from counterpoise.diagnosis.finding import SEVERITIES, Finding
from counterpoise.diagnosis.found import number
from counterpoise.errors import UserError
from counterpoise.pages.run_report_charts import (
    METRIC_TITLES,
    charts_of,
    curve_data,
    finding_bands,
)
from counterpoise.pages.run_report_curves import MOST_BUCKETS
from counterpoise.pages.run_report_folder import BICUBIC, ReportedRun, read_run
from counterpoise.pages.run_report_paper import PROVENANCE, SETS, SOURCE, paper_rows
from counterpoise.pages.run_report_timeline import event_step, timeline
from counterpoise.pages.templates import template, text_of
from counterpoise.pages.wording import headline, objective_line, span, todo, verdict

# What every page of this kind carries, so that one can be told from somebody's own file.
MARK = '<meta name="generator" content="counterpoise report">'
MOST_RUNS = 12
# A page has at most 10 MB; the chart library takes half of it, the curves about a sixth.
MOST_BYTES = 10_000_000
SAMPLE_BYTES = 3_000_000
# Points of curves over all runs are held to so many buckets for each curve.
LEAST_BUCKETS = 150
# Events and lines of configuration that are listed; of more, the first and the last.
MOST_EVENTS = 400
STAGE_TITLES = {BICUBIC: "bicubic", "pretrain": "E (pretrained)"}


@dataclass(frozen=True)
class Report:
    """A page, and the sentence that it begins with."""

    html: str
    verdicts: list[tuple[str, str]]  # name and verdict of each run


def run_report(paths: Sequence[Path]) -> Report:
    """The page of the runs in these folders.

    Nothing in it is loaded from elsewhere, everything that comes from a file is escaped, and a
    browser is told to run no script but the page's own. Raises `UserError` for a folder that is no
    run, for the same folder twice, and for more than `MOST_RUNS`.
    """
    _check(paths)
    buckets = max(LEAST_BUCKETS, MOST_BUCKETS // len(paths))
    names = _names(paths)
    runs = [
        read_run(path, name, SAMPLE_BYTES // len(paths), buckets)
        for path, name in zip(paths, names, strict=True)
    ]
    sections, first_number = [], 1
    for place, run in enumerate(runs):
        sections.append(_section(run, place, first_number))
        first_number += len(sections[-1]["findings"])
    charts = charts_of(runs)
    data = _json(_data(runs, sections, charts))
    library, script = _plotly(), text_of("run_report.js")
    samples_script = text_of("run_report_samples.js")
    html = template("run_report.html").render(
        mark=Markup(MARK),  # noqa: S704
        policy=_security_policy(library, script, samples_script),
        style=Markup(text_of("run_report.css")),  # noqa: S704
        library=Markup(library),  # noqa: S704
        script=Markup(script),  # noqa: S704
        samples_script=Markup(samples_script),  # noqa: S704
        data=Markup(data),  # noqa: S704
        sections=sections,
        charts=charts,
        config_differences=_config_differences(runs),
        has_samples=any(run.samples.steps for run in runs),
        written=datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        versions=f"counterpoise {version('counterpoise')}, Python {platform.python_version()}",
        provenance=PROVENANCE,
        paper_source=SOURCE,
        paper_sets=SETS,
    )
    return Report(html, [(run.name, _verdict(run)) for run in runs])


def _check(paths: Sequence[Path]) -> None:
    if not paths:
        raise UserError("give the folder of a run, or of several to compare")
    if len(paths) > MOST_RUNS:
        raise UserError(f"{len(paths)} runs are too many to overlay; give at most {MOST_RUNS}")
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            raise UserError(f"{path}: given twice; give each run once")
        seen.add(path.resolve())


def _names(paths: Sequence[Path]) -> list[str]:
    """What to call the runs: the folders' names, or the paths where these are alike."""
    names = [path.resolve().name or str(path) for path in paths]
    return [str(p) if names.count(n) > 1 else n for p, n in zip(paths, names, strict=True)]


def _section(run: ReportedRun, place: int, first_number: int) -> dict[str, Any]:
    """What the template shows of a run."""
    anchor = f"run-{place}-finding"
    findings: list[tuple[int, Finding]] = list(
        enumerate((f for d in run.diagnoses for f in d.findings), start=first_number)
    )
    lines = timeline(run, first_number, anchor)
    severities = [f.severity for _, f in findings]
    worst = min(severities, key=SEVERITIES.index, default="unknown")
    events = run.events
    left_out = max(0, len(events) - MOST_EVENTS)
    if left_out:
        events = [*events[: MOST_EVENTS // 2], *events[-MOST_EVENTS // 2 :]]
    return {
        "run": run,
        "worst": worst if run.diagnoses else "unknown",
        "verdict": _verdict(run),
        "headlines": [headline(d) for d in run.diagnoses],
        "objectives": [objective_line(d) for d in run.diagnoses],
        "findings": [(n, f, span(f), todo(f), f"{anchor}-{n}") for n, f in findings],
        "first_number": first_number,
        "lines": lines,
        "ticks": _ticks(run),
        "facts": _facts(run),
        "metrics": _metric_table(run),
        "paper": None if run.config is None else paper_rows(run.config, _features_note(run)),
        "events": [_event(event) for event in events],
        "events_left_out": left_out,
        "non_finite": run.curves.non_finite_count,
        "config": yaml.safe_dump(run.config_tree, sort_keys=False, allow_unicode=True),
        "policy_options": run.policy_options,
        "decimated": run.curves.rows_per_bucket,
    }


def _verdict(run: ReportedRun) -> str:
    if not run.diagnoses:
        return f"Not judged: {run.not_diagnosed}."
    if len(run.diagnoses) == 1:
        return verdict(run.diagnoses[0])
    return " ".join(f"{d.title}: {verdict(d)}" for d in run.diagnoses)


def _ticks(run: ReportedRun) -> list[str]:
    first, last = run.curves.first_step, run.curves.last_step
    if first is None or last is None:
        return []
    return [f"{first + round((last - first) * share / 4):,}" for share in range(5)]


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
        known = [value for value in seconds.means if value is not None]
        facts.append(("seconds per step", f"{number(sum(known) / len(known))} (mean)"))
    return facts


def _metric_table(run: ReportedRun) -> dict[str, Any] | None:
    """Held-out metrics: plain bicubic, and the last row of each stage with its distance to it."""
    newest: dict[str, dict[str, Any]] = {}
    for row in run.metrics:
        newest[str(row.get("stage", ""))] = row
    if not newest:
        return None
    names = [name for name in METRIC_TITLES if any(name in row for row in newest.values())]
    others = dict.fromkeys(
        name
        for row in newest.values()
        for name, value in row.items()
        if isinstance(value, int | float) and name not in ("step", *METRIC_TITLES)
    )
    names += list(others)[:12]
    letters = "" if run.config is None else run.config.loss.letters
    rows = []
    for stage, row in newest.items():
        title = STAGE_TITLES.get(stage) or (letters if stage == "train" and letters else stage)
        cells = [_metric_cell(name, row.get(name), run.bicubic.get(name), stage) for name in names]
        rows.append((title, row.get("step"), cells))
    return {"names": [METRIC_TITLES.get(name, name) for name in names], "rows": rows}


def _metric_cell(name: str, value: Any, bicubic: float | None, stage: str) -> tuple[str, str]:
    if not isinstance(value, int | float):
        return "not measured", ""
    digits = 2 if "psnr" in name else 4
    against = ""
    if bicubic is not None and stage != BICUBIC:
        against = f"{value - bicubic:+.{digits}f}"
    return f"{value:.{digits}f}", against


def _features_note(run: ReportedRun) -> str:
    """What the run said of its feature network."""
    said = (str(event.get("message", "")) for event in run.events)
    return next((m.removeprefix("features: ") for m in said if m.startswith("features: ")), "")


def _event(event: dict[str, Any]) -> tuple[str, str, str, str]:
    step = event_step(event)
    when = str(event.get("time", ""))[:19].replace("T", " ")
    kind = str(event.get("kind", ""))
    return when, "" if step is None else f"{step:,}", kind, str(event.get("message", ""))


def _config_differences(runs: Sequence[ReportedRun]) -> list[tuple[str, list[str]]]:
    """The configured values that are not the same in all runs."""
    if len(runs) < 2:
        return []
    flat = [_flat(run.config_tree) for run in runs]
    paths = dict.fromkeys(path for tree in flat for path in tree)
    rows = [(path, [tree.get(path, "not set") for tree in flat]) for path in paths]
    return [(path, values) for path, values in rows if len(set(values)) > 1]


def _flat(tree: Any, prefix: str = "") -> dict[str, str]:
    if isinstance(tree, dict) and tree:
        found: dict[str, str] = {}
        for key, value in tree.items():
            found |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
        return found
    return {prefix: json.dumps(tree, default=str)}


def _data(
    runs: Sequence[ReportedRun], sections: Sequence[dict[str, Any]], charts: Sequence[Any]
) -> dict[str, Any]:
    """What the page's script works on."""
    wanted = [
        {series["curve"] for chart in charts for series in chart.series if series["run"] == place}
        for place in range(len(runs))
    ]
    return {
        "runs": [
            {
                "name": run.name,
                "bands": finding_bands(run, section["first_number"]),
                "curves": {
                    name: curve_data(curve)
                    for name, curve in (run.curves.curves | run.metric_curves).items()
                    if name in wanted[place]
                },
                "samples": {
                    "steps": run.samples.steps,
                    "crops": [vars(crop) for crop in run.samples.crops],
                },
            }
            for place, (run, section) in enumerate(zip(runs, sections, strict=True))
        ],
        "charts": [chart.to_json() for chart in charts],
    }


def _json(value: Any) -> str:
    """JSON that can stand inside a script element, whatever its strings say."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _plotly() -> str:
    from plotly.offline.offline import get_plotlyjs

    library: str = get_plotlyjs()  # type: ignore[no-untyped-call]
    assert "</script" not in library, "it would end the element that it is in"
    return library


def _security_policy(*scripts: str) -> str:
    """Tell the browser to load nothing and to run these scripts alone."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'"
        for s in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
