"""Serves the page of a watched training to this machine alone.

It is read-only, listens on 127.0.0.1 only, and answers only requests that name this machine in
`Host` (so no web site can read it by a name that it points here). It has three routes; no part of
a URL ever becomes a path.
"""

import hashlib
import threading
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any

from counterpoise.errors import refusing
from counterpoise.pages.curves import Curves
from counterpoise.pages.page import page, page_body, samples_data
from counterpoise.pages.run import PageRun
from counterpoise.watching.sources import Source
from counterpoise.watching.state import State

ADDRESS = "127.0.0.1"
REQUEST_SECONDS = 30.0
END_LOOK_SECONDS = 0.2  # how often the server looks whether it is to end
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    # The page itself has a stricter policy.
    "Content-Security-Policy": "frame-ancestors 'none'",
}


class WatchServer(ThreadingTCPServer):
    """Serves the newest page of what is watched, with `curves.begin` in its options; `port` 0 takes
    a free one. Raises `UserError` where the port is taken."""

    daemon_threads = True
    block_on_close = False
    # Of connections that wait to be taken: a browser with many pages opens them all at once.
    request_queue_size = 64
    allow_reuse_address = True

    def __init__(self, source: Source, curves: Curves, port: int) -> None:
        with refusing(f"--port {port}", OSError, instead="give another, or 0 for a free one"):
            super().__init__((ADDRESS, port), Handler)
        port = self.server_address[1]
        self.hosts = [[f"{name}:{port}"] for name in (ADDRESS, "localhost")]
        self.url = f"http://{ADDRESS}:{port}/"
        # Between the thread that watches and those of browsers.
        self._lock = threading.Lock()
        self._source, self._curves = source, curves
        self.look()

    def look(self) -> State:
        """Look at what is watched, for the page too."""
        with self._lock:
            self._state = self._source.look()
            self._run: PageRun | None = None
            return self._state

    def drawn(self, draw: Callable[[list[PageRun]], str]) -> str:
        """What a browser is sent of the newest state."""
        with self._lock:
            self._run = self._run or PageRun(self._state, self._curves)
            return draw([self._run])

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
    timeout = REQUEST_SECONDS

    def do_GET(self) -> None:
        drawn = self.server.drawn
        route = self.path.partition("?")[0]
        if [host.lower() for host in self.headers.get_all("Host", [])] not in self.server.hosts:
            self._send(HTTPStatus.FORBIDDEN, "plain", "this page is for this machine alone\n")
        elif route == "/":
            self._send(HTTPStatus.OK, "html", drawn(partial(page, live=True)))
        elif route == "/body":
            # Nobody is to open it by itself: it is text until the page has put it in place.
            self._send(HTTPStatus.OK, "plain", drawn(page_body))
        elif route == "/samples":
            self._send(HTTPStatus.OK, "plain", drawn(samples_data))
        else:
            self._send(HTTPStatus.NOT_FOUND, "plain", "there is nothing here\n")

    def _send(self, status: HTTPStatus, kind: str, text: str) -> None:
        """Answer with a text, or with none where the address ends with the version that it has."""
        data = text.encode(errors="replace")
        version = hashlib.sha256(data).hexdigest()[:16]
        if self.path.endswith(f"?{version}"):
            status, data = HTTPStatus.NO_CONTENT, b""
        self.send_response(status)
        self.send_header("Content-Type", f"text/{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (HEADERS | {"ETag": version}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not for the terminal."""
