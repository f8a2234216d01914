"""A diagnosis costs a small share of the time."""

import pytest

from counterpoise.watching import judge as judging
from counterpoise.watching.judge import REST, Judge
from trace_helpers import bce_columns, trace
from watching_helpers import Clock

HEALTHY = trace(**bce_columns(0.6, 0.4))


@pytest.fixture
def clock():
    return Clock(1000.0)


@pytest.fixture
def judge(clock, monkeypatch):
    """One whose diagnoses take two seconds."""
    diagnose = judging.diagnose

    def slowly(trace, **options):
        clock.now += 2.0
        return diagnose(trace, **options)

    monkeypatch.setattr(judging, "diagnose", slowly)
    return Judge(clock)


class Rows:
    """Counts how often the rows are asked for."""

    def __init__(self, has_d=True):
        self.asked, self._has_d = 0, has_d

    def __call__(self):
        self.asked += 1
        yield HEALTHY, HEALTHY, self._has_d


def test_nothing_is_judged_before_there_are_rows(judge):
    rows = Rows()
    assert judge.games(rows, now=False) == ()
    assert judge.games(rows, now=True) == ()
    assert rows.asked == 0


def test_the_first_rows_are_judged_at_once(judge):
    rows = Rows()
    judge.outdate()
    (game,) = judge.games(rows, now=False)
    assert game.whole is HEALTHY
    assert game.diagnosis.healthy


def test_without_new_rows_the_games_are_the_same(judge, clock):
    rows = Rows()
    judge.outdate()
    games = judge.games(rows, now=False)
    clock.now += 1000
    assert judge.games(rows, now=True) is games
    assert rows.asked == 1


def test_a_diagnosis_rests_as_long_as_it_was_slow(judge, clock):
    rows = Rows()
    judge.outdate()
    games = judge.games(rows, now=False)
    judge.outdate()
    clock.now += 2 * REST - 0.1
    assert judge.games(rows, now=False) is games
    clock.now += 0.2
    assert judge.games(rows, now=False) is not games
    assert rows.asked == 2


def test_it_can_be_asked_for_at_once(judge):
    rows = Rows()
    judge.outdate()
    judge.games(rows, now=False)
    judge.outdate()
    judge.games(rows, now=True)
    assert rows.asked == 2


def test_another_training_is_judged_at_once(judge):
    rows = Rows()
    judge.outdate()
    judge.games(rows, now=False)
    judge.forget()
    assert judge.games(lambda: iter(()), now=False) == ()


def test_g_alone_is_not_judged(judge):
    judge.outdate()
    (game,) = judge.games(Rows(has_d=False), now=False)
    assert game.diagnosis is None
    assert game.goes_back is False
