"""Headless Chromium for tests of pages, over the WebDriver protocol (W3C) of its own driver.

Selenium would do the same, with nine packages and a downloader of drivers behind it.
"""

import base64
import contextlib
import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Keys as WebDriver knows them.
TAB, ENTER, END, HOME = "\ue004", "\ue007", "\ue010", "\ue011"
ARROW_LEFT, ARROW_RIGHT = "\ue012", "\ue014"
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_START_SECONDS, _CALL_SECONDS = 60, 120


_CONTRASTS = """
const parse = (text) => {
  const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
  return [r, g, b, a];
};
const over = (top, under) => top.slice(0, 3).map((c, i) => c * top[3] + under[i] * (1 - top[3]));
const light = (colour) => {
  const [r, g, b] = colour.map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  const stack = [];
  for (let e = element; e; e = e.parentElement)
    stack.push(parse(getComputedStyle(e).backgroundColor));
  return stack.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
};
const found = [];
for (const element of document.body.querySelectorAll("*")) {
  const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  const box = element.getBoundingClientRect();
  const style = getComputedStyle(element);
  if (!own || !box.width || style.visibility === "hidden" || element.closest("script, noscript"))
    continue;
  if (element.closest(".hoverlayer, .wipe")) continue;
  const svg = element instanceof SVGElement;
  const ground = behind(svg ? element.closest("div") : element);
  const ink = over(parse(svg ? style.fill : style.color), ground);
  const [low, high] = [light(ink), light(ground)].sort((a, b) => a - b);
  const name = `${element.tagName} ${element.textContent}`.slice(0, 60);
  found.push([(high + 0.05) / (low + 0.05), name]);
}
return found;
"""


class Browser:
    """One window."""

    def __init__(self, driver_url: str, options: dict[str, Any]) -> None:
        self._url = driver_url
        wanted = {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        made = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._url += f"/session/{made['sessionId']}"

    def open(self, page: Path) -> None:
        """Load a page from disk, and wait until it is loaded."""
        self.complaints()  # Of the page before.
        self._call("POST", "/url", {"url": page.resolve().as_uri()})

    def run(self, script: str, *arguments: Any) -> Any:
        """The result of a script; it finds `arguments`."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def wait_for(self, script: str, *arguments: Any, seconds: float = 20) -> Any:
        """The result of a script once it is true."""
        end = time.monotonic() + seconds
        while not (found := self.run(script, *arguments)):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.05)
        return found

    def click(self, selector: str) -> None:
        """Click as a person does: fails where something else lies over it."""
        self._call("POST", f"/element/{self._find(selector)}/click", {})

    def press(self, keys: str) -> None:
        """Press and release keys, one after the other, wherever the focus is."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._act({"type": "key", "id": "keyboard", "actions": actions})

    def move_to(self, selector: str, share_x: float = 0.5) -> None:
        """Move the mouse over an element, `share_x` of its width from its left."""
        element = self._find(selector)
        width = self.run("return arguments[0].getBoundingClientRect().width", {_ELEMENT: element})
        # Twice, since a hover begins with a movement.
        moves = [
            {
                "type": "pointerMove",
                "duration": 0,
                "origin": {_ELEMENT: element},
                "x": round((share_x - 0.5) * width) + shift,
                "y": 0,
            }
            for shift in (-3, 0)
        ]
        self._act({"type": "pointer", "id": "mouse", "actions": moves})

    def drag(self, selector: str, from_x: float, to_x: float) -> None:
        """Drag over an element, between two shares of its width."""
        element = self._find(selector)
        width = self.run("return arguments[0].getBoundingClientRect().width", {_ELEMENT: element})

        def move(share: float) -> dict[str, Any]:
            x = round((share - 0.5) * width)
            origin = {_ELEMENT: element}
            return {"type": "pointerMove", "duration": 60, "origin": origin, "x": x, "y": 0}

        down, up = {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}
        actions = [move(from_x), down, move((from_x + to_x) / 2), move(to_x), up]
        self._act({"type": "pointer", "id": "mouse", "actions": actions})

    def emulate(self, *, dark: bool = False, width_px: int = 1280, height_px: int = 900) -> None:
        """A dark or light screen of that size; one under 600 pixels is a phone's."""
        phone = width_px < 600
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._devtools("Emulation.setEmulatedMedia", features=features)
        self._devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width_px,
            height=height_px,
            deviceScaleFactor=1,
            mobile=phone,
        )
        self._devtools("Emulation.setTouchEmulationEnabled", enabled=phone)

    def accessibility_tree(self) -> list[dict[str, Any]]:
        """What a screen reader is told, node by node."""
        nodes: list[dict[str, Any]] = self._devtools("Accessibility.getFullAXTree")["nodes"]
        return [node for node in nodes if not node.get("ignored")]

    def contrasts(self) -> list[tuple[float, str]]:
        """Contrast (WCAG) of every text in sight against what is behind it, and the text."""
        return [(ratio, text) for ratio, text in self.run(_CONTRASTS)]

    def complaints(self) -> list[str]:
        """What the console has said since the last call: errors, warnings and all else."""
        entries = self._call("POST", "/se/log", {"type": "browser"})
        return [f"{entry['level']}: {entry['message']}" for entry in entries]

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Write a PNG of what is seen, or of the whole page."""
        if whole:
            shot = self._devtools("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        else:
            shot = self._call("GET", "/screenshot")
        path.write_bytes(base64.b64decode(shot))

    def close(self) -> None:
        self._call("DELETE", "")

    def _find(self, selector: str) -> str:
        found = self._call("POST", "/element", {"using": "css selector", "value": selector})
        element = str(found[_ELEMENT])
        self.run(
            "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})",
            {_ELEMENT: element},
        )
        return element

    def _act(self, device: dict[str, Any]) -> None:
        self._call("POST", "/actions", {"actions": [device]})

    def _devtools(self, command: str, **parameters: Any) -> Any:
        return self._call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - the driver's own address
            self._url + path, content, {"Content-Type": "application/json"}, method=method
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_CALL_SECONDS) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            said = json.load(error)["value"]
            raise AssertionError(f"{path}: {said['error']}: {said['message']}") from None


@contextlib.contextmanager
def open_browser() -> Iterator[Browser]:
    """A headless Chromium without network use of its own; skips the test where there is none."""
    binary = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("needs Chromium and its chromedriver")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [driver, f"--port={port}", "--silent"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_until_listening(port)
            flags = [
                "headless",
                "no-sandbox",
                "disable-gpu",
                "disable-quic",
                "no-first-run",
                "disable-background-networking",
                "disable-component-update",
                "disable-sync",
                "hide-scrollbars",
                f"user-data-dir={profile}",
            ]
            options = {"binary": binary, "args": flags}
            browser = Browser(f"http://127.0.0.1:{port}", options)
            try:
                yield browser
            finally:
                browser.close()
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait_until_listening(port: int) -> None:
    end = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < end, "chromedriver does not answer"
            time.sleep(0.05)
