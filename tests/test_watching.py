"""What is said of a watched training: its words, its pace, its judging, and what changed."""

import dataclasses
import io
import itertools

import pytest
from rich.console import Console

from counterpoise.commands import watching
from counterpoise.commands.watching import FINDINGS_SECONDS, PROGRESS_SECONDS
from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.run_status import STALE, Event, Status
from counterpoise.watching.sources import ARRIVALS, LEAST_SECONDS, Arrivals
from counterpoise.watching.state import JudgedTraining, State, action_words, held_out_words
from trace_helpers import bce_columns, trace
from watching_helpers import Clock

RUNNING = Status("running", "running")


def game(real=0.6, fake=0.4):
    whole = trace(**bce_columns(real, fake))
    return JudgedTraining(whole, diagnose(whole))


def state(step=6000, **known):
    return State("runs/mine", **({"status": RUNNING, "step": step} | known))


@pytest.fixture
def told(monkeypatch):
    """What is printed of some states, where each is seen so many seconds after the one before."""

    def tell(*states, seconds=1.0):
        clock = Clock(0.0)
        monkeypatch.setattr(watching.time, "monotonic", clock)
        console = Console(file=io.StringIO(), width=200)
        monkeypatch.setattr("rich._console", console)

        def seen():
            for each in states:
                yield each
                said.append(console.file.getvalue())
                clock.now += seconds

        said = [""]
        watching.tell(seen())
        return [after.removeprefix(before) for before, after in itertools.pairwise(said)]

    return tell


def test_what_is_wrong_is_said_once_it_is_and_once_it_is_not_any_more(told):
    well, sick = state(games=(game(),)), state(games=(game(0.9999, 0.0001),))
    first, same, wrong, again = told(well, well, sick, well, seconds=FINDINGS_SECONDS)
    assert "runs/mine" in first
    assert "Healthy" in first
    assert same == ""
    assert "d-saturated" in wrong
    assert "What to do first" in wrong
    assert "Healthy" in again
    # One that comes and goes all the time is no news each time.
    assert [bool(text) for text in told(*[sick, well] * 3)] == [True] + [False] * 5


def test_progress_is_said_now_and_then(told):
    steps = [state(step) for step in (10, 20, 30, 30)]
    assert [bool(text) for text in told(*steps)] == [True, False, False, False]
    assert told(*steps, seconds=PROGRESS_SECONDS + 1)[1:] == ["step 20\n", "step 30\n", ""]


def test_a_status_an_event_and_a_sample_are_said_as_they_come(told, tmp_path):
    stale = Status("stale", "no new step for 61 s")
    texts = told(
        state(),
        state(status=stale),
        # Its words change with every second; that is not said.
        state(status=dataclasses.replace(stale, text="for 62 s")),
        state(status=stale, events=(Event(7, "note", "saved"),)),
        state(status=stale, events=(Event(7, "note", "saved"),), sample=tmp_path / "7.png"),
    )
    assert "no new step" in texts[1]
    assert texts[2] == ""
    assert "step 7: saved" in texts[3]
    assert "7.png" in texts[4]


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
        ({"steps_per_second": 10}, "step 1,200 of 3,000, 10 steps/s, 3 min left"),
        ({"steps_per_second": 0.25, "planned_steps": None}, "step 1,200, 4 s/step"),
        ({"steps_per_second": 1, "step": 3001}, "step 3,001 of 3,000, 1 steps/s, 0 s left"),
        # Nothing is left to wait for.
        ({"steps_per_second": 1, "status": Status(STALE, "")}, "step 1,200 of 3,000"),
    ],
)
def test_progress_says_what_is_known(known, words):
    assert state(**{"step": 1200, "planned_steps": 3000} | known).progress == words


@pytest.mark.parametrize(
    ("policy", "action", "words"),
    [
        ("none", None, "trains both as configured"),
        (
            "auto",
            {"d_steps": 0, "noise_std": 0.05, "reason": "D wins"},
            "d_steps 0, noise_std 0.05 (D wins)",
        ),
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
