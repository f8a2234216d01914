"""Charts of a log's columns as SVG files, with the spans of findings shaded."""

import functools
import html
from collections.abc import Sequence

import numpy as np

from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.diagnosis.finding import PROBLEMS, Finding, number
from counterpoise.diagnosis.wording import SHOWN
from counterpoise.logs.read import read_log
from counterpoise.trace import Trace
from generated import ROOT, Pages

# Below docs/.
FOLDER = "images/charts"
# The question's own logs, by the names of their charts.
QUESTION = {name: f"tests/data/seed/{name}.log" for name in ("bce_epoch1", "bce_epoch3")}
QUESTION["mse_epoch1"] = "tests/data/seed/mse_epoch1.log"
TITLES = dict(SHOWN)
MOST_CURVES = 4
WIDTH, HEIGHT = 560, 64
LEFT, RIGHT, TOP, BOTTOM = 64, 10, 24, 22
# A picture does not know the page around it, so it has a ground of its own.
STYLE = """\
svg { font: 12px sans-serif; }
.ground { fill: #fff; } text { fill: #555; } .name { fill: #111; }
polyline { fill: none; stroke: #0a5fb4; stroke-width: 1.6; }
rect { fill: #8a5a00; fill-opacity: .14; } .severe { fill: #b3261e; }
@media (prefers-color-scheme: dark) {
  .ground { fill: #1e2029; } text { fill: #aaa; } .name { fill: #eee; }
  polyline { stroke: #74b4f5; } rect { fill: #f0c060; } .severe { fill: #ff9a92; }
}
"""


def pages() -> Pages:
    """The charts of the question's logs."""
    return {f"{FOLDER}/{name}.svg": log_chart(name)[0] for name in QUESTION}


@functools.cache
def log_chart(name: str) -> tuple[str, str]:
    """D's outputs and the losses of one of the question's logs, its problems shaded."""
    trace = read_log(ROOT / QUESTION[name])[0]
    problems = tuple(f for f in diagnose(trace).findings if f.severity in PROBLEMS)
    return chart(trace, ("d_real", "d_fake_before", "d_loss", "g_loss"), problems)


def chart(trace: Trace, columns: Sequence[str], shaded: Sequence[Finding]) -> tuple[str, str]:
    """The columns beneath each other over the same steps, and what they show, in words.

    Where the log has none of the columns, its first ones.
    """
    known = [name for name in TITLES if int(np.isfinite(trace.get(name)).sum()) > 1]
    chosen = [name for name in columns if name in known] or known[:MOST_CURVES]
    rows = np.isfinite([trace.get(name) for name in chosen]).any(axis=0)
    first, last = (int(trace.steps[rows][at]) for at in (0, -1))
    scale = (WIDTH - LEFT - RIGHT) / max(1, last - first)

    def x_of(step: float) -> float:
        return LEFT + (min(max(step, first), last) - first) * scale

    curves, words = [], []
    for place, name in enumerate(chosen):
        there = np.isfinite(trace.get(name))
        xs = [x_of(step) for step in trace.steps[there]]
        curve, said = _curve(TITLES[name], xs, trace.get(name)[there], place)
        curves.append(curve)
        words.append(said)
    bottom = len(chosen) * (TOP + HEIGHT)
    shades = "".join(
        f'<rect class="{finding.severity}" x="{x_of(finding.first_step):.1f}" y="0" '
        f'width="{max(2.0, x_of(finding.last_step) - x_of(finding.first_step)):.1f}" '
        f'height="{bottom}"><title>{html.escape(finding.id)}</title></rect>\n'
        for finding in shaded
    )
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{bottom + BOTTOM}" '
        f'viewBox="0 0 {WIDTH} {bottom + BOTTOM}">\n<style>\n{STYLE}</style>\n'
        f'<rect class="ground" style="fill-opacity: 1" width="100%" height="100%"/>\n{shades}'
        f"{''.join(curves)}"
        f'<text x="{LEFT}" y="{bottom + 15}">step {first}</text>\n'
        f'<text x="{WIDTH - RIGHT}" y="{bottom + 15}" text-anchor="end">{last}</text>\n</svg>\n'
    )
    return svg, f"From step {first} to {last}. {'; '.join(words)}"


def _curve(title: str, xs: Sequence[float], values: np.ndarray, place: int) -> tuple[str, str]:
    """One column's curve, the `place`-th from the top, and its numbers in words."""
    low, high = float(values.min()), float(values.max())
    top = place * (TOP + HEIGHT) + TOP
    ys = [top + (high - value) / ((high - low) or 1.0) * HEIGHT for value in values]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
    least, most = number(low), number(high)
    curve = (
        f'<text class="name" x="{LEFT + 4}" y="{top - 8}">{html.escape(title)}</text>\n'
        f'<text x="{LEFT - 6}" y="{top + 8}" text-anchor="end">{most}</text>\n'
        f'<text x="{LEFT - 6}" y="{top + HEIGHT}" text-anchor="end">{least}</text>\n'
        f'<polyline points="{points}"/>\n'
    )
    ends = f"{number(float(values[0]))} to {number(float(values[-1]))}"
    return curve, f"{title}: {ends}, between {least} and {most}"
