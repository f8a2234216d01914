"""Curves in the terminal."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.pages.series import SHOWN
from counterpoise.watching.curves import FIRST, braille_chart, curves
from trace_helpers import trace

FINITE = st.floats(-1e300, 1e300)


def dots(chart):
    """A chart as a picture: (4 * lines, 2 * characters), True where a dot is."""
    picture = np.zeros((4 * len(chart), 2 * len(chart[0])), bool)
    # The bits of Unicode's braille patterns, U+2800 on: dots 1 to 8 of the standard.
    order = [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (3, 0), (3, 1)]
    for line, text in enumerate(chart):
        for column, character in enumerate(text):
            bits = ord(character) - 0x2800
            for bit, (down, right) in enumerate(order):
                picture[4 * line + down, 2 * column + right] = bits >> bit & 1
    return picture


def test_every_first_column_is_one_that_is_shown():
    assert set(FIRST) <= {name for name, _ in SHOWN}
    assert len(set(FIRST)) == len(FIRST)


def test_the_most_telling_curves_come_first():
    shown = trace(d_learning_rate=1e-4, g_loss=1.0, d_real=0.5, real_logit_mean=0.1)
    titles = [curve.title for curve in curves(shown)]
    assert titles == ["D(x)", "Loss G", "D's learning rate", "mean logit on real"]


def test_values_that_are_not_there_are_left_out():
    values = np.array([1.0, np.nan, 3.0])
    (curve,) = curves(trace(3, every=10, g_loss=values, d_loss=np.array([np.nan, 1, np.nan])))
    assert curve.steps.tolist() == [10, 30]
    assert curve.values.tolist() == [1, 3]


@given(st.lists(FINITE, min_size=2, max_size=300), st.integers(1, 40), st.integers(1, 5))
def test_a_chart_fills_its_room_without_a_gap(values, width, height):
    chart = braille_chart(np.array(values), width, height)
    assert [len(line) for line in chart] == [width] * height
    picture = dots(chart)
    assert picture.any(axis=0).all()
    for left, right in zip(picture.T[:-1], picture.T[1:], strict=True):
        # Neighbours touch: their spans of rows overlap, or are one row apart.
        (a,), (b,) = np.nonzero(left), np.nonzero(right)
        assert a.min() - 1 <= b.max()
        assert b.min() - 1 <= a.max()


@given(st.lists(FINITE, min_size=2, max_size=300, unique=True))
def test_no_spike_is_lost(values):
    picture = dots(braille_chart(np.array(values), 20, 3))
    assert picture[0].any()
    assert picture[-1].any()


def test_a_rising_line_rises():
    picture = dots(braille_chart(np.arange(100.0), 25, 2))
    lowest = [int(np.flatnonzero(column).max()) for column in picture.T]
    assert lowest == sorted(lowest, reverse=True)
    assert (lowest[0], lowest[-1]) == (7, 0)


def test_equal_values_are_a_line_in_the_middle():
    picture = dots(braille_chart(np.full(9, 3.0), 5, 2))
    assert picture.sum(axis=0).tolist() == [1] * 10
    assert picture[4].all()
