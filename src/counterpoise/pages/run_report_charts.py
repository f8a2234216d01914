"""Which charts a report has, and their data as the page's script draws it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from counterpoise.diagnosis.finding import PROBLEMS
from counterpoise.diagnosis.found import number
from counterpoise.evaluate.measures import MEASURES
from counterpoise.outlook import TITLES
from counterpoise.pages.run_report_curves import ACCURACY, ACTION, TERM, Curve
from counterpoise.pages.run_report_folder import METRIC, ReportedRun
from counterpoise.pages.run_report_plans import COMPARED, PLANS


@dataclass
class Chart:
    """A chart with data: `series` and all else as the script reads it, `summary` for a person."""

    key: str
    title: str
    what: str
    series: list[dict[str, Any]]
    span: tuple[float, float] | None = None
    band: dict[str, Any] | None = None
    lines: list[dict[str, Any]] = field(default_factory=list)
    only_means: bool = False
    summary: str = ""
    legend: bool = True  # where the title alone does not say what is drawn

    def to_json(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "title": self.title,
            "series": self.series,
            "span": self.span,
            "band": self.band,
            "lines": self.lines,
            "onlyMeans": self.only_means,
            "legend": self.legend,
        }


def metric_title(name: str) -> str:
    """What to call a held-out metric."""
    title = MEASURES[name].title if name in MEASURES else name
    return f"{title}, dB" if name.startswith("psnr") else title


def metric_text(name: str, value: float, *, signed: bool = False) -> str:
    """A held-out metric for a person, with the digits that it deserves."""
    digits = MEASURES[name].digits if name in MEASURES else 4
    # Plus nothing makes a rounded -0 a 0.
    return f"{round(value, digits) + 0.0:{'+' if signed else ''}.{digits}f}"


def charts_of(runs: Sequence[ReportedRun]) -> list[Chart]:
    """The charts that have something to show: of one run by subject, of several by curve."""
    if len(runs) == 1:
        return [*_metric_charts(runs), *_charts_of_one(runs[0])]
    charts = [_overlaid(runs, name, title) for name, title in COMPARED]
    return [*_metric_charts(runs), *(chart for chart in charts if chart is not None)]


def _charts_of_one(run: ReportedRun) -> list[Chart]:
    charts = []
    for plan in PLANS:
        names = [
            (name, label or _label(name))
            for pattern, label in plan.curves
            for name in _matching(run, pattern)
        ]
        # What a controller steers by is shown instead of its raw self, and what others log is
        # shown where we have no better.
        present = {name for name, _ in names}
        names = [pair for pair in names if not (pair[0] == "d_accuracy" and ACCURACY in present)]
        if not names:
            continue
        chart = Chart(plan.key, plan.title, plan.what, [], plan.span, only_means=plan.only_means)
        chart.series = [_series(run, 0, name, label) for name, label in names]
        chart.lines = [{"value": value, "label": label} for value, label in plan.lines]
        chart.legend = len(plan.curves) > 1 or plan.curves[0][0].endswith("*")
        if plan.key == "d-accuracy" and run.band is not None:
            for series in chart.series:
                # What the controller steers by stands for it.
                series["hidden"] = series["curve"] == ACCURACY
            chart.band = {"low": run.band.low, "high": run.band.high, "label": run.band.text}
            chart.what += f" {run.band.text} (shaded across)."
        chart.summary = "; ".join(_words(run.curves.curves[name], label) for name, label in names)
        charts.append(chart)
    return charts


def _matching(run: ReportedRun, pattern: str) -> list[str]:
    names = run.curves.curves
    if pattern.endswith("*"):
        return [name for name in names if name.startswith(pattern[:-1])]
    return [pattern] if pattern in names else []


def _label(name: str) -> str:
    """The label of a loss term or of something that a policy sets."""
    if name.startswith(TERM):
        return name.removeprefix(TERM)
    return name.removeprefix(ACTION).replace("_", " ")


def _overlaid(runs: Sequence[ReportedRun], name: str, title: str) -> Chart | None:
    having = [(place, run) for place, run in enumerate(runs) if name in run.curves.curves]
    if not having:
        return None
    plan = next((p for p in PLANS if any(curve == name for curve, _ in p.curves)), None)
    chart = Chart(name.replace(".", "-"), title, "", [], None if plan is None else plan.span)
    chart.only_means = plan is not None and plan.only_means
    chart.series = [_series(run, place, name, run.name) for place, run in having]
    lacking = [run.name for run in runs if name not in run.curves.curves]
    chart.what = f"Not recorded in {', '.join(lacking)}." if lacking else ""
    chart.summary = "; ".join(_words(run.curves.curves[name], run.name) for _, run in having)
    return chart


def _metric_charts(runs: Sequence[ReportedRun]) -> list[Chart]:
    names = dict.fromkeys(name for run in runs for name in run.metric_curves.curves)
    charts = []
    for place_on_page, name in enumerate(names):
        metric = name.removeprefix(METRIC)
        title = TITLES.get(metric) or metric_title(metric)
        # Names in a file may be anything, so they are no part of an address on the page.
        chart = Chart(f"metric-{place_on_page}", f"Held-out images: {title}", "", [])
        chart.legend = len(runs) > 1
        if metric in MEASURES:
            direction = "Higher" if MEASURES[metric].higher_is_better else "Lower"
            chart.what = f"{direction} is better."
        words = []
        baselines = {}
        for place, run in enumerate(runs):
            if name in run.metric_curves.curves:
                label = run.name if len(runs) > 1 else title
                chart.series.append(_series(run, place, name, label))
                words.append(_words(run.metric_curves.curves[name], label))
            if math.isfinite(run.bicubic.get(metric, math.nan)):
                baselines[metric_text(metric, run.bicubic[metric])] = run.bicubic[metric]
        chart.lines = [{"value": value, "label": "bicubic"} for value in baselines.values()]
        if baselines:
            chart.what += f" Dashed: plain bicubic, {', '.join(baselines)}."
        chart.summary = "; ".join(words)
        charts.append(chart)
    return charts


def _series(run: ReportedRun, place: int, name: str, label: str) -> dict[str, Any]:
    curves = run.metric_curves if name.startswith(METRIC) else run.curves
    return {
        "run": place,
        "curve": name,
        "label": label,
        "nonFinite": curves.non_finite.get(name, []),
        "nonFiniteCount": curves.non_finite_count.get(name, 0),
    }


def _words(curve: Curve, label: str) -> str:
    (first_step, first), (last_step, last) = curve.first, curve.last
    return (
        f"{label}: {number(first)} at step {first_step}, {number(last)} at step {last_step}, "
        f"between {number(curve.low)} and {number(curve.high)}"
    )


def curve_data(curve: Curve) -> dict[str, Any]:
    """A curve for the script: steps, values, and means where they differ from the values."""
    data: dict[str, Any] = {
        "x": curve.steps,
        "y": [_short(value) for value in curve.values],
    }
    means = [_short(value) for value in curve.means]
    if means != data["y"]:
        data["m"] = means
    return data


def finding_bands(run: ReportedRun, first_number: int) -> list[dict[str, Any]]:
    """The spans to shade, each with the number of its finding on the page."""
    findings = [finding for diagnosis in run.diagnoses for finding in diagnosis.findings]
    return [
        {
            "number": number_,
            "id": finding.id,
            "severity": finding.severity,
            "first": finding.first_step,
            "last": finding.last_step,
        }
        for number_, finding in enumerate(findings, start=first_number)
        if finding.severity in PROBLEMS
    ]


def _short(value: float | None) -> float | None:
    """A number with as many digits as a chart can show; None stays a gap."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.5g}")
