"""Which charts a page may have, what each of them says, and their data as the script draws it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from counterpoise.diagnosis.found import number
from counterpoise.outlook import TITLES
from counterpoise.pages.curves import (
    ACCURACY,
    ACTION,
    ADVERSARIAL_SHARE,
    SMOOTHED_ACCURACY,
    TERM,
    Curve,
    Curves,
)

if TYPE_CHECKING:
    from counterpoise.evaluate.measures import Measure
    from counterpoise.pages.run import PageRun

SHARE = (0.0, 1.0)
# In place of a discriminator's name, of the curves of held-out metrics.
METRIC = "metric"


@dataclass(frozen=True)
class Plan:
    """A chart: its title, what to see in it, and its curves by name.

    A name that ends in `*` stands for all curves that begin so.
    """

    key: str
    title: str
    what: str
    curves: tuple[str, ...]
    span: tuple[float, float] | None = None  # that its axis shows at least
    only_means: bool = False  # where single values are 0 or 1
    line: tuple[float, str] | None = None
    # What of it is compared where there are several runs: each has a chart with every run's curve.
    compared: tuple[str, ...] = ()

    def place_of(self, name: str) -> tuple[int, str] | None:
        """The place of a curve in this chart, and its label; None where it is none of it."""
        for place, pattern in enumerate(self.curves):
            if name == pattern:
                return place, LABELS[name]
            if pattern.endswith("*") and name.startswith(pattern[:-1]):
                own = name.removeprefix(pattern[:-1])
                return place, own.replace("_", " ") if pattern.startswith(ACTION) else own
        return None


# What the curves are called on their charts.
LABELS = {
    "g_loss": "G, all terms",
    "g_adversarial": "adversarial",
    "g_content": "all other terms",
    "d_loss": "D, both halves",
    "d_loss_real": "on real",
    "d_loss_fake": "on fake",
    "d_penalty": "added terms",
    "d_real": "D(x)",
    "d_fake_before": "D(G(z)) before",
    "d_fake_after": "D(G(z)) after",
    SMOOTHED_ACCURACY: "accuracy as the controller sees it",
    ACCURACY: "accuracy",
    "d_accuracy": "accuracy (as logged)",
    "d_accuracy_real": "on real",
    "d_accuracy_fake": "on fake",
    "auc": "AUC",
    "real_logit_mean": "on real",
    "fake_logit_mean": "on fake",
    "held_out_logit_mean": "on held-out real",
    ADVERSARIAL_SHARE: "adversarial share",
    "g_gradient_adversarial": "adversarial term",
    "g_gradient_content": "all other terms",
    "g_gradient_norm": "G",
    "d_gradient_norm": "D",
    "g_update_ratio": "G",
    "d_update_ratio": "D",
    "g_gradient_cosine": "G",
    "d_gradient_cosine": "D",
    "d_updated": "D trained",
    "g_updated": "G trained",
    "g_learning_rate": "G",
    "d_learning_rate": "D",
    "diversity_ratio": "variety",
    "high_frequency_ratio": "fine detail",
    "patch_variance_ratio": "texture",
    "d_saturation_real": "on real",
    "d_saturation_fake": "on fake",
    "d_accuracy_held_out": "accuracy, held-out real",
    "auc_quantised": "AUC, fakes of 8 bits",
    "auc_border_hidden": "AUC, borders hidden",
    "d_probe_accuracy": "accuracy of a copy of D",
    "fake_out_of_range": "fakes out of range",
    "seconds": "seconds",
}
PLANS = (
    Plan(
        "g-loss",
        "Loss of G, by term",
        "Weighted, as trained on. The value of an adversarial loss says little by itself.",
        ("g_loss", "g_adversarial", "g_content", TERM + "*"),
        compared=("g_loss", TERM + "adversarial"),
    ),
    Plan(
        "d-loss",
        "Loss of D",
        "Near zero for long: D is certain of everything. Added: penalties, and what a policy adds.",
        ("d_loss", "d_loss_real", "d_loss_fake", "d_penalty"),
        compared=("d_loss",),
    ),
    Plan(
        "d-outputs",
        "D(x) and D(G(z))",
        "D's mean output on real images, and on the same fakes before and after D's update.",
        ("d_real", "d_fake_before", "d_fake_after"),
        compared=("d_real", "d_fake_before", "d_fake_after"),
    ),
    Plan(
        "d-accuracy",
        "D's accuracy and AUC",
        "Share of images that D judges rightly; 0.5 is chance. AUC: how often a real image scores "
        "above a fake one.",
        (SMOOTHED_ACCURACY, ACCURACY, "d_accuracy", "d_accuracy_real", "d_accuracy_fake", "auc"),
        SHARE,
        compared=(ACCURACY, "auc"),
    ),
    Plan(
        "logits",
        "D's logits",
        "Means over a batch, before any sigmoid.",
        ("real_logit_mean", "fake_logit_mean", "held_out_logit_mean"),
    ),
    Plan(
        "share",
        "Share of D in the gradient that reaches G",
        "Adversarial gradient at G's output over that of all terms: near 0, G does not hear D; "
        "near 1, nothing else.",
        (ADVERSARIAL_SHARE,),
        SHARE,
        compared=(ADVERSARIAL_SHARE,),
    ),
    Plan(
        "output-gradients",
        "Gradients at G's output",
        "Norms; the adversarial one with the policy's weight in it.",
        ("g_gradient_adversarial", "g_gradient_content"),
    ),
    Plan(
        "gradient-norms",
        "Gradients of the weights",
        "Norms of the last update's gradients.",
        ("g_gradient_norm", "d_gradient_norm"),
        compared=("g_gradient_norm", "d_gradient_norm"),
    ),
    Plan(
        "update-ratios",
        "Updates over weights",
        "How far a step moves a network; about 0.001 is usual for Adam.",
        ("g_update_ratio", "d_update_ratio"),
    ),
    Plan(
        "cosines",
        "Cosine of the gradients of two steps",
        "Below 0 again and again: the network turns back and forth.",
        ("g_gradient_cosine", "d_gradient_cosine"),
        (-1.0, 1.0),
    ),
    Plan(
        "updated",
        "Share of steps in which each was trained",
        "The means over neighbouring steps.",
        ("d_updated", "g_updated"),
        SHARE,
        only_means=True,
        compared=("d_updated",),
    ),
    Plan(
        "actions",
        "What the policy set",
        "Only what it ever changed; factors are of the configured values.",
        (ACTION + "*",),
        compared=(ACTION + "adversarial_weight_scale", ACTION + "d_learning_rate_scale"),
    ),
    Plan(
        "learning-rates",
        "Learning rates",
        "As used, with the policy's factors in them.",
        ("g_learning_rate", "d_learning_rate"),
        compared=("d_learning_rate", "g_learning_rate"),
    ),
    Plan(
        "detail",
        "Outputs against real images",
        "Ratios, 1 is alike: variety within a batch, fine detail, texture.",
        ("diversity_ratio", "high_frequency_ratio", "patch_variance_ratio"),
        line=(1.0, "as real images"),
        compared=("diversity_ratio", "high_frequency_ratio"),
    ),
    Plan(
        "saturation",
        "Share of outputs of D where its sigmoid is flat",
        "There, G learns little from D.",
        ("d_saturation_real", "d_saturation_fake"),
        SHARE,
    ),
    Plan(
        "probes",
        "D's tests",
        "Accuracy on held-out images; AUC where a leak is hidden from D (a large fall: D judges by "
        "the leak); accuracy of a copy of D trained on one batch.",
        (
            "d_accuracy_held_out",
            "auc_quantised",
            "auc_border_hidden",
            "d_probe_accuracy",
            "fake_out_of_range",
        ),
        SHARE,
    ),
    Plan("speed", "Seconds per step", "Measuring included.", ("seconds",), compared=("seconds",)),
)


@dataclass
class Chart:
    """A chart with data: `series` and all else as the script reads it, `summary` for a person."""

    key: str
    title: str
    what: str = ""
    series: list[dict[str, Any]] = field(default_factory=list)
    span: tuple[float, float] | None = None
    band: dict[str, Any] | None = None
    lines: list[dict[str, Any]] = field(default_factory=list)
    only_means: bool = False
    legend: bool = True  # where the title alone does not say what is drawn
    words: list[str] = field(default_factory=list)

    @property
    def summary(self) -> str:
        return "; ".join(self.words)

    def add(self, place: int, curves: Curves, key: tuple[str, str], label: str) -> None:
        """Draw a curve of the `place`th run."""
        curve = curves.curves[key]
        self.series.append(
            {
                "run": place,
                "curve": curve_key(*key),
                "label": label,
                "nonFinite": curve.non_finite,
                "nonFiniteCount": curve.non_finite_count,
            }
        )
        self.words.append(_words(curve, label))

    def to_json(self) -> dict[str, Any]:
        """What the script reads; the rest is in the page's text."""
        return {name: value for name, value in vars(self).items() if name not in ("what", "words")}


