"""A diagnosis as one self-contained HTML page."""

from collections.abc import Sequence

from markupsafe import Markup

from counterpoise.diagnosis.finding import Diagnosis
from counterpoise.pages.series import shown_series
from counterpoise.pages.svg_chart import line_chart
from counterpoise.pages.templates import template
from counterpoise.pages.wording import headline, objective_line, span, todo, verdict
from counterpoise.trace import Trace


def diagnosis_page(runs: Sequence[tuple[Trace, Diagnosis]]) -> str:
    """HTML of the findings of one or more training runs: no script, nothing loaded from elsewhere.

    Everything that comes from a log is escaped.
    """
    sections = [
        {
            "diagnosis": diagnosis,
            "headline": headline(diagnosis),
            "verdict": verdict(diagnosis),
            "objective": objective_line(diagnosis),
            "findings": [(f, span(f), todo(f)) for f in diagnosis.findings],
            "charts": [
                (title, Markup(line_chart(title, steps, values, diagnosis.problems)))  # noqa: S704
                for title, steps, values in shown_series(trace)
            ],
        }
        for trace, diagnosis in runs
    ]
    return template("diagnosis.html").render(sections=sections)
