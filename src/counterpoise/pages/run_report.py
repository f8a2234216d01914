"""The report of one run, or of several overlaid, as one self-contained HTML page."""

import base64
import datetime
import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from counterpoise.data.images import real_path
from counterpoise.errors import UserError
from counterpoise.pages.run_report_charts import charts_of, curve_data, finding_bands
from counterpoise.pages.run_report_curves import MOST_BUCKETS
from counterpoise.pages.run_report_folder import ReportedRun, read_run
from counterpoise.pages.run_report_paper import PROVENANCE, SETS, SOURCE
from counterpoise.pages.run_report_section import (
    config_differences,
    metric_table,
    papers,
    section_of,
    verdict_of,
)
from counterpoise.pages.templates import template, text_of
from counterpoise.run_folder import version

# What every page of this kind carries, so that one can be told from somebody's own file.
MARK = '<meta name="generator" content="counterpoise report">'
MOST_RUNS = 12
# A page has at most 10 MB; the chart library takes half of it, the curves about a sixth.
MOST_BYTES = 10_000_000
SAMPLE_BYTES = 3_000_000
# Points of curves over all runs are held to so many buckets for each curve.
LEAST_BUCKETS = 150


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
        sections.append(section_of(run, place, first_number))
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
        config_differences=config_differences(runs),
        metrics=metric_table(runs),
        papers=papers(runs),
        rows_per_bucket=max(run.curves.rows_per_bucket for run in runs),
        has_samples=any(run.samples.steps for run in runs),
        written=datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        versions=f"counterpoise {version('counterpoise')}, Python {platform.python_version()}",
        provenance=PROVENANCE,
        paper_source=SOURCE,
        paper_sets=SETS,
    )
    # A JSON file can hold halves of characters, which no page can.
    html = html.encode(errors="replace").decode()
    return Report(html, [(run.name, verdict_of(run)) for run in runs])


def _check(paths: Sequence[Path]) -> None:
    if not paths:
        raise UserError("give the folder of a run, or of several to compare")
    if len(paths) > MOST_RUNS:
        raise UserError(f"{len(paths)} runs are too many to overlay; give at most {MOST_RUNS}")
    seen: set[Path] = set()
    for path in paths:
        if real_path(path) in seen:
            raise UserError(f"{path}: given twice; give each run once")
        seen.add(real_path(path))


def _names(paths: Sequence[Path]) -> list[str]:
    """What to call the runs: the folders' names, or the paths where these are alike."""
    names = [real_path(path).name or str(path) for path in paths]
    return [str(p) if names.count(n) > 1 else n for p, n in zip(paths, names, strict=True)]


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
                    for name, curve in (run.curves.curves | run.metric_curves.curves).items()
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
