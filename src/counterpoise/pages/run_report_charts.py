"""Which charts a report has, and their data as the page's script draws it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from counterpoise.diagnosis.finding import PROBLEMS
from counterpoise.diagnosis.found import number
from counterpoise.pages.run_report_curves import (
    ACCURACY,
    ACTION,
    ADVERSARIAL_SHARE,
    SMOOTHED_ACCURACY,
    TERM,
    Curve,
)
from counterpoise.pages.run_report_folder import METRIC, ReportedRun

METRIC_TITLES = {
    "psnr_y": "PSNR (Y), dB",
    "psnr_rgb": "PSNR (RGB), dB",
    "ssim_y": "SSIM (Y)",
    "ssim_rgb": "SSIM (RGB)",
}
SHARE = (0.0, 1.0)


@dataclass(frozen=True)
class Plan:
    """A chart: its title, what to see in it, and its curves by name, each with a label.

    A name that ends in `*` stands for all curves that begin so.
    """

    key: str
    title: str
    what: str
    curves: tuple[tuple[str, str], ...]
    span: tuple[float, float] | None = None  # that its axis shows at least
    only_means: bool = False  # where single values are 0 or 1
    lines: tuple[tuple[float, str], ...] = ()


PLANS = (
    Plan(
        "g-loss",
        "Loss of G, by term",
        "Weighted, as trained on. The value of an adversarial loss says little by itself.",
        (("g_loss", "G, all terms"), (TERM + "*", "")),
    ),
    Plan(
        "d-loss",
        "Loss of D",
        "Both halves; near zero for long, D is certain of everything.",
        (
            ("d_loss", "D, both halves"),
            ("d_loss_real", "on real"),
            ("d_loss_fake", "on fake"),
            ("d_penalty", "penalties"),
        ),
    ),
    Plan(
        "d-outputs",
        "D(x) and D(G(z))",
        "D's mean output on real images, and on the same fakes before and after D's update.",
        (
            ("d_real", "D(x)"),
            ("d_fake_before", "D(G(z)) before"),
            ("d_fake_after", "D(G(z)) after"),
        ),
    ),
    Plan(
        "d-accuracy",
        "D's accuracy and AUC",
        "Share of images that D judges rightly; 0.5 is chance. AUC: how often a real image scores "
        "above a fake one.",
        (
            (SMOOTHED_ACCURACY, "accuracy as the controller sees it"),
            (ACCURACY, "accuracy"),
            ("d_accuracy", "accuracy (as logged)"),
            ("d_accuracy_real", "on real"),
            ("d_accuracy_fake", "on fake"),
            ("auc", "AUC"),
        ),
        SHARE,
    ),
    Plan(
        "logits",
        "D's logits",
        "Means over a batch, before any sigmoid.",
        (
            ("real_logit_mean", "on real"),
            ("fake_logit_mean", "on fake"),
            ("held_out_logit_mean", "on held-out real"),
        ),
    ),
    Plan(
        "share",
        "Share of D in the gradient that reaches G",
        "Adversarial gradient at G's output over that of all terms: near 0, G does not hear D; "
        "near 1, nothing else.",
        ((ADVERSARIAL_SHARE, "adversarial share"),),
        SHARE,
    ),
    Plan(
        "output-gradients",
        "Gradients at G's output",
        "Norms; the adversarial one with the policy's weight in it.",
        (
            ("g_gradient_adversarial", "adversarial term"),
            ("g_gradient_content", "all other terms"),
        ),
    ),
    Plan(
        "gradient-norms",
        "Gradients of the weights",
        "Norms of the last update's gradients.",
        (("g_gradient_norm", "G"), ("d_gradient_norm", "D")),
    ),
    Plan(
        "update-ratios",
        "Updates over weights",
        "How far a step moves a network; about 0.001 is usual for Adam.",
        (("g_update_ratio", "G"), ("d_update_ratio", "D")),
    ),
    Plan(
        "cosines",
        "Cosine of the gradients of two steps",
        "Below 0 again and again: the network turns back and forth.",
        (("g_gradient_cosine", "G"), ("d_gradient_cosine", "D")),
        (-1.0, 1.0),
    ),
    Plan(
        "d-updated",
        "Share of steps in which D was trained",
        "The means over neighbouring steps.",
        (("d_updated", "D trained"), ("g_updated", "G trained")),
        SHARE,
        only_means=True,
    ),
    Plan(
        "actions",
        "What the policy set",
        "Only what it ever changed; factors are of the configured values.",
        ((ACTION + "*", ""),),
    ),
    Plan(
        "learning-rates",
        "Learning rates",
        "As used, with the policy's factors in them.",
        (("g_learning_rate", "G"), ("d_learning_rate", "D")),
    ),
    Plan(
        "detail",
        "Outputs against real images",
        "Ratios, 1 is alike: variety within a batch, fine detail, texture.",
        (
            ("diversity_ratio", "variety"),
            ("high_frequency_ratio", "fine detail"),
            ("patch_variance_ratio", "texture"),
        ),
        lines=((1.0, "as real images"),),
    ),
    Plan(
        "saturation",
        "Share of outputs of D where its sigmoid is flat",
        "There, G learns little from D.",
        (("d_saturation_real", "on real"), ("d_saturation_fake", "on fake")),
        SHARE,
    ),
    Plan(
        "probes",
        "D's tests",
        "Accuracy on held-out images; AUC where a leak is hidden from D (a large fall: D judges by "
        "the leak); accuracy of a copy of D trained on one batch.",
        (
            ("d_accuracy_held_out", "accuracy, held-out real"),
            ("auc_quantised", "AUC, fakes of 8 bits"),
            ("auc_border_hidden", "AUC, borders hidden"),
            ("d_probe_accuracy", "accuracy of a copy of D"),
            ("fake_out_of_range", "fakes out of range"),
        ),
        SHARE,
    ),
    Plan("speed", "Seconds per step", "Measuring included.", (("seconds", "seconds"),)),
)
# With several runs, a chart has one curve of each.
COMPARED = (
    ("g_loss", "Loss of G"),
    (TERM + "adversarial", "Adversarial loss of G"),
    ("d_loss", "Loss of D"),
    ("d_real", "D(x)"),
    ("d_fake_before", "D(G(z)) before D's update"),
    ("d_fake_after", "D(G(z)) after D's update"),
    (ACCURACY, "D's accuracy"),
    ("auc", "AUC"),
    (ADVERSARIAL_SHARE, "Share of D in the gradient that reaches G"),
    ("g_gradient_norm", "Gradient norm of G"),
    ("d_gradient_norm", "Gradient norm of D"),
    ("d_updated", "Share of steps in which D was trained"),
    ("d_learning_rate", "Learning rate of D"),
    ("g_learning_rate", "Learning rate of G"),
    (ACTION + "adversarial_weight_scale", "The policy's factor on the adversarial weight"),
    ("diversity_ratio", "Variety of outputs over that of real images"),
    ("high_frequency_ratio", "Fine detail of outputs over that of real images"),
    ("seconds", "Seconds per step"),
)


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

    def to_json(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "title": self.title,
            "series": self.series,
            "span": self.span,
            "band": self.band,
            "lines": self.lines,
            "onlyMeans": self.only_means,
        }


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
    names = dict.fromkeys(name for run in runs for name in run.metric_curves)
    charts = []
    for name in names:
        metric = name.removeprefix(METRIC)
        chart = Chart(
            name.replace(".", "-"),
            f"Held-out images: {METRIC_TITLES.get(metric, metric)}",
            "",
            [],
        )
        words = []
        baselines = {}
        for place, run in enumerate(runs):
            if name in run.metric_curves:
                label = run.name if len(runs) > 1 else METRIC_TITLES.get(metric, metric)
                chart.series.append(_series(run, place, name, label))
                words.append(_words(run.metric_curves[name], label))
            if metric in run.bicubic:
                baselines[round(run.bicubic[metric], 4)] = "plain bicubic"
        chart.lines = [{"value": v, "label": label} for v, label in baselines.items()]
        if baselines:
            chart.what = "Dashed: plain bicubic, " + ", ".join(map(number, baselines)) + "."
        chart.summary = "; ".join(words)
        charts.append(chart)
    return charts


def _series(run: ReportedRun, place: int, name: str, label: str) -> dict[str, Any]:
    named = name.removeprefix(METRIC)
    return {
        "run": place,
        "curve": name,
        "label": label,
        "nonFinite": run.curves.non_finite.get(named, []),
        "nonFiniteCount": run.curves.non_finite_count.get(named, 0),
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
