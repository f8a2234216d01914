"""Serves the page of a watched training to this machine alone.

It is read-only, listens on 127.0.0.1 only, and answers only requests that name this machine in
`Host` (so no web site can read it by a name that it points here). It has three routes; no part of
a URL ever becomes a path.
"""

import errno
import json
import threading
import time
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any

from counterpoise.errors import UserError
from counterpoise.watching.page import Page
from counterpoise.watching.state import State

ADDRESS = "127.0.0.1"
# A stream that has nothing to say says so, which tells whether anybody listens.
HEARTBEAT_SECONDS = 10.0
# What a browser waits before it connects again.
RETRY_MILLISECONDS = 2000
MOST_STREAMS = 32
REQUEST_SECONDS = 30.0
HTTP_PORT = 80
# How often the server looks whether it is to end.
END_LOOK_SECONDS = 0.2
MOST_SAMPLE_BYTES = 64 << 20
PNG_BEGINNING = b"\x89PNG\r\n\x1a\n"
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


class Board:
    """The newest state, between the watching thread and those of the browsers."""

    def __init__(self, state: State) -> None:
        self._state, self._version = state, 1
        self._page, self._rendered = Page(), 0
        self._parts: dict[str, str] = {}
        self._changed, self._rendering = threading.Condition(), threading.Lock()
        self.streams = 0
        self.closed = False

    def publish(self, state: State) -> None:
        """Show this from now on."""
        with self._changed:
            self._state, self._version = state, self._version + 1
            self._changed.notify_all()

    def close(self) -> None:
        """End all streams."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def join(self) -> bool:
        """One more stream; False where there are too many."""
        with self._changed:
            joins = self.streams < MOST_STREAMS
            self.streams += joins
            return joins

    def leave(self) -> None:
        """One stream less."""
        with self._changed:
            self.streams -= 1

    def wait(self, version: int, seconds: float) -> None:
        """Return when there is another version than this, or after so long."""
        with self._changed:
            self._changed.wait_for(lambda: self.closed or self._version != version, seconds)

    def parts(self) -> tuple[int, dict[str, str]]:
        """The version and the parts of the page, rendered when somebody wants them."""
        with self._rendering:
            with self._changed:
                state, version = self._state, self._version
            if self._rendered != version:
                self._parts, self._rendered = self._page.parts(state), version
            return version, self._parts

    def whole(self) -> tuple[str, str]:
        """The page, and the nonce of its script and style."""
        return self._page.whole(self.parts()[1])

    def sample(self) -> bytes | None:
        """The newest sheet of samples; None where there is none, or it is no PNG of the run's."""
        path = self._state.sample
        if path is None:
            return None
        try:
            inside = path.resolve(strict=True).is_relative_to(Path(self._state.source).resolve())
            if not inside or not path.is_file() or path.stat().st_size > MOST_SAMPLE_BYTES:
                return None
            data = path.read_bytes()
        except (OSError, RuntimeError):  # RuntimeError: a link that goes round, until Python 3.13.
            return None
        return data if data.startswith(PNG_BEGINNING) else None


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
        self.board.close()
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
        self.close_connection = True
        self._send(HTTPStatus.METHOD_NOT_ALLOWED, "text/plain", b"read-only\n", {"Allow": "GET"})

    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _refuse_method  # noqa: N815

    def _answer(self, body: bool) -> None:
        board = self.server.board
        # A body is not read, so that it would be taken for the next request.
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            self.close_connection = True
        if not self._from_here():
            self.close_connection = True
            self._send(HTTPStatus.FORBIDDEN, "text/plain", b"this page is for this machine alone\n")
            return
        route = self.path.partition("?")[0]
        if route == "/":
            page, nonce = board.whole()
            policy = {"Content-Security-Policy": POLICY.format(nonce=nonce)}
            data = page.encode(errors="replace")  # A file name may be no text.
            self._send(HTTPStatus.OK, "text/html; charset=utf-8", data, policy, body)
        elif route == "/events" and body:
            self._stream(board)
        elif route == "/sample.png" and (sample := board.sample()) is not None:
            self._send(HTTPStatus.OK, "image/png", sample, body=body)
        else:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", b"there is nothing here\n", body=body)

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
        data: bytes,
        headers: dict[str, str] | None = None,
        body: bool = True,
    ) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(data)),
            **HEADERS,
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if body:
            self.wfile.write(data)

    def _stream(self, board: Board) -> None:
        """Send the parts that change, as long as somebody listens."""
        self.close_connection = True
        if not board.join():
            self._send(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", b"too many pages are open\n")
            return
        try:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "text/event-stream; charset=utf-8")
            for name, value in HEADERS.items():
                self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(f"retry: {RETRY_MILLISECONDS}\n\n".encode())
            sent: dict[str, str] = {}
            wrote_at = time.monotonic()
            while not board.closed:
                version, parts = board.parts()
                new = {name: html for name, html in parts.items() if sent.get(name) != html}
                sent = parts
                if new or time.monotonic() - wrote_at >= HEARTBEAT_SECONDS:
                    text = f"data: {json.dumps(new)}\n\n" if new else ": nothing new\n\n"
                    self.wfile.write(text.encode())
                    wrote_at = time.monotonic()
                board.wait(version, HEARTBEAT_SECONDS)
        except OSError:  # Whoever listened is gone.
            pass
        finally:
            board.leave()

    def version_string(self) -> str:
        return "counterpoise"

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not for the terminal."""