def curve_key(game: str, name: str) -> str:
    """What the data of the page call a curve."""
    return f"{game}: {name}" if game else name


def charts_of(runs: "Sequence[PageRun]") -> list[Chart]:
    """The charts that have something to show: of one run by subject, of several by curve."""
    if len(runs) == 1:
        charts = [_planned(runs[0], plan) for plan in PLANS]
    else:
        charts = [chart for plan in PLANS for chart in _overlaid(runs, plan)]
    return [*(chart for chart in charts if chart.series), *_metric_charts(runs)]


def _planned(run: "PageRun", plan: Plan) -> Chart:
    chart = Chart(plan.key, plan.title, plan.what, span=plan.span, only_means=plan.only_means)
    found = []
    for game, name in run.curves.drawn():
        # What is measured is shown instead of what others log of it.
        doubled = name == "d_accuracy" and (game, ACCURACY) in run.curves.curves
        if (at := plan.place_of(name)) is not None and not doubled:
            found.append((at[0], game, name, at[1]))
    for _, game, name, label in sorted(found, key=lambda one: one[0]):
        chart.add(0, run.curves, (game, name), f"{game}: {label}" if game else label)
        # What the controller steers by stands for it.
        chart.series[-1]["hidden"] = name == ACCURACY and run.band is not None
    if plan.line is not None:
        chart.lines = [{"value": plan.line[0], "label": plan.line[1]}]
    alone = len(chart.series) == len(plan.curves) == 1 and not plan.curves[0].endswith("*")
    chart.legend = not alone
    if plan.key == "d-accuracy" and run.band is not None:
        chart.band = {"low": run.band.low, "high": run.band.high, "label": run.band.text}
        chart.what += f" {run.band.text} (shaded across)."
    return chart


