"""What the pages about a diagnosis draw and say."""

import re

import numpy as np
import pytest

from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.pages.diagnosis_page import diagnosis_page
from counterpoise.pages.series import shown_series, sparkline
from counterpoise.pages.svg_chart import MOST_POINTS, line_chart
from counterpoise.pages.wording import verdict
from trace_helpers import bce_columns, trace


def test_sparkline_runs_from_the_least_to_the_largest():
    assert sparkline(np.arange(8.0), 8) == "▁▂▃▄▅▆▇█"
    assert sparkline(np.ones(3), 8) == "▄▄▄"
    assert len(sparkline(np.arange(1000.0), 48)) == 48


def test_a_chart_of_many_points_keeps_every_spike():
    values = np.zeros(100_000)
    values[61_234] = 7.0
    chart = line_chart("D(x)", np.arange(100_000), values)
    points = re.search(r'points="([^"]*)"', chart)[1].split()
    assert len(points) <= 2 * MOST_POINTS
    heights = [float(point.split(",")[1]) for point in points]
    assert heights.count(min(heights)) == 1
    assert "between 0 and 7" in chart


@pytest.mark.parametrize("values", [np.zeros(2), np.array([1e-9, 1e30]), np.full(5, -3.0)])
def test_any_values_make_a_chart_inside_its_frame(values):
    chart = line_chart("x", np.arange(len(values)), values)
    points = re.search(r'points="([^"]*)"', chart)[1].split()
    for point in points:
        x, y = map(float, point.split(","))
        assert 0 <= x <= 420
        assert 0 <= y <= 110


def test_series_leave_out_what_the_log_does_not_have():
    read = trace(10, d_loss=1.0, auc=lambda t: np.where(t > 0.4, t, np.nan))
    series = {title: values for title, _, values in shown_series(read)}
    assert set(series) == {"Loss D", "AUC"}
    assert np.isfinite(series["AUC"]).all()


def test_the_verdict_names_the_worst():
    saturated = diagnose(trace(**bce_columns(np.full(60, 0.9999), np.full(60, 0.0012))))
    assert verdict(saturated).startswith("Not healthy: one thing is seriously wrong: D is certain")
    calm = diagnose(trace(**bce_columns(np.full(60, 0.6123), np.full(60, 0.3876))))
    assert verdict(calm) == "Healthy, as far as this log can show."
    assert "cannot say" in verdict(diagnose(trace(60, d_loss=0.1)))


def test_the_page_shades_the_span_of_a_problem():
    read = trace(**bce_columns(np.full(60, 0.9999), np.full(60, 0.0012)))
    page = diagnosis_page([(read, diagnose(read))])
    assert '<rect class="severe"' in page
    assert "d-saturated" in page
    assert "--set" in page
