"""The page of a watched training: for this machine alone, read-only, and as it goes."""

import contextlib
import dataclasses
import json
import re
import socket
import threading
import time
from http.client import HTTPConnection

import pytest

from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.errors import UserError
from counterpoise.watching import server as serving
from counterpoise.watching.server import PNG_BEGINNING, Board, WatchServer
from counterpoise.watching.state import Event, Game, State, Status
from trace_helpers import bce_columns, trace

RUNNING = Status("running", "running")
WAIT_SECONDS = 20.0


def game(title=""):
    whole = dataclasses.replace(trace(**bce_columns(0.9999, 0.0001)), title=title)
    return Game(whole, diagnose(whole))


def state(step=1, **known):
    return State(**({"source": "runs/mine", "status": RUNNING, "step": step} | known))


@pytest.fixture(autouse=True)
def _ends_at_once(monkeypatch):
    monkeypatch.setattr(serving, "END_LOOK_SECONDS", 0.01)


@pytest.fixture
def board():
    return Board(state())


@pytest.fixture
def server(board):
    with WatchServer(board, 0) as server:
        yield server


def get(server, path="/", method="GET", **headers):
    """Status, headers and body of an answer."""
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=WAIT_SECONDS)
    with contextlib.closing(connection):
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()


def raw(server, request):
    """The whole answer to bytes that no client library would send."""
    with socket.create_connection(server.server_address, timeout=WAIT_SECONDS) as client:
        client.sendall(request.replace("PORT", str(server.server_port)).encode())
        return b"".join(iter(lambda: client.recv(1 << 16), b"")).decode()


class Stream:
    """A browser that listens."""

    def __init__(self, server):
        self._connection = HTTPConnection("127.0.0.1", server.server_port, timeout=WAIT_SECONDS)
        self._connection.request("GET", "/events")
        self.answer = self._connection.getresponse()
        self.page = {}

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self._connection.close()
        self.answer.close()

    def next(self):
        """The parts that come next; None where the stream ends."""
        while line := self.answer.readline().decode():
            if line.startswith("data: "):
                parts = json.loads(line.removeprefix("data: "))
                self.page |= parts
                return parts
        return None

    def until(self, name, text):
        """Listen until a part of the page has a text."""
        while text not in self.page.get(name, ""):
            assert self.next() is not None


def test_it_listens_on_this_machine_alone(server):
    assert server.socket.getsockname()[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.server_port}/"
    for address in ("127.0.0.2", "::1"):  # as any other address of the machine
        with pytest.raises(OSError):  # noqa: PT011, it differs between systems
            socket.create_connection((address, server.server_port), timeout=1).close()


def test_a_port_that_is_taken_is_said(server, board):
    with pytest.raises(UserError, match=f"--port {server.server_port}: in use already; give"):
        WatchServer(board, server.server_port)


def test_the_page_has_everything(server, board):
    board.publish(state(games=(game(),), events=(Event(1, "note", "it begins"),), stage="train"))
    status, headers, body = get(server)
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    text = body.decode()
    for part in ("runs/mine", "Not healthy", "d-saturated", "<svg", "it begins", "EventSource"):
        assert part in text
    assert not re.search(r"(src|href)=\"?(https?:)?//", text)  # nothing comes from elsewhere


FOREIGN = [
    "Host: evil.example:PORT",
    "Host: evil.example",
    "Host: 127.0.0.1",
    "Host: 127.0.0.1:1",
    "Host: localhost.evil.example:PORT",
    "Host: 0.0.0.0:PORT",
    "Host: [::1]:PORT",
    "Host:",
    "X-Host: 127.0.0.1:PORT",
    "Host: 127.0.0.1:PORT\r\nHost: evil.example:PORT",
    "Host: 127.0.0.1:PORT\r\nOrigin: http://evil.example",
    "Host: 127.0.0.1:PORT\r\nOrigin: null",
]


@pytest.mark.parametrize("path", ["/", "/events", "/sample.png"])
def test_requests_that_do_not_name_this_machine_are_refused(server, path):
    answers = [raw(server, f"GET {path} HTTP/1.1\r\n{head}\r\n\r\n") for head in FOREIGN]
    assert [answer[:13] for answer in answers] == ["HTTP/1.1 403 "] * len(FOREIGN)
    assert not any("runs/mine" in answer for answer in answers)