def _overlaid(runs: "Sequence[PageRun]", plan: Plan) -> Iterator[Chart]:
    """A chart for each curve of a plan that is compared, with that of every run."""
    for name in plan.compared:
        at = plan.place_of(name)
        assert at is not None, "it is a curve of the plan"
        title = plan.title if len(plan.compared) == 1 else f"{plan.title}: {at[1]}"
        # A point would make two parts of an address on the page.
        chart = Chart(name.replace(".", "-"), title, span=plan.span, only_means=plan.only_means)
        lacking = []
        for place, run in enumerate(runs):
            keys = [key for key in run.curves.drawn() if key[1] == name]
            for key in keys:
                lead = f"{run.name}, {key[0]}" if key[0] else run.name
                chart.add(place, run.curves, key, lead)
            if not keys:
                lacking.append(run.name)
        chart.what = f"Not recorded in {', '.join(lacking)}." if lacking else ""
        yield chart


def _metric_charts(runs: "Sequence[PageRun]") -> list[Chart]:
    names = dict.fromkeys(name for run in runs for _, name in run.metric_curves.drawn())
    charts = []
    for place_on_page, name in enumerate(names):
        title, measure = metric_title(name), measure_of(name)
        # Names in a file may be anything, so they are no part of an address on the page.
        chart = Chart(f"metric-{place_on_page}", f"Held-out images: {title}")
        chart.legend = len(runs) > 1
        if measure is not None:
            chart.what = f"{'Higher' if measure.higher_is_better else 'Lower'} is better."
        baselines = {}
        for place, run in enumerate(runs):
            if (METRIC, name) in run.metric_curves.drawn():
                label = run.name if len(runs) > 1 else title
                chart.add(place, run.metric_curves, (METRIC, name), label)
            if math.isfinite(value := run.bicubic.get(name, math.nan)):
                baselines[metric_text(name, value)] = value
        chart.lines = [{"value": value, "label": "bicubic"} for value in baselines.values()]
        if baselines:
            chart.what += f" Dashed: plain bicubic, {', '.join(baselines)}."
        charts.append(chart)
    return charts


def measure_of(name: str) -> "Measure | None":
    """The measure of a held-out metric; None where it is none of ours."""
    from counterpoise.evaluate.measures import MEASURES  # It needs torch, a page mostly does not.

    return MEASURES.get(name)


def metric_title(name: str) -> str:
    """What to call a held-out metric."""
    measure = measure_of(name)
    title = TITLES.get(name) or (name if measure is None else measure.title)
    return f"{title}, dB" if name.startswith("psnr") else title


def metric_text(name: str, value: float, *, signed: bool = False) -> str:
    """A held-out metric for a person, with the digits that it deserves."""
    measure = measure_of(name)
    digits = 4 if measure is None else measure.digits
    # Plus nothing makes a rounded -0 a 0.
    return f"{round(value, digits) + 0.0:{'+' if signed else ''}.{digits}f}"


def _words(curve: Curve, label: str) -> str:
    first, last = curve.cells[0], curve.cells[-1]
    low, high = min(cell.low for cell in curve.cells), max(cell.high for cell in curve.cells)
    return (
        f"{label}: {number(first.total / first.count)} at step {first.first_step}, "
        f"{number(last.total / last.count)} at step {last.last_step}, "
        f"between {number(low)} and {number(high)}"
    )
