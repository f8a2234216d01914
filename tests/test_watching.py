"""What is said of a watched training: its words, its pace, its judging, and what changed."""

import dataclasses

import pytest

from counterpoise.commands.watching import PROGRESS_SECONDS, Changes
from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.diagnosis.news import GONE_AFTER
from counterpoise.run_status import STALE, Event, Status
from counterpoise.watching.sources import ARRIVALS, LEAST_SECONDS, Arrivals
from counterpoise.watching.state import JudgedTraining, State, action_words, held_out_words
from trace_helpers import bce_columns, trace
from watching_helpers import Clock

RUNNING = Status("running", "running")


def game(real=0.6, fake=0.4, title=""):
    whole = dataclasses.replace(trace(**bce_columns(real, fake)), title=title)
    return JudgedTraining(whole, diagnose(whole))


def state(step=6000, **known):
    return State("runs/mine", **({"status": RUNNING, "step": step} | known))


@pytest.fixture
def clock():
    return Clock(0.0)


@pytest.fixture
def changes(clock):
    return Changes(clock)


def test_at_first_everything_is_new_and_said_once(changes):
    first = state(
        stage="train",
        games=(game(),),
        planned_steps=9000,
        events=(Event(0, "began", "the training begins"), Event(3, "finding", "told below")),
        notes=("1 line left out",),
    )
    lines = changes.lines(first)
    assert changes.lines(first) == []
    assert lines[:5] == [
        "runs/mine: running",
        "stage train",
        "step 0: the training begins",
        "note: 1 line left out",
        "Healthy, as far as this log can show.",
    ]
    assert lines[5].startswith("step 6,000 of 9,000, D(x) 0.6, D(G(z)) before 0.4, ")
    assert len(lines) == 6


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
    assert lines[0].startswith("Not healthy, ")
    assert lines[1].startswith("d-saturated (severe) since step 100: ")
    assert lines[2].startswith("  what to do first: ")
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


# ------------------------------------------------------------------------------ pace


def seen(*arrivals):
    collected = Arrivals()
    for seconds, step in arrivals:
        collected.add(seconds, step)
    return collected


SLOW, FAST = [(t, t) for t in range(9)], [(10 + t, 10 + 9 * t) for t in range(ARRIVALS)]


@pytest.mark.parametrize(
    ("arrivals", "step_seconds", "pace"),
    [
        ([(0, 100), (10, 120), (20, 150)], [], 2.5),
        ([], [], None),
        ([(0, 1), (LEAST_SECONDS / 2, 50)], [], None),
        ([*SLOW, *FAST], [], 9),  # what is long past is forgotten
        # An earlier step begins anew.
        ([(0, 100), (20, 200), (21, 50)], [], None),
        ([(0, 100), (20, 200), (21, 50), (41, 70)], [], 1),
        # Before a pace was seen it is what the steps say.
        ([], [0.5, 0.25, 0.25], 3),
        ([(0, 0), (20, 20)], [0.5], 1),
    ],
)
def test_the_pace_is_that_of_what_was_seen(arrivals, step_seconds, pace):
    found = seen(*arrivals).steps_per_second(step_seconds)
    assert found == (None if pace is None else pytest.approx(pace, rel=0.01))


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({}, "step 1,200 of 3,000"),
        ({"step": None}, "no step yet"),
        ({"planned_steps": None}, "step 1,200"),
        ({"steps_per_second": 10}, "step 1,200 of 3,000, 10 steps/s, 3 min left"),
        ({"steps_per_second": 0.25, "planned_steps": None}, "step 1,200, 4 s/step"),
        ({"steps_per_second": 1, "step": 3001}, "step 3,001 of 3,000, 1 steps/s, 0 s left"),
        # Nothing is left to wait for.
        ({"steps_per_second": 1, "status": Status(STALE, "")}, "step 1,200 of 3,000"),
    ],
)
def test_progress_says_what_is_known(known, words):
    assert state(**{"step": 1200, "planned_steps": 3000} | known).progress == words


# ------------------------------------------------------------------------------ words


@pytest.mark.parametrize(
    ("policy", "action", "words"),
    [
        ("none", None, "trains both as configured"),
        ("threshold", None, "not asked in this stage"),
        ("threshold", {}, "changes nothing"),
        (
            "auto",
            {"d_steps": 0, "noise_std": 0.05, "reason": "D wins"},
            "d_steps 0, noise_std 0.05 (D wins)",
        ),
        ("auto", {"g_steps": 2}, "g_steps 2"),
        ("auto", {"d_steps": 10**400}, "d_steps inf"),
        ("x", {"d_steps": "many", "keep_snapshot": True}, "keep_snapshot 1"),
    ],
)
def test_what_a_policy_does(policy, action, words):
    assert action_words(policy, action) == words


def test_metrics_stand_beside_those_of_bicubic():
    rows = [
        {"stage": "bicubic", "psnr_y": 29.39},
        {"stage": "train", "psnr_y": 1.0},
        {"stage": "train", "psnr_y": 29.1134, "ssim_y": 0.8391},
    ]
    assert held_out_words(rows, "train") == "PSNR (Y) 29.11 (bicubic 29.39), SSIM (Y) 0.8391"
    assert held_out_words(rows, "pretrain") == ""
    assert held_out_words([{"stage": "train", "psnr_y": "good"}], "train") == ""
    assert held_out_words([{"stage": "train", "psnr_y": 10**400}], "train") == "PSNR (Y) inf"
