"""Lines that say what changed, each once."""

import dataclasses

import pytest

from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.diagnosis.news import GONE_AFTER
from counterpoise.watching.changes import PROGRESS_SECONDS, Changes
from counterpoise.watching.state import Event, Game, State, Status
from trace_helpers import bce_columns, trace
from watching_helpers import Clock

RUNNING = Status("running", "running")


def game(real=0.6, fake=0.4, title=""):
    whole = dataclasses.replace(trace(**bce_columns(real, fake)), title=title)
    return Game(whole, diagnose(whole))


def state(step=6000, **known):
    return State("runs/mine", **({"status": RUNNING, "step": step} | known))


@pytest.fixture
def clock():
    return Clock(0.0)


@pytest.fixture
def changes(clock):
    return Changes(clock)


def test_at_first_everything_is_new(changes):
    lines = changes.lines(
        state(
            stage="train",
            games=(game(),),
            total_steps=9000,
            events=(Event(0, "began", "the training begins"), Event(3, "finding", "told below")),
            notes=("1 line left out",),
        )
    )
    assert lines[:5] == [
        "runs/mine: running",
        "stage train",
        "step 0: the training begins",
        "note: 1 line left out",
        "Healthy, as far as this log can show.",
    ]
    assert lines[5].startswith("step 6,000 of 9,000, D(x) 0.6, D(G(z)) before 0.4, Loss D ")
    assert len(lines) == 6


def test_what_did_not_change_is_not_said_again(changes):
    same = state(stage="train", games=(game(),), events=(Event(0, "began", "begins"),))
    changes.lines(same)
    assert changes.lines(same) == []


def test_progress_is_said_now_and_then(changes, clock):
    assert changes.lines(state(10))[-1] == "step 10"
    clock.now += PROGRESS_SECONDS - 1
    assert changes.lines(state(20)) == []
    clock.now += 2
    assert changes.lines(state(30)) == ["step 30"]
    clock.now += PROGRESS_SECONDS + 1
    assert changes.lines(state(30)) == []  # no step, no progress
    assert changes.lines(state(40, unread_bytes=9)) == []  # still reading what is there


def test_a_status_an_event_and_a_sample_are_said_as_they_come(changes, tmp_path):
    changes.lines(state())
    stale = Status("stale", "no new step for 61 s")
    assert changes.lines(state(status=stale)) == ["runs/mine: no new step for 61 s"]
    # Its words change with every second; that is not said.
    assert changes.lines(state(status=dataclasses.replace(stale, text="for 62 s"))) == []
    ended = Event(7, "ended", "ended after step 7")
    lines = changes.lines(
        state(
            status=Status("ended", "ended after step 7"),
            events=(Event(7, "note", "saved"), ended),
            sample=tmp_path / "7.png",
        )
    )
    assert lines == [
        "runs/mine: ended after step 7",
        "step 7: saved",
        f"samples: {tmp_path / '7.png'}",
    ]


def test_a_finding_is_told_once_and_when_it_is_gone(changes):
    changes.lines(state(games=(game(),)))
    lines = changes.lines(state(games=(game(0.9999, 0.0001),)))
    assert lines[0].startswith("Not healthy: ")
    assert lines[1].startswith("d-saturated (severe) since step 100: ")
    assert lines[2].startswith("  what to change first: ")
    assert changes.lines(state(games=(game(0.9999, 0.0001),))) == []
    told = [changes.lines(state(games=(game(),))) for _ in range(GONE_AFTER)]
    assert told[:-1] == [[]] * (GONE_AFTER - 1)
    assert told[-1][0] == "Healthy, as far as this log can show."
    assert "d-saturated: no longer found" in told[-1]


def test_another_training_in_the_same_file_is_told_anew(changes):
    saturated = state(games=(game(0.9999, 0.0001),))
    first = changes.lines(saturated)
    assert changes.lines(state(None, status=RUNNING)) == []
    again = changes.lines(dataclasses.replace(saturated, games=(game(0.9999, 0.0001),)))
    found = [line for line in first if "d-saturated" in line]
    assert found
    assert [line for line in again if "d-saturated" in line] == found


def test_the_games_of_a_log_are_named(changes):
    lines = changes.lines(state(games=(game(title="A"), game(0.9999, 0.0001, title="B"))))
    assert "A: Healthy, as far as this log can show." in lines
    assert any(line.startswith("B: d-saturated (severe)") for line in lines)
