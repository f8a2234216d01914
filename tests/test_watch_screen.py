"""A watched training in a terminal of any size."""

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console
from rich.screen import Screen
from rich.text import Text

from counterpoise.commands.curves import shown_series
from counterpoise.commands.watch_screen import screen
from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.run_status import Event, Status
from counterpoise.watching.state import JudgedTraining, State
from trace_helpers import bce_columns, trace

RUNNING = Status("running", "running")


def game(title="", **more):
    whole = dataclasses.replace(trace(**(bce_columns(0.9999, 0.0001) | more)), title=title)
    return JudgedTraining(whole, diagnose(whole))


FULL = State(
    "runs/mine",
    RUNNING,
    stage="train",
    step=6000,
    planned_steps=9000,
    steps_per_second=2.0,
    policy="threshold",
    facts=(("stage", "train"), ("policy", "threshold: changes nothing")),
    games=(game(auc=0.9, d_accuracy=0.9, real_logit_mean=4.0),),
    sample=Path("runs/mine/samples/step-00006000.png"),
    events=(Event(0, "began", "the training begins"), Event(5900, "note", "a checkpoint")),
)


def drawn(state, width=80, height=60):
    """The lines of a full screen, as `rich.live` draws it."""
    console = Console(
        width=width, height=height, file=io.StringIO(), force_terminal=True, color_system=None
    )
    text = Text.from_ansi(screen(state, width), no_wrap=True, overflow="crop")
    lines = console.render_lines(Screen(text))
    return ["".join(segment.text for segment in line) for line in lines]


@pytest.mark.parametrize(("width", "height"), [(1, 1), (30, 7), (80, 24), (110, 50)])
def test_it_says_what_is_wrong_in_any_terminal(width, height):
    lines = drawn(FULL, width, height)
    assert [len(line) for line in lines] == [width] * height
    text = "\n".join(lines)
    assert ("Not healthy" in text) == (width >= 30)
    assert ("to do first: If D has batch" in text) == (width >= 80)
    assert ("D(x)" in text) == (width >= 80)


def test_everything_is_there_where_there_is_room():
    lines = drawn(FULL)
    text = "\n".join(lines)
    for title, _ in shown_series(FULL.games[0].whole):
        assert title[:15] in text
    for part in ("step 6,000 of 9,000, 2 steps/s, 25 min left", "d-saturated", "a checkpoint",
                 "step-00006000.png", "changes nothing", "BCE"):  # fmt: skip
        assert part in text
    assert text.count("train ") == 1  # the stage, at the top alone


def test_of_several_games_each_curve_of_all_comes_before_the_next():
    games = game("A"), game("B", d_real=0.9)
    lines = [line for line in drawn(dataclasses.replace(FULL, games=games)) if "▄" in line]
    names = [line.partition("  ")[0] for line in lines]
    assert names[:3] == ["A: D(x)", "B: D(x)", "D(G(z)) before"]  # what is alike, once


def test_no_text_of_a_log_reaches_the_terminal_raw():
    hostile = "x\x1b[31m\x07\x9b2J[bold]"
    state = State(
        hostile,
        Status("failed", hostile),
        stage=hostile,
        policy=hostile,
        facts=((hostile, hostile),),
        games=(game(hostile), game()),
        events=(Event(1, "note", hostile),),
        notes=(hostile,),
        sample=Path(hostile),
    )
    text = "\n".join(drawn(state, 100))
    assert not set("\x1b\x07\x9b") & set(text)
    assert "[bold]" in text
