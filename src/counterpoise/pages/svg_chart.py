"""A small line chart as SVG text, in the colours of the page around it."""

import html

import numpy as np

from counterpoise.diagnosis.finding import Finding
from counterpoise.diagnosis.found import number
from counterpoise.pages.series import buckets

WIDTH, HEIGHT = 420, 110
LEFT, RIGHT, TOP, BOTTOM = 64, 8, 8, 20
MOST_POINTS = 500


def line_chart(
    title: str, steps: np.ndarray, values: np.ndarray, shaded: tuple[Finding, ...] = ()
) -> str:
    """Values over steps, with the spans of findings shaded.

    More than `MOST_POINTS` values are drawn by the least and the largest of each group, so that no
    spike is lost.
    """
    first, last = float(steps[0]), float(steps[-1])
    low, high = float(values.min()), float(values.max())
    padding = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    low, high = low - padding, high + padding

    def x_of(step: float) -> float:
        share = (step - first) / (last - first) if last > first else 0.5
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y_of(value: float) -> float:
        return TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM)

    points = []
    groups = zip(buckets(steps, MOST_POINTS), buckets(values, MOST_POINTS), strict=True)
    for group_steps, group in groups:
        ends = [group[0]] if len(group) == 1 else [group.min(), group.max()]
        points += [f"{x_of(float(group_steps[0])):.1f},{y_of(float(v)):.1f}" for v in ends]
    shades = []
    for finding in shaded:
        start = max(LEFT, x_of(finding.first_step))
        width = max(2.0, x_of(finding.last_step) - start)
        shades.append(
            f'<rect class="{finding.severity}" x="{start:.1f}" y="{TOP}" width="{width:.1f}" '
            f'height="{HEIGHT - TOP - BOTTOM}"><title>{html.escape(finding.id)}</title></rect>'
        )
    least, most = number(float(values.min())), number(float(values.max()))
    label = html.escape(
        f"{title}: {number(float(values[0]))} at step {steps[0]}, {number(float(values[-1]))} at "
        f"step {steps[-1]}; between {least} and {most}"
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        f"<title>{label}</title>{''.join(shades)}"
        f'<polyline points="{" ".join(points)}"/>'
        f'<text x="{LEFT - 6}" y="{TOP + 10}" text-anchor="end">{most}</text>'
        f'<text x="{LEFT - 6}" y="{HEIGHT - BOTTOM}" text-anchor="end">{least}</text>'
        f'<text x="{LEFT}" y="{HEIGHT - 4}">step {steps[0]}</text>'
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 4}" text-anchor="end">{steps[-1]}</text></svg>'
    )
