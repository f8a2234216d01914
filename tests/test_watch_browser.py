"""The page of a watched training in a real browser."""

import pytest

from browser_helpers import open_browser
from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.watching.server import Board, WatchServer
from counterpoise.watching.state import Event, Game, State, Status
from trace_helpers import bce_columns, trace

OWNED = "document.title='owned'"
HOSTILE = f'"\'><script>{OWNED}</script><img src=x onerror="{OWNED}">'


@pytest.fixture
def browser():
    with open_browser() as browser:
        yield browser


def state(step, **known):
    whole = trace(**bce_columns(0.9999, 0.0001), auc=0.9, d_accuracy=1.0)
    return State(
        **{
            "source": HOSTILE,
            "status": Status("running", "running"),
            "step": step,
            "games": (Game(whole, diagnose(whole)),),
            "events": (Event(step, "note", HOSTILE),),
        }
        | known
    )


def test_the_page_follows_keeps_what_is_open_and_says_when_it_is_lost(browser):
    def text(part):
        return browser.run(f"return document.getElementById('{part}').innerText")

    def is_lost():
        return browser.run("return !document.getElementById('lost').hidden")

    def wait_for_step(step):
        shown = "return document.getElementById('progress').innerText === arguments[0]"
        browser.wait_for(shown, f"step {step}")

    board = Board(state(1))
    with WatchServer(board, 0) as server:
        port = server.server_port
        browser.open(server.url)
        assert text("name") == HOSTILE
        assert text("progress") == "step 1"
        assert "Not healthy" in text("verdict")
        browser.click("#findings details summary")
        board.publish(state(2, status=Status("stale", "no new step for 61 s")))
        wait_for_step(2)
        assert text("status") == "no new step for 61 s"
        # What was opened stays open, though it came anew.
        whole = trace(**bce_columns(0.999, 0.001))
        board.publish(state(3, games=(Game(whole, diagnose(whole)),)))
        wait_for_step(3)
        opened = "return document.querySelector('#findings details').open"
        assert browser.run(opened)
        # On a telephone, nothing sticks out.
        browser.emulate(width_px=390, height_px=800)
        assert browser.run("return document.documentElement.scrollWidth") <= 390
        assert not is_lost()
    browser.wait_for("return !document.getElementById('lost').hidden")
    assert text("progress") == "step 3"
    with WatchServer(Board(state(4)), port):
        wait_for_step(4)
        assert not is_lost()
    # No script of the log's ran, and none of ours was kept from running.
    assert browser.run("return document.title") == f"{HOSTILE}: counterpoise watch"
    assert not [
        m for m in browser.complaints() if "Content Security Policy" in m or "Uncaught" in m
    ]
