"""Charts of a log's columns as SVG, with the spans of findings shaded."""

import html
from collections.abc import Sequence

import numpy as np

from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.diagnosis.finding import PROBLEMS, Finding
from counterpoise.diagnosis.found import number
from counterpoise.diagnosis.wording import SHOWN
from counterpoise.logs.read import read_log
from counterpoise.trace import Trace
from generated import ROOT

TITLES = dict(SHOWN)
MOST_CHARTS = 4
WIDTH, HEIGHT = 420, 110
LEFT, RIGHT, TOP, BOTTOM = 64, 8, 8, 20


def charts(trace: Trace, columns: Sequence[str], shaded: tuple[Finding, ...]) -> str:
    """The columns side by side; where the log has none of them, its first ones."""
    known = [name for name in TITLES if int(np.isfinite(trace.get(name)).sum()) > 1]
    chosen = [name for name in columns if name in known] or known[:MOST_CHARTS]
    figures = []
    for name in chosen:
        values = trace.get(name)
        rows = np.isfinite(values)
        chart = line_chart(TITLES[name], trace.steps[rows], values[rows], shaded)
        figures.append(
            f"<figure>{chart}<figcaption>{html.escape(TITLES[name])}</figcaption></figure>"
        )
    # One line: Markdown would otherwise look for blocks inside.
    return f'<div class="charts" data-search-exclude>{"".join(figures)}</div>'


def log_charts(path: str) -> str:
    """D's outputs and the losses of one log, its problems shaded."""
    trace = read_log(ROOT / path)[0]
    problems = tuple(f for f in diagnose(trace).findings if f.severity in PROBLEMS)
    return charts(trace, ("d_real", "d_fake_before", "d_loss", "g_loss"), problems)


def line_chart(
    title: str, steps: np.ndarray, values: np.ndarray, shaded: tuple[Finding, ...]
) -> str:
    """Values over steps, with the spans of findings shaded, in the colours of the page around."""
    first, last = float(steps[0]), float(steps[-1])
    low, high = float(values.min()), float(values.max())
    padding = (high - low) * 0.05 or abs(high) * 0.05 or 1.0

    def x_of(step: float) -> float:
        return LEFT + (step - first) / max(1.0, last - first) * (WIDTH - LEFT - RIGHT)

    def y_of(value: float) -> float:
        share = (high + padding - value) / (high - low + 2 * padding)
        return TOP + share * (HEIGHT - TOP - BOTTOM)

    points = " ".join(
        f"{x_of(float(step)):.1f},{y_of(float(value)):.1f}"
        for step, value in zip(steps, values, strict=True)
    )
    shades = "".join(
        f'<rect class="{finding.severity}" x="{max(LEFT, x_of(finding.first_step)):.1f}" y="{TOP}" '
        f'width="{max(2.0, x_of(finding.last_step) - max(LEFT, x_of(finding.first_step))):.1f}" '
        f'height="{HEIGHT - TOP - BOTTOM}"><title>{html.escape(finding.id)}</title></rect>'
        for finding in shaded
    )
    least, most = number(low), number(high)
    label = html.escape(
        f"{title}: {number(float(values[0]))} at step {steps[0]}, {number(float(values[-1]))} at "
        f"step {steps[-1]}; between {least} and {most}"
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        f'<title>{label}</title>{shades}<polyline points="{points}"/>'
        f'<text x="{LEFT - 6}" y="{TOP + 10}" text-anchor="end">{most}</text>'
        f'<text x="{LEFT - 6}" y="{HEIGHT - BOTTOM}" text-anchor="end">{least}</text>'
        f'<text x="{LEFT}" y="{HEIGHT - 4}">step {steps[0]}</text>'
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 4}" text-anchor="end">{steps[-1]}</text></svg>'
    )
