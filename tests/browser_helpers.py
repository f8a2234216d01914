"""Headless Chromium for tests of pages."""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402, F401 (the tests press them)

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    *("headless", "no-sandbox", "disable-gpu", "hide-scrollbars", "disable-quic", "no-first-run"),
    *("disable-background-networking", "disable-component-update", "disable-sync"),
)
WAIT_SECONDS = 60.0

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

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        # What a test says of the page, until another is opened.
        self.tag = ""

    def open(self, page: Path | str) -> None:
        """Load a page from disk, or from an address, and wait until it is loaded."""
        self.complaints()  # Of the page before.
        self.tag = ""
        self.driver.get(page.resolve().as_uri() if isinstance(page, Path) else page)

    def run(self, script: str, *arguments: Any) -> Any:
        """The result of a script; it finds `arguments`."""
        return self.driver.execute_script(script, *arguments)

    def wait_for(self, script: str, *arguments: Any) -> Any:
        """The result of a script once it is true."""
        end = time.monotonic() + WAIT_SECONDS
        while not (found := self.run(script, *arguments)):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.05)
        return found

    def click(self, selector: str) -> None:
        """Click as a person does: fails where something else lies over it."""
        self._find(selector).click()

    def press(self, keys: str) -> None:
        """Press and release keys, one after the other, wherever the focus is."""
        ActionChains(self.driver).send_keys(keys).perform()

    def move_to(self, selector: str, share_x: float = 0.5) -> None:
        """Move the mouse over an element, `share_x` of its width from its left."""
        element = self._find(selector)
        x = self._offset(element, share_x)
        # Twice, since a hover begins with a movement.
        moves = ActionChains(self.driver, duration=0)
        moves.move_to_element_with_offset(element, x - 3, 0)
        moves.move_to_element_with_offset(element, x, 0).perform()

    def drag(self, selector: str, from_x: float, to_x: float) -> None:
        """Drag over an element, between two shares of its width."""
        element = self._find(selector)
        moves = ActionChains(self.driver, duration=60)
        moves.move_to_element_with_offset(element, self._offset(element, from_x), 0)
        moves.click_and_hold()
        for share in ((from_x + to_x) / 2, to_x):
            moves.move_to_element_with_offset(element, self._offset(element, share), 0)
        moves.release().perform()

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
        return [f"{e['level']}: {e['message']}" for e in self.driver.get_log("browser")]

    def _find(self, selector: str) -> Any:
        element = self.driver.find_element("css selector", selector)
        self.run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
        return element

    def _offset(self, element: Any, share_x: float) -> int:
        width = self.run("return arguments[0].getBoundingClientRect().width", element)
        return round((share_x - 0.5) * width)

    def _devtools(self, command: str, **parameters: Any) -> Any:
        return self.driver.execute_cdp_cmd(command, parameters)


@contextlib.contextmanager
def open_browser() -> Iterator[Browser]:
    """A headless Chromium without network use of its own; skips the test where there is none."""
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("needs Chromium and its chromedriver")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in (*FLAGS, f"user-data-dir={profile}"):
            options.add_argument(f"--{flag}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
        try:
            yield Browser(driver)
        finally:
            driver.quit()