def test_requests_that_name_this_machine_are_answered(server):
    for host in ("127.0.0.1:PORT", "localhost:PORT", "LocalHost:PORT"):
        answer = raw(server, f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
        assert answer.startswith("HTTP/1.1 200 ")
        assert "runs/mine" in answer


def test_it_is_read_only(server):
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"):
        answer = raw(server, f"{method} / HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n")
        assert re.match(r"HTTP/1.1 (405|501) ", answer)
        assert "runs/mine" not in answer


def test_a_head_has_no_body(server):
    status, headers, body = get(server, method="HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 1000


def test_every_answer_is_locked_up(server):
    for path in ("/", "/missing"):
        _, headers, _ = get(server, path)
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Access-Control-Allow-Origin" not in headers
        assert headers["Server"] == "counterpoise"


def test_only_the_pages_own_script_may_run(server):
    nonces = set()
    for _ in range(2):
        _, headers, body = get(server)
        rules = dict(
            rule.strip().split(" ", 1) for rule in headers["Content-Security-Policy"].split(";")
        )
        nonce = re.fullmatch(r"'nonce-([\w-]{20,})'", rules["script-src"])[1]
        assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
        assert rules["frame-ancestors"] == "'none'"
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert re.findall(r"<script[^>]*>", body.decode()) == [f'<script nonce="{nonce}">']
        nonces.add(nonce)
    assert len(nonces) == 2


@pytest.fixture
def run(tmp_path, board):
    """A run folder with a sheet of samples, watched."""
    folder = tmp_path / "run"
    (folder / "samples").mkdir(parents=True)
    (folder / "config.yaml").write_text("secret: 1")
    (tmp_path / "outside.png").write_bytes(PNG_BEGINNING + b"secret")
    sheet = folder / "samples" / "step-00000001.png"
    sheet.write_bytes(PNG_BEGINNING + b"pixels")
    board.publish(state(source=str(folder), sample=sheet))
    return folder


def test_the_sample_is_served(server, run):
    for path in ("/sample.png", "/sample.png?step-00000001", "/sample.png?../config.yaml"):
        status, headers, body = get(server, path)
        assert (status, headers["Content-Type"]) == (200, "image/png")
        assert body == PNG_BEGINNING + b"pixels"


TRAVERSALS = [
    "/config.yaml",
    "/../config.yaml",
    "/samples/step-00000001.png",
    "/samples/../config.yaml",
    "/sample.png/../config.yaml",
    "/sample.png/",
    "/sample.png%00",
    "/sample.png;../config.yaml",
    "/%2e%2e/outside.png",
    "/..%2foutside.png",
    "/%252e%252e/outside.png",
    "/..\\outside.png",
    "//outside.png",
    "/events/../config.yaml",
    "/./",
    "http://127.0.0.1:PORT/config.yaml",
    "file:///etc/passwd",
    "*",
]


def test_no_url_reaches_a_file(server, run):
    head = "Host: 127.0.0.1:PORT\r\nConnection: close"
    answers = {path: raw(server, f"GET {path} HTTP/1.1\r\n{head}\r\n\r\n") for path in TRAVERSALS}
    assert {path: answer[:13] for path, answer in answers.items()} == dict.fromkeys(
        TRAVERSALS, "HTTP/1.1 404 "
    )
    assert not any("secret" in answer or "root:" in answer for answer in answers.values())


def _link(sheet, target):
    sheet.unlink()
    sheet.symlink_to(target)


@pytest.mark.parametrize(
    "break_it",
    [
        lambda sheet: _link(sheet, sheet.parents[2] / "outside.png"),
        lambda sheet: _link(sheet, "../../outside.png"),
        lambda sheet: _link(sheet, sheet.parents[1] / "config.yaml"),
        lambda sheet: _link(sheet, sheet),
        lambda sheet: sheet.unlink(),
        lambda sheet: (sheet.unlink(), sheet.mkdir()),
        lambda sheet: sheet.write_bytes(b"<script>alert(1)</script>"),
    ],
    ids=["out of the run", "out, relative", "no PNG", "loop", "gone", "a folder", "no picture"],
)
def test_a_sample_that_is_no_picture_of_the_run_is_not_served(server, run, break_it):
    break_it(run / "samples" / "step-00000001.png")
    status, _, body = get(server, "/sample.png")
    assert status == 404
    assert b"secret" not in body


def test_a_folder_of_samples_outside_of_the_run_is_not_served(server, run, tmp_path):
    (run / "samples").rename(tmp_path / "elsewhere")
    (run / "samples").symlink_to(tmp_path / "elsewhere")
    assert get(server, "/sample.png")[0] == 404


def test_a_sample_that_is_too_large_is_not_served(server, run, monkeypatch):
    monkeypatch.setattr(serving, "MOST_SAMPLE_BYTES", 5)
    assert get(server, "/sample.png")[0] == 404


def test_a_training_without_samples_has_none(server):
    assert get(server, "/sample.png")[0] == 404


def test_a_name_that_is_no_text_stops_nothing(server, board):
    board.publish(state(source="log-\udcff"))
    assert get(server)[0] == 200


def test_what_changes_comes_as_it_comes(server, board):
    with Stream(server) as stream:
        assert stream.answer.getheader("Content-Type") == "text/event-stream; charset=utf-8"
        assert stream.answer.getheader("X-Content-Type-Options") == "nosniff"
        first = stream.next()
        assert "step 1" in first["progress"]
        assert set(first) == set(serving.Page().parts(state()))
        for step in (2, 3):
            board.publish(state(step))
            assert stream.next() == {"progress": f"<span>step {step}</span>"}
        board.publish(state(3, status=Status("ended", "ended after step 3")))
        assert list(stream.next()) == ["status"]


def test_the_page_as_it_comes_is_the_page_as_it_is_served(server, board):
    with Stream(server) as stream:
        stream.next()
        board.publish(state(games=(game(),), stage="train"))
        stream.until("verdict", "Not healthy")
        text = get(server)[2].decode()
        for html in stream.page.values():
            assert html in text


def test_nothing_new_is_said_now_and_then(server, monkeypatch):
    monkeypatch.setattr(serving, "HEARTBEAT_SECONDS", 0.05)
    with Stream(server) as stream:
        stream.next()
        lines = [stream.answer.readline().strip() for _ in range(4)]
    assert b": nothing new" in lines


def test_a_browser_that_went_away_is_forgotten(server, board, monkeypatch):
    monkeypatch.setattr(serving, "HEARTBEAT_SECONDS", 0.02)
    with Stream(server) as stream:
        stream.next()
        assert board.streams == 1
    _wait_for(lambda: board.streams == 0)


def _wait_for(condition):
    until = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_several_browsers_listen_and_one_that_does_not_read_holds_up_none(server, board):
    with (
        socket.create_connection(server.server_address, timeout=WAIT_SECONDS) as asleep,
        Stream(server) as one,
        Stream(server) as other,
    ):
        asleep.sendall(
            f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n\r\n".encode()
        )
        _wait_for(lambda: board.streams == 3)
        for step in range(2, 12):
            # More than fits between two sockets.
            board.publish(state(step, notes=(str(step) * 2_000_000,)))
            for stream in (one, other):
                stream.until("progress", f"step {step}<")
        assert board.streams == 3
        assert get(server)[0] == 200


def test_too_many_browsers_are_refused(server, monkeypatch):
    monkeypatch.setattr(serving, "MOST_STREAMS", 1)
    with Stream(server) as stream:
        stream.next()
        assert get(server, "/events")[0] == 503
        assert get(server)[0] == 200


def test_streams_end_when_the_watching_ends(board):
    threads = threading.active_count()
    with WatchServer(board, 0) as server, Stream(server) as stream:
        stream.next()
        server.__exit__()
        assert stream.next() is None
        with pytest.raises(OSError):  # noqa: PT011, it differs between systems
            socket.create_connection(server.server_address, timeout=1).close()
    _wait_for(lambda: threading.active_count() == threads)


def test_a_page_is_rendered_once_for_all(server, board, monkeypatch):
    rendered = []
    parts = serving.Page.parts
    monkeypatch.setattr(
        serving.Page, "parts", lambda page, state: rendered.append(state) or parts(page, state)
    )
    board.publish(state(2))
    for _ in range(3):
        get(server)
    assert len(rendered) == 1


@pytest.mark.parametrize("body", ["Content-Length: 40", "Transfer-Encoding: chunked"])
def test_a_body_is_not_taken_for_a_request(server, body):
    head = "Host: 127.0.0.1:PORT\r\n"
    answer = raw(server, f"GET / HTTP/1.1\r\n{head}{body}\r\n\r\nGET /x HTTP/1.1\r\n{head}\r\n")
    assert answer.startswith("HTTP/1.1 200 ")
    assert "Connection: close\r\n" in answer
    assert answer.count("HTTP/1.1") == 1


def test_many_connections_may_wait(server):
    assert server.request_queue_size >= 64
