"""Which charts a page may have, and their data as the script draws it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from counterpoise.pages.curves import ACCURACY
from counterpoise.registry import read_table

if TYPE_CHECKING:
    from counterpoise.evaluate.measures import Measure
    from counterpoise.pages.run import PageRun

METRIC = "metric"  # in place of a discriminator's name, of the curves of held-out metrics


@dataclass
class Chart:
    """A chart: of which curves, what to see in them, and `series` once they are found."""

    key: str
    title: str
    what: str = ""
    # Labels by column; a column that ends in `*` stands for all that begin so, by their own names.
    columns: dict[str, str] = field(default_factory=dict)
    span: tuple[float, float] | None = None  # its axis, where no value lies beyond
    only_means: bool = False  # where single values are 0 or 1
    lines: list[float] = field(default_factory=list)  # to be compared with
    series: list[dict[str, Any]] = field(default_factory=list)

    def add(self, run: int, key: tuple[str, str], label: str) -> None:
        """Draw a curve of the `run`th run."""
        self.series.append({"run": run, "curve": curve_key(*key), "label": label})


CHARTS = tuple(Chart(**row) for row in read_table("counterpoise.pages", "charts.toml")["charts"])


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
    title = name if measure is None else measure.title
    return f"{title}, dB" if name.startswith("psnr") else title


def metric_text(name: str, value: float, *, signed: bool = False) -> str:
    """A held-out metric for a person, with the digits that it deserves."""
    measure = measure_of(name)
    digits = 4 if measure is None else measure.digits
    # Plus nothing makes a rounded -0 a 0.
    return f"{round(value, digits) + 0.0:{'+' if signed else ''}.{digits}f}"
