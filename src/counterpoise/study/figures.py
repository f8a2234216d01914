"""A study's figures, by matplotlib."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from counterpoise.plotting import pyplot, rendered
from counterpoise.study.analysis import Grid, StrategyResult

OURS, OTHERS, GREY = "#0a7f5a", "#4a6fa5", "#8a8f98"


def study_figures(grid: Grid, results: Sequence[StrategyResult]) -> dict[tuple[str, str], bytes]:
    """The figures by name and title, as PNG: failures, and what the survivors are worth."""
    plot = pyplot()
    drawn = {
        ("failures", "Failed trainings"): _failure_bars(results),
        ("stressors", "Which stressor fails whom"): _failure_map(grid, [r.name for r in results]),
    }
    if any(result.to_none.mean is not None for result in results):
        drawn["against-none", "Quality against the bare loop"] = _against_none(results)
    figures = {key: rendered(figure, "png") for key, figure in drawn.items()}
    plot.close("all")
    return figures


def _axes(width: float, height: float) -> tuple[Any, Any]:
    figure, axes = pyplot().subplots(figsize=(width, height), layout="constrained")
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _colour(strategy: str) -> str:
    return OURS if strategy == "auto" else OTHERS


def _failure_bars(results: Sequence[StrategyResult]) -> Any:
    """Failed share of every strategy, with its interval; the part by quality is darker."""
    figure, axes = _axes(7.5, 0.6 + 0.28 * len(results))
    places = np.arange(len(results))[::-1]
    shares = np.array([100 * r.failures.share for r in results])
    quality = np.array([100 * r.by_quality.share for r in results])
    colours = [_colour(r.name) for r in results]
    axes.barh(places, shares, color=colours, alpha=0.45, label="D saturated only")
    axes.barh(places, quality, color=colours, label="diverged or collapsed")
    for place, result in zip(places, results, strict=True):
        interval = result.failures.interval
        if interval is not None:
            axes.plot([100 * interval.low, 100 * interval.high], [place, place], color="#222", lw=1)
    axes.set_yticks(places, [r.name for r in results], fontsize=8)
    for label, result in zip(axes.get_yticklabels(), results, strict=True):
        label.set_fontweight("bold" if result.name == "auto" else "normal")
    axes.set_xlabel("failed trainings, % (line: 95 % interval)")
    axes.set_xlim(left=0)
    return figure


def _failure_map(grid: Grid, strategies: Sequence[str]) -> Any:
    """Strategies against stressors: the share of failed trainings."""
    places = [grid.strategies.index(name) for name in strategies]
    failed = grid.failed_percent()[:, places]
    shares = np.full((len(strategies), len(grid.stressors)), np.nan)
    for column, stressor in enumerate(grid.stressors):
        under = [pair[1] == stressor for pair in grid.pairs]
        # Over tasks and seeds; NaN without a cell.
        counted = np.ma.masked_invalid(failed[under]).mean((0, 2))
        shares[:, column] = counted.filled(np.nan)
    figure, axes = _axes(1.8 + 0.62 * len(grid.stressors), 1.4 + 0.27 * len(strategies))
    axes.spines[:].set_visible(True)
    axes.set_facecolor("#e4e6ea")  # seen where there is no cell
    axes.imshow(np.ma.masked_invalid(shares), cmap="YlOrRd", vmin=0, vmax=100, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        if not np.isnan(share):
            style = {"ha": "center", "va": "center", "fontsize": 7}
            colour = "white" if share > 60 else "#222"
            axes.text(column, row, f"{share:.0f}", color=colour, **style)
    axes.set_xticks(range(len(grid.stressors)), grid.stressors, rotation=40, ha="right", fontsize=8)
    axes.set_yticks(range(len(strategies)), strategies, fontsize=8)
    axes.set_title("failed trainings, %", fontsize=9)
    return figure


def _against_none(results: Sequence[StrategyResult]) -> Any:
    """The paired difference of quality to the bare loop, with its interval."""
    shown = [(r.name, r.to_none) for r in results if r.to_none.mean is not None]
    shown.sort(key=lambda item: item[1].mean or 0.0)
    figure, axes = _axes(7.5, 0.8 + 0.27 * len(shown))
    for place, (name, estimate) in enumerate(shown):
        if estimate.interval is not None:
            ends = [estimate.interval.low, estimate.interval.high]
            axes.plot(ends, [place] * 2, color=_colour(name))
        axes.plot([estimate.mean], [place], "o", color=_colour(name), ms=5)
    axes.axvline(0, color=GREY, lw=1)
    axes.set_yticks(range(len(shown)), [name for name, _ in shown], fontsize=8)
    axes.set_xlabel("quality against `none`, in spreads of the task (right is better)")
    return figure
