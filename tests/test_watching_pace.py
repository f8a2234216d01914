"""How fast a training goes, by when its steps were seen."""

import pytest

from counterpoise.watching.pace import (
    LEAST_SECONDS,
    LINES_OF_PATIENCE,
    STEPS_OF_PATIENCE,
    WINDOW_SECONDS,
    Arrivals,
    patience_seconds,
    steps_per_second,
)


def seen(*arrivals):
    collected = Arrivals()
    for seconds, step in arrivals:
        collected.add(seconds, step)
    return collected


def test_the_pace_is_that_of_what_was_seen():
    assert seen((0, 100), (10, 120), (20, 150)).steps_per_second() == pytest.approx(2.5)


def test_too_little_says_nothing():
    assert seen().steps_per_second() is None
    assert seen((0, 1)).steps_per_second() is None
    assert seen((0, 1), (LEAST_SECONDS / 2, 50)).steps_per_second() is None


def test_the_pace_forgets_what_is_long_past():
    slow, fast = [(t, t) for t in range(0, 100, 10)], [(100 + t, 100 + 9 * t) for t in range(200)]
    assert seen(*slow, *fast).steps_per_second() == pytest.approx(9, rel=0.01)


def test_rare_arrivals_are_kept_however_long_they_take():
    hours = [(3600 * t, 100 * t) for t in range(10)]
    assert WINDOW_SECONDS < 3600
    assert seen(*hours).steps_per_second() == pytest.approx(100 / 3600)


def test_an_earlier_step_begins_anew():
    arrivals = seen((0, 100), (20, 200), (21, 50))
    assert arrivals.steps_per_second() is None
    arrivals.add(41, 70)
    assert arrivals.steps_per_second() == pytest.approx(1)


def test_the_same_step_again_is_no_arrival():
    arrivals = seen((0, 1), (50, 2), (99, 2))
    assert len(arrivals) == 2
    assert arrivals.longest_gap_seconds() == 50


def test_before_a_pace_was_seen_it_is_what_the_steps_say():
    assert steps_per_second(seen(), [0.5, 0.25, 0.25]) == pytest.approx(3)
    assert steps_per_second(seen((0, 0), (20, 20)), [0.5]) == pytest.approx(1)
    assert steps_per_second(seen(), []) is None


def test_slow_steps_are_waited_for():
    assert patience_seconds(seen(), [], 60) == 60
    assert patience_seconds(seen(), [10.0, 10.0, 500.0], 60) == STEPS_OF_PATIENCE * 10
    assert patience_seconds(seen((0, 1), (100, 2), (130, 3)), [], 60) == LINES_OF_PATIENCE * 100
