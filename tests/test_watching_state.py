"""Whether a training goes on, and what is said of it."""

from datetime import UTC, datetime, timedelta

import pytest

from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.run_folder import CLOSED, DIVERGED, ENDED, FAILED, INTERRUPTED, STOPPED_EARLY
from counterpoise.watching.state import (
    RUNNING,
    STALE,
    STARTING,
    Event,
    Game,
    State,
    Status,
    facts,
    status_of,
)
from trace_helpers import bce_columns, trace


def status(**known):
    given = {
        "step": 50,
        "total_steps": 100,
        "last": None,
        "quiet_seconds": 1.0,
        "patience_seconds": 60.0,
    }
    return status_of("runs/mine", **(given | known))


def test_a_training_that_makes_steps():
    assert status() == Status(RUNNING, "running")
    assert status(step=None).kind == STARTING


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (ENDED, "ended after step 50"),
        (INTERRUPTED, "interrupted after step 50; go on: counterpoise resume runs/mine"),
        (DIVERGED, "diverged: G's loss is nan"),
        (FAILED, "G's loss is nan"),
        (CLOSED, "closed after step 50: its loop ended, or broke off"),
    ],
)
def test_how_a_training_says_that_it_ended(kind, text):
    said = status(last=Event(50, kind, "G's loss is nan"), quiet_seconds=1e6)
    assert said == Status(kind, text)


def test_a_stop_that_saved_nothing_says_so():
    said = status(last=Event(50, INTERRUPTED, "stopped at once after step 50, without saving"))
    assert said.text.startswith("interrupted after step 50, without saving; go on:")


def test_a_training_that_stopped_early_says_why_and_how_to_go_on():
    said = status(last=Event(50, STOPPED_EARLY, "stopped early at step 50 because nothing comes"))
    assert said.kind == ENDED
    assert said.text == (
        "stopped early at step 50 because nothing comes; "
        "go on all the same: counterpoise resume runs/mine --stop never"
    )


def test_steps_after_the_end_say_that_it_goes_on():
    assert status(step=51, last=Event(50, INTERRUPTED, "")).kind == RUNNING
    assert status(last=Event(50, "resumed", "")).kind == RUNNING


def test_a_training_that_failed_before_its_first_step():
    assert status(step=None, last=Event(0, FAILED, "no space left")).text == "no space left"


def test_all_steps_are_the_end_too():
    assert status(step=100).text == "ended: all 100 steps are done"


def test_a_training_that_says_nothing_for_long():
    assert status(quiet_seconds=61) == Status(
        STALE, "no new step for 61 s: it hangs, or was killed"
    )
    assert status(quiet_seconds=61, patience_seconds=62).kind == RUNNING
    assert status(step=None, quiet_seconds=300).text.startswith(
        "no step yet, and nothing new for 5 min"
    )
    foreign = status(quiet_seconds=300, own_run=False)
    assert foreign.text == "no new line for 5 min: ended, or hangs"


def test_the_time_that_is_left():
    running = State("run", Status(RUNNING, ""), step=40, total_steps=100, steps_per_second=2.0)
    assert running.seconds_left == 30
    assert running.progress == "step 40 of 100, 2 steps/s, 30 s left"


@pytest.mark.parametrize("kind", [ENDED, STALE, INTERRUPTED])
def test_nothing_is_left_to_wait_for_where_nothing_runs(kind):
    over = State("run", Status(kind, ""), step=40, total_steps=100, steps_per_second=2.0)
    assert over.progress == "step 40 of 100"


def test_a_training_beyond_its_plan_has_nothing_left():
    beyond = State("run", Status(RUNNING, ""), step=101, total_steps=100, steps_per_second=2.0)
    assert beyond.seconds_left == 0


def test_events_say_the_day_only_where_it_is_not_today():
    now = datetime.now(UTC).astimezone()
    assert Event(1, "note", "", now).clock == f"{now:%H:%M}"
    past = now - timedelta(days=3)
    assert Event(1, "note", "", past).clock == f"{past:%Y-%m-%d %H:%M}"
    assert Event(1, "note", "").clock == ""


def test_what_the_losses_are_judged_as_is_said_once():
    game = Game(judged := trace(**bce_columns(0.6, 0.4)), diagnose(judged))
    ((label, words),) = facts(State("log", Status(RUNNING, ""), games=(game, game)))
    assert label == "objective"
    assert words == f"BCE, non-saturating: {game.diagnosis.objective_evidence}."
    unknown = Game(judged := trace(d_loss=0.3), diagnose(judged))
    ((_, words),) = facts(State("log", Status(RUNNING, ""), games=(unknown,)))
    assert words.startswith("unknown (say it with --objective): ")


def test_facts_are_those_that_are_known():
    assert facts(State("log", Status(RUNNING, ""))) == []
    state = State(
        "run",
        Status(RUNNING, ""),
        stage="train",
        policy="threshold",
        action="changes nothing",
        learning_rates=(("G", 1e-4), ("D", 2.5e-5)),
        held_out="PSNR (Y) 29.11",
        notes=("1 line left out",),
    )
    assert facts(state) == [
        ("stage", "train"),
        ("policy", "threshold: changes nothing"),
        ("learning rates", "G 0.0001, D 2.5e-05"),
        ("held out", "PSNR (Y) 29.11"),
        ("note", "1 line left out"),
    ]
