"""Charts of a log's columns as SVG, with the spans of findings shaded."""

import html
from collections.abc import Sequence

import numpy as np

from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.diagnosis.finding import PROBLEMS, Finding
from counterpoise.logs.read import read_log
from counterpoise.pages.series import SHOWN
from counterpoise.pages.svg_chart import line_chart
from counterpoise.trace import Trace
from generated import ROOT

TITLES = dict(SHOWN)
MOST_CHARTS = 4


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
