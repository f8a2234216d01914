"""The page of a watched training in a real browser (needs chromium and selenium)."""

import shutil

import pytest

from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.watching.server import Board, WatchServer
from counterpoise.watching.state import Event, Game, State, Status
from trace_helpers import bce_columns, trace

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium is not here")

OWNED = "document.title='owned'"
HOSTILE = f'"\'><script>{OWNED}</script><img src=x onerror="{OWNED}">'
WAIT_SECONDS = 60.0


@pytest.fixture
def browser(tmp_path):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=DRIVER)
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield driver
    finally:
        driver.quit()


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
        return browser.execute_script(f"return document.getElementById('{part}').innerText")

    def is_lost():
        return browser.execute_script("return !document.getElementById('lost').hidden")

    wait = WebDriverWait(browser, WAIT_SECONDS, poll_frequency=0.05)
    board = Board(state(1))
    with WatchServer(board, 0) as server:
        port = server.server_port
        browser.get(server.url)
        assert text("name") == HOSTILE
        assert text("progress") == "step 1"
        assert "Not healthy" in text("verdict")
        details = browser.find_element("css selector", "#findings details")
        details.find_element("css selector", "summary").click()
        board.publish(state(2, status=Status("stale", "no new step for 61 s")))
        wait.until(lambda _: text("progress") == "step 2")
        assert text("status") == "no new step for 61 s"
        # What was opened stays open, though it came anew.
        whole = trace(**bce_columns(0.999, 0.001))
        board.publish(state(3, games=(Game(whole, diagnose(whole)),)))
        wait.until(lambda _: text("progress") == "step 3")
        opened = "return document.querySelector('#findings details').open"
        assert browser.execute_script(opened)
        # On a telephone, nothing sticks out.
        size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
        assert not is_lost()
    wait.until(lambda _: is_lost())
    assert text("progress") == "step 3"
    with WatchServer(Board(state(4)), port):
        wait.until(lambda _: text("progress") == "step 4")
        assert not is_lost()
    # No script of the log's ran, and none of ours was kept from running.
    assert browser.title == f"{HOSTILE}: counterpoise watch"
    messages = [entry["message"] for entry in browser.get_log("browser")]
    assert not [m for m in messages if "Content Security Policy" in m or "Uncaught" in m]
