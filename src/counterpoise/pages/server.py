"""Serves the page of a watched training to this machine alone.

It is read-only, listens on 127.0.0.1 only, and answers only requests that name this machine in
`Host` (so no web site can read it by a name that it points here). It has three routes; no part of
a URL ever becomes a path.
"""

import errno
import hashlib
import threading
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from counterpoise.errors import UserError
from counterpoise.pages.page import page, page_body, samples_data
from counterpoise.pages.run import Book, PageRun
from counterpoise.watching.sources import Watcher
from counterpoise.watching.state import State

ADDRESS = "127.0.0.1"
REQUEST_SECONDS = 30.0
HTTP_PORT = 80
# How often the server looks whether it is to end.
END_LOOK_SECONDS = 0.2
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


class Board:
    """The newest page of what is watched, between the thread that watches and those of browsers."""

    def __init__(self, watcher: Watcher, book: Book) -> None:
        """`book` is that of the watcher's options: `WatchOptions(begin=book.begin)`."""
        self._watcher, self._book, self._lock = watcher, book, threading.Lock()
        self._run: PageRun | None = None
        self._state = State("")
        self._body = self._version = ""

    def look(self) -> State:
        """Look at what is watched, for the page too."""
        with self._lock:
            self._state, self._run = self._watcher.look(), None
            return self._state

    def _draw(self) -> PageRun:
        """Draw the page's changing part anew where there was a look since."""
        if self._run is None:
            self._run = PageRun(self._state, self._book)
            # What it shows, but for its own name.
            self._body = page_body([self._run], "-")
            self._version = hashlib.sha256(self._body.encode()).hexdigest()[:16]
        return self._run

    def whole(self) -> str:
        """The page as it opens."""
        with self._lock:
            run = self._draw()
            return page([run], self._version)

    def body(self, known: str) -> str | None:
        """What changes of the page; None where that is the version that is known."""
        with self._lock:
            self._draw()
            named = f'"live":"{self._version}"'
            return None if self._version == known else self._body.replace('"live":"-"', named, 1)

    def samples(self) -> str:
        """The samples, as JSON."""
        with self._lock:
            return samples_data([self._draw()])


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
        board = self.server.board
        route, _, known = self.path.partition("?")
        if not self._from_here():
            self._send(HTTPStatus.FORBIDDEN, "text/plain", "this page is for this machine alone\n")
        elif route == "/":
            self._send(HTTPStatus.OK, "text/html", board.whole(), own_policy=True)
        elif route == "/body":
            text = board.body(known)
            status = HTTPStatus.NO_CONTENT if text is None else HTTPStatus.OK
            self._send(status, "text/html", text or "")
        elif route == "/samples":
            self._send(HTTPStatus.OK, "application/json", board.samples())
        else:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", "there is nothing here\n")

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

    def _send(self, status: HTTPStatus, kind: str, text: str, *, own_policy: bool = False) -> None:
        data = text.encode(errors="replace")
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        # The page itself has a stricter policy.
        policy = "default-src 'none'; " * (not own_policy) + "frame-ancestors 'none'"
        self.send_header("Content-Security-Policy", policy)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        # So that none outlives the server, and no body is taken for the next request.
        self.send_header("Connection", "close")
        self.close_connection = True
        self.end_headers()
        self.wfile.write(data)

    def version_string(self) -> str:
        return "counterpoise"

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not for the terminal."""
