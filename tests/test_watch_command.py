"""`watch` on the command line: once, live, and where it cannot."""

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import threading
import urllib.request
from functools import partial
from pathlib import Path

import pytest

from counterpoise import json_lines
from counterpoise.commands import watching
from counterpoise.watching.sources import WatchOptions, open_source
from helpers import one_line
from watching_helpers import SEED, append, begin_run, seed_lines

LOG = SEED / "bce_epoch3.log"
GUARD_SECONDS = 60.0


@pytest.fixture
def path(tmp_path):
    return tmp_path / "train.log"


@pytest.mark.parametrize("words", [("watch", "--once"), ("diagnose",), ("report",)])
def test_a_run_whose_signals_are_compressed_is_not_called_empty(counterpoise, tmp_path, words):
    run = begin_run(tmp_path / "run", steps=3)
    run.signals.rename(tmp_path / "run" / "signals.jsonl.gz")
    one_line(counterpoise(*words, run.path), "signals.jsonl.gz")


def test_once_takes_what_is_said_of_a_log(counterpoise, path):
    append(path, *(f"step: {s} one: 0.69{s % 4} other: 1.2{s % 3}\n" for s in range(1, 30)))
    options = ("--map", "one=d_loss", "--map", "other=g_loss")
    options += ("--objective", "bce", "--d-loss-is-mean")
    _, said, _ = counterpoise("watch", path, "--once", *options)
    assert "does not tell real from fake" in said.replace("\n", " ")


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        (None, (), "no such file or folder; give a run folder or a log file"),
        (b"hello\n", ("--once",), "no losses or outputs of D that are known"),
        (b"foo,bar\n1,2\n", ("--once",), "its numbers are foo, bar"),
        (b"", ("--once", "--web"), "--once with --web"),
        (b"", ("--objective", "bcd"), "bcd"),
        (b"", ("--map", "errD=nothing"), "nothing"),
    ],
)
def test_bad_input_is_one_line(counterpoise, path, content, options, said):
    if content is not None:
        path.write_bytes(content)
    one_line(counterpoise("watch", path, *options), said)


class StopError(Exception):
    """In place of Ctrl-C, which pytest would take for its own."""


def test_states_come_at_their_pace_and_without_a_pause_while_reading(tmp_path, monkeypatch):
    path = begin_run(tmp_path / "run", steps=40).path
    monkeypatch.setattr(json_lines, "MOST_BYTES_AT_ONCE", 500)
    monkeypatch.setattr(watching, "EVERY_SECONDS", 0.01)
    slept, seen = [], []

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 2:
            raise StopError

    with pytest.raises(StopError):
        for state in watching.states(open_source(path, WatchOptions()).look, sleep):
            seen.append(state)
    assert seen[-1].unread_bytes == 0
    assert all(state.unread_bytes for state in seen[:-2])
    assert all(seconds >= 0.01 for seconds in slept)


@pytest.fixture
def start(tmp_path):
    """Start `watch` as a process of its own."""
    with contextlib.ExitStack() as stack:

        def run(*arguments, **options):
            command = [sys.executable, "-m", "counterpoise", "watch", *map(str, arguments)]
            # A suite that a script runs in the background is deaf to Ctrl-C, and so would this be.
            hears = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
            process = stack.enter_context(
                subprocess.Popen(command, text=True, preexec_fn=hears, **options)
            )
            # Whoever waits for what it never says gets the end of its output.
            guard = threading.Timer(GUARD_SECONDS, process.kill)
            guard.start()
            stack.callback(process.kill)
            stack.callback(guard.cancel)
            return process

        yield run


def until(lines, text):
    """Lines up to the one with a text."""
    told = []
    for line in lines:
        told.append(line)
        if text in line:
            return told
    raise AssertionError(told)


def test_changes_are_told_as_they_come_and_ctrl_c_ends_it(start, path):
    append(path, *seed_lines()[:6])
    process = start(path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    told = until(process.stdout, "cannot say")
    assert told[0] == f"{path}\n"
    append(path, *seed_lines()[6:])
    until(process.stdout, "[d-frozen] steps 19776")
    path.unlink()
    until(process.stdout, "the file is gone")
    process.send_signal(signal.SIGINT)
    assert process.wait(GUARD_SECONDS) == 0
    assert process.stderr.read() == ""


def test_a_page_is_served_until_it_is_told_to_end(start, path):
    append(path, *seed_lines())
    process = start(path, "--web", "--port", "0", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    (line,) = until(process.stdout, "page: ")
    url = re.search(r"http://127\.0\.0\.1:\d+/", line)[0]
    with urllib.request.urlopen(url, timeout=60) as page:  # noqa: S310
        assert "Not healthy" in page.read().decode()
    process.terminate()
    assert process.wait(GUARD_SECONDS) == 0
    assert process.stderr.read() == ""


def more(terminal):
    """What a terminal shows further."""
    assert select.select([terminal], [], [], GUARD_SECONDS)[0]
    return os.read(terminal, 1 << 16)


def test_ctrl_c_gives_the_terminal_back(start, path, request):
    pty = pytest.importorskip("pty")
    import termios

    append(path, *seed_lines())
    ours, theirs = pty.openpty()
    request.addfinalizer(partial(os.close, ours))
    request.addfinalizer(partial(os.close, theirs))
    termios.tcsetwinsize(theirs, (50, 100))  # the path may be long
    before = termios.tcgetattr(theirs)
    # The terminal's size, not that which the test's runner was given.
    sized = ("COLUMNS", "LINES")
    environment = {name: value for name, value in os.environ.items() if name not in sized}
    environment["TERM"] = "xterm-256color"
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    process = start(path, **streams, start_new_session=True, env=environment)
    shown = b""
    while b"D(G(z)) before" not in shown:
        shown += more(ours)
    process.send_signal(signal.SIGINT)
    while b"D(G(z)) before" not in shown.partition(b"\x1b[?1049l")[2]:
        shown += more(ours)
    assert process.wait(GUARD_SECONDS) == 0
    assert shown.count(b"\x1b[?1049h") == shown.count(b"\x1b[?1049l") == 1
    assert shown.rfind(b"\x1b[?25h") > shown.rfind(b"\x1b[?25l")
    assert termios.tcgetattr(theirs) == before
    assert Path(path).read_text() == LOG.read_text()  # it only reads
