"""Serves the page of a watched training to this machine alone.

It is read-only, listens on 127.0.0.1 only, and answers only requests that name this machine in
`Host` (so no web site can read it by a name that it points here). It has three routes; no part of
a URL ever becomes a path.
"""

import errno
import hashlib
import threading
import time
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, Protocol

from counterpoise.errors import UserError
from counterpoise.pages.page import page, page_body, samples_data
from counterpoise.pages.run import PageRun
from counterpoise.watching.state import State

ADDRESS = "127.0.0.1"
REQUEST_SECONDS = 30.0
HTTP_PORT = 80
# How often the server looks whether it is to end.
END_LOOK_SECONDS = 0.2
# The share of the time that drawing may take: after a drawing, so many times as long a rest.
REST = 4.0
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    # The page itself has a stricter one.
    "Content-Security-Policy": "frame-ancestors 'none'",
}
ALONE = {"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'"}


class Watched(Protocol):
    """What a board shows: `sources.Watcher`."""

    def look(self) -> State: ...
    def page_run(self) -> PageRun: ...


class Board:
    """The newest page, between the thread that watches and those of the browsers."""

    def __init__(self, watcher: Watched) -> None:
        self._watcher, self._lock = watcher, threading.Lock()
        self._run: PageRun | None = None
        self._version = ""
        self._looked, self._drawn, self._rests_until = 1, 0, 0.0

    def look(self) -> State:
        """Look at what is watched, for the page too."""
        with self._lock:
            self._looked += 1
            return self._watcher.look()

    def _draw(self) -> str:
        """The page's changing part; drawn anew where there was a look, and it is time."""
        began = time.monotonic()
        if self._run is None or (self._looked != self._drawn and began >= self._rests_until):
            self._run, self._drawn = self._watcher.page_run(), self._looked
            # What it shows, but for its own name.
            self._body = page_body([self._run], "-")
            self._version = hashlib.sha256(self._body.encode()).hexdigest()[:16]
            ended = time.monotonic()
            self._rests_until = ended + REST * (ended - began)
        return self._version

    def whole(self) -> str:
        """The page as it opens."""
        with self._lock:
            version = self._draw()
            assert self._run is not None, "it was drawn"
            return page([self._run], version)

    def body(self, known: str) -> str | None:
        """What changes of the page; None where that is the version that is known."""
        with self._lock:
            version = self._draw()
            named = f'"live":"{version}"'
            return None if version == known else self._body.replace('"live":"-"', named, 1)

    def samples(self) -> str:
        """The samples, as JSON."""
        with self._lock:
            self._draw()
            assert self._run is not None, "it was drawn"
            return samples_data([self._run])


class WatchServer(ThreadingHTTPServer):
    """Serves one board; `port` 0 takes a free one. `UserError` where the port is taken."""

    daemon_threads = True
    block_on_close = False
    # Of connections that wait to be taken: a browser with many pages opens them all at once.
    request_queue_size = 64
    # A second server must not share the port of the first.
    allow_reuse_port = False

    def __init__(self, board: Board, port: int) -> None:
        self.board = board
        try:
            super().__init__((ADDRESS, port), Handler)
        except OSError as error:
            why = "in use already" if error.errno == errno.EADDRINUSE else error.strerror or error
            raise UserError(f"--port {port}: {why}; give another, or 0 for a free one") from None
        names = (ADDRESS, "localhost")
        self.hosts = {f"{name}:{self.server_port}" for name in names}
        if self.server_port == HTTP_PORT:  # Browsers leave it out.
            self.hosts.update(names)
        self.url = f"http://{ADDRESS}:{self.server_port}/"

    def server_bind(self) -> None:
        # Without the parent's look-up of a name for the address, which can take long.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = ADDRESS, self.socket.getsockname()[1]

    def __enter__(self) -> "WatchServer":
        serve = partial(self.serve_forever, END_LOOK_SECONDS)
        threading.Thread(target=serve, daemon=True, name="watch-page").start()
        return self

    def __exit__(self, *args: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is no error, and nothing else is for the terminal."""


class Handler(BaseHTTPRequestHandler):
    """Answers one browser."""

    server: WatchServer
    protocol_version = "HTTP/1.1"
    timeout = REQUEST_SECONDS

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _refuse_method(self) -> None:
        self._send(HTTPStatus.METHOD_NOT_ALLOWED, "text/plain", "read-only\n", {"Allow": "GET"})

    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _refuse_method  # noqa: N815

    def _answer(self, body: bool) -> None:
        board = self.server.board
        if not self._from_here():
            self._send(HTTPStatus.FORBIDDEN, "text/plain", "this page is for this machine alone\n")
            return
        route, _, known = self.path.partition("?")
        if route == "/":
            self._send(HTTPStatus.OK, "text/html", board.whole(), body=body)
        elif route == "/body":
            text = board.body(known)
            status = HTTPStatus.NO_CONTENT if text is None else HTTPStatus.OK
            self._send(status, "text/html", text or "", ALONE, body)
        elif route == "/samples":
            self._send(HTTPStatus.OK, "application/json", board.samples(), ALONE, body)
        else:
            text = "there is nothing here\n"
            self._send(HTTPStatus.NOT_FOUND, "text/plain", text, body=body)

    def _from_here(self) -> bool:
        """Whether a request is for this machine by name, and not made by another site's page."""
        hosts = self.headers.get_all("Host") or []
        origins = self.headers.get_all("Origin") or []
        known = self.server.hosts
        return (
            len(hosts) == 1
            and hosts[0].lower() in known
            and all(origin.removeprefix("http://") in known for origin in origins)
        )

    def _send(
        self,
        status: HTTPStatus,
        kind: str,
        text: str,
        headers: dict[str, str] | None = None,
        body: bool = True,
    ) -> None:
        data = text.encode(errors="replace")
        self.send_response(status)
        own = {"Content-Type": f"{kind}; charset=utf-8", "Content-Length": str(len(data))}
        for name, value in (own | HEADERS | (headers or {})).items():
            self.send_header(name, value)
        # So that none outlives the server, and no body is taken for the next request.
        self.send_header("Connection", "close")
        self.close_connection = True
        self.end_headers()
        if body:
            self.wfile.write(data)

    def version_string(self) -> str:
        return "counterpoise"

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not for the terminal."""
