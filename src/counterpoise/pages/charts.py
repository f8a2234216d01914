"""Which charts a page may have, and their data as the script draws it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from counterpoise.outlook import TITLES
from counterpoise.pages.curves import ACCURACY, ACTION, ADVERSARIAL_SHARE, TERM

if TYPE_CHECKING:
    from counterpoise.evaluate.measures import Measure
    from counterpoise.pages.run import PageRun

SHARE = (0.0, 1.0)
METRIC = "metric"  # in place of a discriminator's name, of the curves of held-out metrics


@dataclass
class Chart:
    """A chart: of which curves, what to see in them, and `series` once they are found."""

    key: str
    title: str
    what: str = ""
    # Labels by column; a column that ends in `*` stands for all that begin so, by their own names.
    columns: dict[str, str] = field(default_factory=dict)
    span: tuple[float, float] | None = None  # that its axis shows at least
    only_means: bool = False  # where single values are 0 or 1
    lines: list[float] = field(default_factory=list)  # to be compared with
    series: list[dict[str, Any]] = field(default_factory=list)

    def add(self, run: int, key: tuple[str, str], label: str) -> None:
        """Draw a curve of the `run`th run."""
        self.series.append({"run": run, "curve": curve_key(*key), "label": label})


# Most telling first.
CHARTS = (
    Chart(
        "g-loss",
        "Loss of G, by term",
        "Weighted, as trained on. The value of an adversarial loss says little by itself.",
        {
            "g_loss": "G, all terms",
            "g_adversarial": "adversarial",
            "g_content": "all other terms",
            TERM + "*": "",
        },
    ),
    Chart(
        "d-loss",
        "Loss of D",
        "Near zero for long: D is certain of everything. Added: penalties, and what a policy adds.",
        {
            "d_loss": "D, both halves",
            "d_loss_real": "on real",
            "d_loss_fake": "on fake",
            "d_penalty": "added terms",
        },
    ),
    Chart(
        "d-outputs",
        "D(x) and D(G(z))",
        "D's mean output on real images, and on the same fakes before and after D's update.",
        {"d_real": "D(x)", "d_fake_before": "D(G(z)) before", "d_fake_after": "D(G(z)) after"},
    ),
    Chart(
        "d-accuracy",
        "D's accuracy and AUC",
        "Share of images that D judges rightly; 0.5 is chance. AUC: how often a real image scores "
        "above a fake one.",
        {
            ACCURACY: "accuracy",
            "d_accuracy": "accuracy (as logged)",
            "d_accuracy_real": "on real",
            "d_accuracy_fake": "on fake",
            "auc": "AUC",
        },
        SHARE,
    ),
    Chart(
        "logits",
        "D's logits",
        "Means over a batch, before any sigmoid.",
        {
            "real_logit_mean": "on real",
            "fake_logit_mean": "on fake",
            "held_out_logit_mean": "on held-out real",
        },
    ),
    Chart(
        "share",
        "Share of D in the gradient that reaches G",
        "Adversarial gradient at G's output over that of all terms: near 0, G does not hear D; "
        "near 1, nothing else.",
        {ADVERSARIAL_SHARE: "adversarial share"},
        SHARE,
    ),
    Chart(
        "output-gradients",
        "Gradients at G's output",
        "Norms; the adversarial one with the policy's weight in it.",
        {"g_gradient_adversarial": "adversarial term", "g_gradient_content": "all other terms"},
    ),
    Chart(
        "gradient-norms",
        "Gradients of the weights",
        "Norms of the last update's gradients.",
        {"g_gradient_norm": "G", "d_gradient_norm": "D"},
    ),
    Chart(
        "update-ratios",
        "Updates over weights",
        "How far a step moves a network; about 0.001 is usual for Adam.",
        {"g_update_ratio": "G", "d_update_ratio": "D"},
    ),
    Chart(
        "cosines",
        "Cosine of the gradients of two steps",
        "Below 0 again and again: the network turns back and forth.",
        {"g_gradient_cosine": "G", "d_gradient_cosine": "D"},
        (-1.0, 1.0),
    ),
    Chart(
        "updated",
        "Share of steps in which each was trained",
        "The means over neighbouring steps.",
        {"d_updated": "D trained", "g_updated": "G trained"},
        SHARE,
        only_means=True,
    ),
    Chart(
        "actions",
        "What the policy set",
        "Only what it ever changed; factors are of the configured values.",
        {ACTION + "*": ""},
    ),
    Chart(
        "learning-rates",
        "Learning rates",
        "As used, with the policy's factors in them.",
        {"g_learning_rate": "G", "d_learning_rate": "D"},
    ),
    Chart(
        "detail",
        "Outputs against real images",
        "Ratios, 1 is alike: variety within a batch, fine detail, texture.",
        {
            "diversity_ratio": "variety",
            "high_frequency_ratio": "fine detail",
            "patch_variance_ratio": "texture",
        },
        lines=[1.0],
    ),
    Chart(
        "saturation",
        "Share of outputs of D where its sigmoid is flat",
        "There, G learns little from D.",
        {"d_saturation_real": "on real", "d_saturation_fake": "on fake"},
        SHARE,
    ),
    Chart(
        "probes",
        "D's tests",
        "Accuracy on held-out images; AUC where a leak is hidden from D (a large fall: D judges by "
        "the leak).",
        {
            "d_accuracy_held_out": "accuracy, held-out real",
            "auc_quantised": "AUC, fakes of 8 bits",
            "auc_border_hidden": "AUC, borders hidden",
            "fake_out_of_range": "fakes out of range",
        },
        SHARE,
    ),
    Chart("speed", "Seconds per step", "Measuring included.", {"seconds": "seconds"}),
)


def curve_key(game: str, name: str) -> str:
    """What the data of the page call a curve."""
    return f"{game}: {name}" if game else name


def charts_of(runs: "Sequence[PageRun]") -> list[Chart]:
    """The charts that have something to show: of one run by subject, of several by curve."""
    several = len(runs) > 1
    charts: dict[tuple[str, str], Chart] = {}
    for plan in CHARTS:
        for place, run in enumerate(runs):
            for (game, name), label in _drawn(plan, run):
                subject = plan.key, name if several else ""
                if subject not in charts:
                    # Names in a file may be anything, so they are no part of an address on a page.
                    key = f"{plan.key}-{len(charts)}" if several else plan.key
                    title = f"{plan.title}: {label}" if several else plan.title
                    charts[subject] = replace(plan, key=key, title=title, series=[])
                lead = f"{run.name}, {game}" if game else run.name
                line = lead if several else curve_key(game, label)
                charts[subject].add(place, (game, name), line)
    return [*charts.values(), *_metric_charts(runs)]


def _drawn(plan: Chart, run: "PageRun") -> Iterator[tuple[tuple[str, str], str]]:
    """The curves of a run that belong to a chart, in its order, with their labels."""
    drawn = run.curves.drawn()
    for pattern, label in plan.columns.items():
        for game, name in drawn:
            if name == "d_accuracy" and (game, ACCURACY) in drawn:
                continue  # What is measured is shown instead of what others log of it.
            if name == pattern:
                yield (game, name), label
            elif pattern.endswith("*") and name.startswith(pattern[:-1]):
                yield (game, name), name.removeprefix(pattern[:-1])


def _metric_charts(runs: "Sequence[PageRun]") -> Iterator[Chart]:
    names = dict.fromkeys(name for run in runs for _, name in run.metric_curves.drawn())
    for place_on_page, name in enumerate(names):
        measure = measure_of(name)
        chart = Chart(f"metric-{place_on_page}", f"Held-out images: {metric_title(name)}")
        if measure is not None:
            chart.what = f"{'Higher' if measure.higher_is_better else 'Lower'} is better."
        for place, run in enumerate(runs):
            if (METRIC, name) in run.metric_curves.drawn():
                chart.add(place, (METRIC, name), run.name)
        bicubic = {run.bicubic.get(name, math.nan) for run in runs}
        chart.lines = sorted(filter(math.isfinite, bicubic))
        if chart.lines:
            words = ", ".join(metric_text(name, value) for value in chart.lines)
            chart.what += f" Dashed: plain bicubic, {words}."
        yield chart


def measure_of(name: str) -> "Measure | None":
    """The measure of a held-out metric; None where it is none of ours, or PyTorch is not here."""
    try:
        from counterpoise.evaluate.measures import MEASURES  # A page mostly does not need it.
    except ModuleNotFoundError:
        return None
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
