"""The page of one training, or of several overlaid, as one self-contained HTML file."""

import base64
import datetime
import hashlib
import json
import math
import platform
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from counterpoise.best_step import stage_rows
from counterpoise.config_file import leaves
from counterpoise.diagnosis.finding import PROBLEMS
from counterpoise.diagnosis.wording import remedy_how, span
from counterpoise.pages.charts import (
    Chart,
    charts_of,
    curve_key,
    measure_of,
    metric_text,
    metric_title,
)
from counterpoise.pages.curves import CELLS
from counterpoise.pages.run import SAMPLE_BYTES, PageRun, metrics_of, read_run
from counterpoise.run_folder import BICUBIC, version

LISTED_EVENTS = 400  # of more events, the newest are listed
LEAST_CELLS = 150  # cells of curves over all runs are held to so many for each curve
STAGE_TITLES = {BICUBIC: "bicubic", "pretrain": "E (pretrained)"}
SCRIPTS = ("charts.js", "samples.js", "live.js")

_ENVIRONMENT = Environment(
    loader=PackageLoader("counterpoise", "pages"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
)
# Unlike Jinja's own `capitalize`, it leaves the other letters as they are.
_ENVIRONMENT.filters["capfirst"] = lambda text: text[:1].upper() + text[1:]


def read_runs(paths: Sequence[Path]) -> list[PageRun]:
    """The runs in these folders, for a page of them all; `UserError` for one that is no run."""
    return [read_run(path, SAMPLE_BYTES // len(paths)) for path in paths]


def page(runs: Sequence[PageRun], *, live: bool = False) -> str:
    """The page of these trainings; `live` is one that is served and follows by itself. It loads
    nothing, escapes what comes from files, and lets a browser run its own scripts alone."""
    names = [run.name for run in runs]
    for run in runs:
        # Told apart by their paths.
        run.name = run.state.source if names.count(run.name) > 1 else run.name
    from plotly.offline.offline import get_plotlyjs  # Slow, and not for a page's body.

    library: str = get_plotlyjs()  # type: ignore[no-untyped-call]
    assert "</script" not in library, "it would end the element that it is in"
    scripts = [library, *(_text_of(name) for name in SCRIPTS if live or name != "live.js")]
    return page_body(
        runs,
        live=live,
        samples=Markup(samples_data(runs)),  # noqa: S704
        policy=_security_policy(scripts, live=live),
        style=Markup(_text_of("page.css")),  # noqa: S704
        scripts=[Markup(script) for script in scripts],  # noqa: S704
    )


def page_body(runs: Sequence[PageRun], *, live: bool = True, **parts: Any) -> str:
    """The page with these parts; without samples, style and scripts, for a page that follows."""
    first_number = 1
    for run in runs:
        run.first_number = first_number
        first_number += len(run.findings)
    charts = charts_of(runs)
    html = _ENVIRONMENT.get_template("page.html").render(
        data=Markup(_json(_data(runs, charts))),  # noqa: S704
        runs=runs,
        many=len(runs) > 1,
        live=live,
        charts=charts,
        listed_events=LISTED_EVENTS,
        config_differences=_config_differences(runs),
        metrics=_metric_table(runs),
        comparison=_comparison(runs),
        written=datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        versions=f"counterpoise {version('counterpoise')}, Python {platform.python_version()}",
        span=span,
        remedy_how=remedy_how,
        **parts,
    )
    # A JSON file can hold halves of characters, which no page can.
    return html.encode(errors="replace").decode()


def samples_data(runs: Sequence[PageRun]) -> str:
    """The samples of a page, as JSON for its script."""
    return _json([{"name": run.name} | vars(run.samples) for run in runs])


def _data(runs: Sequence[PageRun], charts: Sequence[Chart]) -> dict[str, Any]:
    """What the page's scripts work on."""
    wanted = {(series["run"], series["curve"]) for chart in charts for series in chart.series}
    cells = max(LEAST_CELLS, CELLS // max(1, len(runs)))
    samples = [(run.samples.steps, run.samples.key) for run in runs]
    return {
        # Alike for the same samples.
        "samples": hashlib.sha256(repr(samples).encode()).hexdigest()[:16],
        "runs": [
            {
                "name": run.name,
                "bands": [
                    [number, finding.severity, finding.first_step, finding.last_step]
                    for number, _, each in run.findings
                    for _, finding in each
                    if finding.severity in PROBLEMS
                ],
                "curves": {
                    curve_key(*key): curve.to_json(curves.breaks, cells)
                    for curves in (run.curves, run.metric_curves)
                    for key, curve in curves.drawn().items()
                    if (place, curve_key(*key)) in wanted
                },
            }
            for place, run in enumerate(runs)
        ],
        "charts": [
            {name: value for name, value in vars(chart).items() if name not in ("what", "columns")}
            for chart in charts
        ],
    }


def _config_differences(runs: Sequence[PageRun]) -> list[tuple[str, list[str]]]:
    """The configured values that are not the same in all runs."""
    flat = [{path: json.dumps(v, default=str) for path, v in leaves(r.config_tree)} for r in runs]
    paths = dict.fromkeys(path for tree in flat for path in tree)
    rows = [(path, [tree.get(path, "not set") for tree in flat]) for path in paths]
    return [(path, values) for path, values in rows if len(set(values)) > 1]


def _comparison(runs: Sequence[PageRun]) -> str:
    """Which of several runs is best, by each metric of their last evaluations that is known; ""
    where there are no two to compare."""
    lasts = {run.name: row for run in runs for row in stage_rows(run.metrics)[-1:]}
    best: dict[str, list[str]] = {}
    for name in dict.fromkeys(name for row in lasts.values() for name in metrics_of(row)):
        values = {run: metrics_of(row)[name] for run, row in lasts.items() if name in row}
        measure = measure_of(name)
        if measure is not None and len(values) > 1:
            first = (max if measure.higher_is_better else min)(values, key=values.__getitem__)
            words = f"{measure.title} {metric_text(name, values[first])}"
            best.setdefault(first, []).append(words)
    parts = (f"{run} (step {lasts[run]['step']}): {', '.join(w)}" for run, w in best.items())
    return "; ".join(parts)


def _metric_table(runs: Sequence[PageRun]) -> dict[str, Any] | None:
    """Held-out metrics: of each run plain bicubic, and the last row of each stage beside it."""
    shown = [
        (run, stage, row)
        for run in runs
        for stage, row in {str(row.get("stage", "")): row for row in run.metrics}.items()
    ]
    names = list(dict.fromkeys(name for _, _, row in shown for name in metrics_of(row)))
    rows = []
    for run, stage, row in shown:
        title = STAGE_TITLES.get(stage) or (run.letters if stage == "train" else "") or stage
        found, cells = metrics_of(row), []
        for name in names:
            against = found.get(name, math.nan) - run.bicubic.get(name, math.nan)
            beside = stage != BICUBIC and math.isfinite(against)
            cells.append(
                (
                    metric_text(name, found[name]) if name in found else "not measured",
                    metric_text(name, against, signed=True) if beside else "",
                )
            )
        step = row.get("step")
        rows.append((run.name, title, f"{step:,}" if isinstance(step, int) else "", cells))
    return {"names": [metric_title(name) for name in names], "rows": rows} if rows else None


def _json(value: Any) -> str:
    """JSON that can stand inside a script element, whatever its strings say."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _text_of(name: str) -> str:
    """A style sheet or script, to be put into a page as it is."""
    return (files("counterpoise.pages") / name).read_text(encoding="utf-8")


def _security_policy(scripts: Iterable[str], *, live: bool) -> str:
    """Tell the browser to load nothing and to run these scripts alone."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'"
        for s in scripts
    )
    follows = "connect-src 'self'; " * live
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; {follows}"
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
