"""A study's figures, by matplotlib: SVG for the page, PNG for a README."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from counterpoise.plotting import pyplot
from counterpoise.statistics import Estimate
from counterpoise.study.analysis import StrategyResult

OURS, OTHERS, GREY = "#0a7f5a", "#4a6fa5", "#8a8f98"


def failure_bars(results: Sequence[StrategyResult]) -> Any:
    """Failed share of every strategy, with its interval; the part by quality is darker."""
    plot = pyplot()
    figure, axes = plot.subplots(figsize=(7.5, 0.6 + 0.28 * len(results)), layout="constrained")
    places = np.arange(len(results))[::-1]
    shares = np.array([100 * r.failures.share for r in results])
    quality = np.array([100 * r.by_quality.share for r in results])
    colours = [OURS if r.name == "auto" else OTHERS for r in results]
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
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def failure_map(shares: np.ndarray, strategies: Sequence[str], stressors: Sequence[str]) -> Any:
    """Strategies against stressors: the share of failed trainings."""
    plot = pyplot()
    size = (1.8 + 0.62 * len(stressors), 1.4 + 0.27 * len(strategies))
    figure, axes = plot.subplots(figsize=size, layout="constrained")
    axes.set_facecolor("#e4e6ea")  # seen where there is no cell
    axes.imshow(np.ma.masked_invalid(100 * shares), cmap="YlOrRd", vmin=0, vmax=100, aspect="auto")
    for row, column in np.ndindex(*shares.shape):
        if not np.isnan(shares[row, column]):
            share = 100 * shares[row, column]
            colour = "white" if share > 60 else "#222"
            axes.text(
                column, row, f"{share:.0f}", ha="center", va="center", fontsize=7, color=colour
            )
    axes.set_xticks(range(len(stressors)), stressors, rotation=40, ha="right", fontsize=8)
    axes.set_yticks(range(len(strategies)), strategies, fontsize=8)
    axes.set_title("failed trainings, %", fontsize=9)
    return figure


def differences(results: Sequence[StrategyResult], reference: str) -> Any:
    """The paired difference of quality to a reference, with its interval."""
    plot = pyplot()
    shown = [
        (r.name, estimate)
        for r in results
        if (estimate := r.to_none if reference == "none" else r.to_auto).mean is not None
    ]
    shown.sort(key=lambda item: item[1].mean or 0.0)
    figure, axes = plot.subplots(figsize=(7.5, 0.8 + 0.27 * len(shown)), layout="constrained")
    for place, (name, estimate) in enumerate(shown):
        colour = OURS if name == "auto" else OTHERS
        if estimate.interval is not None:
            axes.plot([estimate.interval.low, estimate.interval.high], [place] * 2, color=colour)
        axes.plot([estimate.mean], [place], "o", color=colour, ms=5)
    axes.axvline(0, color=GREY, lw=1)
    axes.set_yticks(range(len(shown)), [name for name, _ in shown], fontsize=8)
    axes.set_xlabel(f"quality against `{reference}`, in spreads of the task (right is better)")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def plane(distortion: dict[str, Estimate], perception: dict[str, Estimate], measure: str) -> Any:
    """The perception-distortion plane: both axes are better towards the origin."""
    plot = pyplot()
    figure, axes = plot.subplots(figsize=(7.5, 5), layout="constrained")
    for name in distortion:
        x, y = distortion[name], perception[name]
        if x.mean is None or y.mean is None:
            continue
        colour = OURS if name == "auto" else OTHERS
        for along, across, horizontal in ((x, y, True), (y, x, False)):
            if along.interval is not None:
                ends = [along.interval.low, along.interval.high]
                same = [across.mean, across.mean]
                axes.plot(*((ends, same) if horizontal else (same, ends)), color=colour, alpha=0.25)
        axes.plot([x.mean], [y.mean], "o", color=colour, ms=5)
        axes.annotate(name, (x.mean, y.mean), fontsize=7, xytext=(4, 3), textcoords="offset points")
    middle = [e.mean for e in distortion.values() if e.mean is not None]
    height = [e.mean for e in perception.values() if e.mean is not None]
    # Intervals of three seeds can be many times as wide as the points lie apart.
    axes.set_xlim(0.9 * min(middle), 1.1 * max(middle))
    axes.set_ylim(0.8 * min(height), 1.15 * max(height))
    axes.set_xlabel("distortion: RMSE of luma, grey levels")
    axes.set_ylabel(f"perception: {measure}")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
