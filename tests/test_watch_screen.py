"""A watched training in a terminal of any size."""

import dataclasses
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.screen import Screen

from counterpoise.commands.console import printable
from counterpoise.commands.watch_screen import FOOTER, WatchScreen
from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.run_status import Event, Status
from counterpoise.watching.state import JudgedTraining, State
from counterpoise.wording import shown_series
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
    action="changes nothing",
    learning_rates=(("G", 1e-4), ("D", 1e-4)),
    games=(game(auc=0.9, d_accuracy=0.9, real_logit_mean=4.0),),
    held_out="PSNR (Y) 29.11 (bicubic 29.39)",
    sample=Path("runs/mine/samples/step-00006000.png"),
    events=(Event(0, "began", "the training begins"), Event(5900, "note", "a checkpoint")),
)
SEVERAL = dataclasses.replace(FULL, games=(game("A"), game("B")))


def screen(state, width, height):
    """The lines of a full screen, as `rich.live` draws it."""
    console = Console(
        width=width, height=height, file=io.StringIO(), force_terminal=True, color_system=None
    )
    lines = console.render_lines(Screen(WatchScreen(state, fits=True)))
    return ["".join(segment.text for segment in line) for line in lines]


def printed(state, width=80):
    console = Console(width=width, file=io.StringIO())
    console.print(WatchScreen(state, fits=False))
    return console.file.getvalue()


@given(st.integers(1, 200), st.integers(1, 70), st.booleans())
@settings(max_examples=25)
def test_it_fits_into_any_terminal(width, height, several):
    lines = screen(SEVERAL if several else FULL, width, height)
    assert len(lines) == height
    assert all(cell_len(line) == width for line in lines)
    last = [line.rstrip() for line in lines if line.strip()][-1]
    if height > 1:
        assert last == FOOTER[: len(last) - 1] + last[-1]  # cut by an ellipsis where it must be


def test_a_usual_terminal_has_room_for_the_essence():
    for width, height in ((80, 24), (100, 32), (110, 50)):
        text = "\n".join(screen(FULL, width, height))
        assert "Not healthy" in text
        assert "change first: Lower D's learning rate" in text
        assert "D(x)" in text


def test_there_are_as_many_charts_as_there_is_room_for():
    low, high = (screen(FULL, 100, height) for height in (16, 60))
    drawn = [sum("█" in line or "▄" in line for line in lines) for lines in (low, high)]
    assert 0 < drawn[0] < drawn[1]
    # Of several games, each curve of all, before the next; what they have in common is shown once.
    lines = [line for line in screen(SEVERAL, 80, 60) if "█" in line or "▄" in line]
    assert [line[:7] for line in lines][:2] == ["A: D(x)", "A: D(G("]


def test_a_screen_in_a_low_terminal_still_says_what_is_wrong():
    lines = screen(FULL, 80, 7)
    assert lines[1].strip() == "running"
    assert any("Not healthy" in line for line in lines)


def test_everything_is_printed_where_room_is_not_limited():
    text = printed(FULL)
    diagnosis = FULL.games[0].diagnosis
    for title, _ in shown_series(FULL.games[0].whole):
        assert title[:15] in text
    flat = " ".join(text.split())
    for finding in diagnosis.findings:
        assert finding.id in flat
        for evidence in finding.evidence:
            assert " ".join(evidence.text.split()) in flat
    assert "a checkpoint" in flat
    assert "the training begins" in flat
    assert FOOTER not in flat
    assert max(map(len, text.splitlines())) <= 80


def test_a_training_of_which_nothing_is_known():
    waiting = State("runs/mine", Status("waiting", "waits: no such file or folder"))
    lines = [line.rstrip() for line in screen(waiting, 60, 10)]
    assert lines[:3] == ["runs/mine", "waits: no such file or folder", FOOTER]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        ("漢字 é", "漢字 é"),
        ("a\x1b[2Jb", "a\ufffd[2Jb"),
        ("a\x1b]0;title\x07b", "a\ufffd]0;title\ufffdb"),
        ("a\tb\nc", "a b c"),
        ("log-\udcff", "log-\ufffd"),
    ],
)
def test_a_log_commands_no_terminal(text, shown):
    assert printable(text) == shown


def test_no_text_of_a_log_reaches_the_terminal_raw():
    hostile = "x\x1b[31m\x07\x9b2J[bold]"
    state = State(
        hostile,
        Status("failed", hostile),
        stage=hostile,
        policy=hostile,
        action=hostile,
        held_out=hostile,
        games=(game(hostile), game()),
        events=(Event(1, "note", hostile),),
        notes=(hostile,),
        sample=Path(hostile),
    )
    for text in (printed(state), "\n".join(screen(state, 100, 60))):
        assert "\x1b" not in text
        assert "\x07" not in text
        assert "\x9b" not in text
        assert "[bold]" in text
