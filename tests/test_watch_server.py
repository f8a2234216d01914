"""The page of a watched training: for this machine alone, read-only, and as it goes."""

import contextlib
import json
import re
import socket
from http.client import HTTPConnection

import pytest

from counterpoise.errors import UserError
from counterpoise.pages import server as serving
from counterpoise.pages.curves import Curves
from counterpoise.pages.server import WatchServer
from counterpoise.watching.sources import WatchOptions, open_source
from report_helpers import EVENTS, rows, write_run, write_samples
from watching_helpers import append, event

WAIT_SECONDS = 60.0


@pytest.fixture
def run(tmp_path):
    folder = write_run(tmp_path / "mine", rows(40), events=EVENTS[:1], samples=())
    (tmp_path / "outside.png").write_bytes(b"secret")
    folder.config.write_text("balance: {policy: none}\nsecret: 1\n")
    return folder


@pytest.fixture(autouse=True)
def _ends_at_once(monkeypatch):
    monkeypatch.setattr(serving, "END_LOOK_SECONDS", 0.01)


def serve(path, port=0):
    curves = Curves()
    return WatchServer(open_source(path, WatchOptions(begin=curves.begin)), curves, port)


@pytest.fixture
def server(run):
    with serve(run.path) as server:
        yield server


def get(server, path="/", method="GET", **headers):
    """Status, headers and body of an answer."""
    connection = HTTPConnection("127.0.0.1", server.server_address[1], timeout=WAIT_SECONDS)
    with contextlib.closing(connection):
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()


def raw(server, request):
    """The whole answer to bytes that no client library would send."""
    with socket.create_connection(server.server_address, timeout=WAIT_SECONDS) as client:
        client.sendall(request.replace("PORT", str(server.server_address[1])).encode())
        return b"".join(iter(lambda: client.recv(1 << 16), b"")).decode()


def test_it_listens_on_this_machine_alone(server):
    assert server.socket.getsockname()[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.server_address[1]}/"
    for address in ("127.0.0.2", "::1"):  # as any other address of the machine
        with pytest.raises(OSError):  # noqa: PT011, it differs between systems
            socket.create_connection((address, server.server_address[1]), timeout=1).close()


def test_a_port_that_is_taken_is_said(server, run):
    port = server.server_address[1]
    with pytest.raises(UserError, match=f"--port {port} .*in use.*; give another"):
        serve(run.path, port)


def test_the_page_is_the_report_of_the_run(server, run):
    status, headers, body = get(server)
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    text = body.decode()
    for part in ("mine", "Running", "Step 40", "Not healthy", "training begins", "chart-g-loss"):
        assert part in text
    assert get(server, Host=f"LocalHost:{server.server_address[1]}")[0] == 200
    assert "connect-src &#39;self&#39;" in text
    body = get(server, "/body")[2].decode()
    assert not re.search(r"(src|href)=\"?(https?:)?//", body)  # nothing comes from elsewhere


FOREIGN = [
    "Host: evil.example:PORT",
    "Host: 127.0.0.1",
    "Host: localhost.evil.example:PORT",
    "X-Host: 127.0.0.1:PORT",
    "Host: 127.0.0.1:PORT\r\nHost: evil.example:PORT",
]


@pytest.mark.parametrize("path", ["/", "/body", "/samples"])
def test_requests_that_do_not_name_this_machine_are_refused(server, path):
    answers = [raw(server, f"GET {path} HTTP/1.1\r\n{head}\r\n\r\n") for head in FOREIGN]
    assert [answer[:13] for answer in answers] == ["HTTP/1.0 403 "] * len(FOREIGN)
    assert not any("mine" in answer for answer in answers)


def test_it_is_read_only_and_every_answer_is_locked_up(server):
    assert [get(server, method=method)[0] for method in ("POST", "PUT", "DELETE")] == [501] * 3
    for path in ("/", "/missing"):
        _, headers, _ = get(server, path)
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"] == "frame-ancestors 'none'"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Access-Control-Allow-Origin" not in headers


TRAVERSALS = [
    "/config.yaml",
    "/../config.yaml",
    "/%2e%2e/outside.png",
    "/..%2foutside.png",
    "http://127.0.0.1:PORT/config.yaml",
    "file:///etc/passwd",
]


def test_no_url_reaches_a_file(server, run):
    head = "Host: 127.0.0.1:PORT\r\nConnection: close"
    answers = [raw(server, f"GET {path} HTTP/1.1\r\n{head}\r\n\r\n") for path in TRAVERSALS]
    assert [answer[:13] for answer in answers] == ["HTTP/1.0 404 "] * len(TRAVERSALS)
    assert not any("secret" in answer or "root:" in answer for answer in answers)


def test_what_changes_comes_once(server, run):
    version = get(server, "/body")[1]["ETag"]
    status, headers, body = get(server, f"/body?{version}")
    assert (status, body) == (204, b"")
    append(run.signals, *rows(45)[40:])
    append(run.events, event(45, "closed"))
    server.look()
    status, headers, body = get(server, f"/body?{version}")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain")
    for part in (b"Step 45", b"Closed after step 45"):
        assert part in body
    assert b"<script>" not in body
    assert get(server, f"/body?{headers['ETag']}")[0] == 204


def test_the_samples_come_apart(server, run):
    write_samples(run, [20, 40])
    server.look()
    (samples,) = json.loads(get(server, "/samples")[2])
    assert samples["steps"] == [20, 40]
    assert b"data:image/webp" not in get(server, "/body")[2]
    assert b"data:image/webp" in get(server)[2]
