"""The page in a browser: charts, samples, keyboard, phone, dark mode, no canary, and as it goes."""

import pytest

from browser_helpers import Keys, open_browser
from counterpoise.pages.curves import Curves
from counterpoise.pages.page import page as page_of
from counterpoise.pages.page import read_runs
from counterpoise.pages.server import WatchServer
from counterpoise.watching.sources import WatchOptions, open_source
from report_helpers import (
    CANARY,
    EVENTS,
    event,
    rows,
    write_lines,
    write_run,
    write_samples,
    write_strange_run,
)
from watching_helpers import append

NAME = "<img src=x onerror=window.canary=3>"
READY = "return document.querySelector(arguments[0]).classList.contains('js-plotly-plot')"
LOSS = "#chart-g-loss .plot"


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


def write_page(path, *folders):
    path.write_text(page_of(read_runs([folder.path for folder in folders])), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run with a finding, a NaN and a spike, and a stranger's."""
    parent = tmp_path_factory.mktemp("runs")
    signals = rows(
        g_loss=lambda step: 777.0 if step == 33 else (None if step == 50 else 2.0 + step / 100)
    )
    signals[49]["non_finite"] = ["g_loss"]
    return write_run(parent / "first", signals), write_strange_run(parent / NAME)


def hears_no_canary(browser):
    for plot in plots_of(browser)[:4]:  # Metrics and loss terms, which have such names.
        show(browser, plot)
        browser.move_to(f"{plot} .nsewdrag", 0.5)
    assert browser.run("return document.querySelectorAll('img[src=x]').length") == 0
    assert browser.run("return window.canary === undefined")
    assert browser.complaints() == []


@pytest.fixture(scope="module")
def page(runs, tmp_path_factory):
    return write_page(tmp_path_factory.mktemp("one") / "report.html", runs[0])


@pytest.fixture
def opened(browser, page):
    browser.emulate()
    browser.open(page)
    return browser


@pytest.fixture
def drawn(browser, page):
    """The page with all of its charts, for tests that leave it as it was."""
    browser.emulate()
    if browser.tag != "drawn":
        browser.open(page)
        show_all(browser)
        browser.tag = "drawn"
    return browser


def show(browser, plot=LOSS):
    """Scroll to a chart, and wait until it is drawn."""
    browser.run("document.querySelector(arguments[0]).scrollIntoView({block: 'center'})", plot)
    browser.wait_for(READY, plot)


def plots_of(browser):
    return browser.run(
        "return [...document.querySelectorAll('figure.chart')].map((f) => `#${f.id} .plot`)"
    )


def show_all(browser):
    plots = plots_of(browser)
    for plot in plots:
        show(browser, plot)
    curves = browser.run(
        "return [...document.querySelectorAll('.plot')]"
        ".map((plot) => plot.querySelectorAll('.scatterlayer .js-line').length)"
    )
    assert 0 not in curves
    return plots


def axis(browser, name, plot=LOSS):
    return browser.run(f"return document.querySelector('{plot}')._fullLayout.{name}")


def text_of(browser, selector):
    return browser.run("return document.querySelector(arguments[0]).textContent", selector)


def source_of(browser, selector):
    return browser.run("return document.querySelector(arguments[0]).src", selector)


def test_every_chart_is_drawn_and_the_console_is_silent(browser, runs, tmp_path):
    empty = write_run(tmp_path / "empty", [], events=[], samples=())
    for folders, least in (([empty], 0), (runs, 20)):
        browser.open(write_page(tmp_path / "report.html", *folders))
        assert len(show_all(browser)) >= least
        assert browser.complaints() == []
        assert browser.run("return performance.getEntriesByType('resource').length") == 0
    hears_no_canary(browser)
    legend = browser.run(
        "return [...document.querySelectorAll('#chart-g-loss-0 .legendtext')]"
        ".map((name) => name.textContent)"
    )
    assert legend == ["first (1 NaN or infinite)", NAME]
    browser.run(
        "const s = document.querySelector('#sample-against'); s.value = '1';"
        "s.dispatchEvent(new Event('change'))"
    )
    assert text_of(browser, "#against-name") == f"output of {NAME}, step 60"


def test_the_spike_is_drawn_and_the_nan_is_marked(drawn):
    highest = drawn.run(
        f"return document.querySelector('{LOSS}').data.map((t) => Math.max(...t.y.filter(Number)))"
    )
    assert 777 in highest
    assert axis(drawn, "yaxis.range[1]") > 777
    crosses = drawn.run(
        f"return document.querySelector('{LOSS}').data.filter((t) => t.yaxis === 'y2')"
        ".map((t) => t.x)"
    )
    assert crosses == [[50]]


def test_a_chart_can_be_saved_as_a_picture(drawn):
    """The page's own policy must let the chart library draw into a picture."""
    drawn.run(
        f"window.Plotly.toImage(document.querySelector('{LOSS}'), {{format: 'png'}})"
        ".then((uri) => { window.picture = uri })"
    )
    assert drawn.wait_for("return window.picture").startswith("data:image/png;base64,")
    assert drawn.complaints() == []


@pytest.mark.parametrize("dark", [False, True])
def test_all_text_has_contrast(drawn, dark):
    drawn.emulate(dark=dark)
    # Charts follow once they are in sight.
    for plot in plots_of(drawn):
        show(drawn, plot)
        drawn.wait_for(
            f"return document.querySelector('{plot}')._fullLayout.paper_bgcolor === arguments[0]",
            "#14171a" if dark else "#fff",
        )
    ground = drawn.run("return getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") is not dark
    found = drawn.contrasts()
    assert len(found) > 200
    assert [(text, ratio) for ratio, text in found if ratio < 4.5] == []


def test_everything_that_can_be_used_has_a_name_and_its_turn(drawn):
    assert len(plots_of(drawn)) >= 10
    roles = {"button", "link", "slider", "combobox", "checkbox", "image", "img", "region", "figure"}
    nodes = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in drawn.accessibility_tree()
        if node.get("role", {}).get("value") in roles
    ]
    assert len(nodes) > 40
    assert [node for node in nodes if not node[1].strip()] == []
    # From the top, the keyboard comes to the verdict, and on to everything.
    drawn.run("document.body.tabIndex = -1; document.body.focus()")
    drawn.press(Keys.TAB)
    assert drawn.run("return document.activeElement.className") == "skip"
    drawn.run(
        "window.reached = [];"
        "document.addEventListener('focusin', (event) => window.reached.push(event.target.id))"
    )
    drawn.press(Keys.TAB * 60)
    assert {"sample-crop", "sample-step", "wipe-at", "smoothing", "reset"} <= {
        *drawn.run("return window.reached")
    }


def test_a_drag_zooms_all_charts(opened):
    show(opened)
    opened.drag(f"{LOSS} .nsewdrag", 0.7, 0.8)
    opened.wait_for(f"return document.querySelector('{LOSS}')._fullLayout.xaxis.range[0] > 35")
    first, last = axis(opened, "xaxis.range")
    assert 38 < first < last < 52
    show(opened, "#chart-d-loss .plot")
    assert axis(opened, "xaxis.range", "#chart-d-loss .plot") == [first, last]
    opened.click("#reset")
    show(opened)
    assert axis(opened, "xaxis.range[0]") < 1


def test_a_finding_leads_to_its_steps(opened):
    opened.click(".finding.severe button")
    show(opened)
    first, last = axis(opened, "xaxis.range")
    assert 40 < first < 50 < last
    numbers = opened.run(
        f"return document.querySelector('{LOSS}').layout.annotations.map((a) => a.text)"
    )
    assert "<b>1</b>" in numbers
    opened.click("#shading")
    assert opened.run(f"return document.querySelector('{LOSS}').layout.annotations.length") == 0


def test_the_slider_changes_the_sample(opened):
    assert text_of(opened, "#sample-step-name") == "60"
    newest = source_of(opened, "#wipe-over")
    opened.run("document.querySelector('#sample-step').focus()")
    opened.press(Keys.ARROW_LEFT)
    assert text_of(opened, "#sample-step-name") == "40"
    assert source_of(opened, "#wipe-over") not in ("", newest)
    alt = opened.run("return document.querySelector('#wipe-over').alt")
    assert alt == "Crop 1: output at step 40"
    opened.press(Keys.HOME)
    assert text_of(opened, "#sample-step-name") == "20"
    opened.press(Keys.END)
    assert source_of(opened, "#wipe-over") == newest
    shown = opened.run("return document.querySelector('#wipe-over').naturalWidth")
    assert shown == 32


def test_the_wipe_by_mouse_and_by_keyboard(opened):
    clip = "return document.querySelector('#wipe-over').style.clipPath"
    assert opened.wait_for(clip) == "inset(0px 50% 0px 0px)"
    opened.drag("#wipe", 0.5, 0.25)
    share = float(opened.run(clip).split()[1].rstrip("%"))
    assert share == pytest.approx(75, abs=4)
    opened.run("document.querySelector('#wipe-at').focus()")
    opened.press(Keys.END)
    assert opened.run(clip) == "inset(0px 0% 0px 0px)"
    for value, name in (("hr", "HR"), ("lr", "LR, pixels enlarged"), ("bicubic", "bicubic")):
        opened.run(
            "const s = document.querySelector('#sample-against'); s.value = arguments[0];"
            "s.dispatchEvent(new Event('change'))",
            value,
        )
        assert text_of(opened, "#against-name") == name
        kept = "return JSON.parse(document.querySelector('#sample-data').textContent)[0]"
        assert source_of(opened, "#wipe-under") == opened.run(kept)[value]


def test_a_phone_shows_it_all_without_scrolling_sideways(browser, page):
    browser.emulate(width_px=390, height_px=844)
    browser.open(page)
    show_all(browser)
    assert browser.run("return document.documentElement.scrollWidth") <= 390
    small = browser.run(
        "return [...document.querySelectorAll('button, select, input, summary')]"
        ".filter((e) => e.getBoundingClientRect().height > 0 && e.type !== 'checkbox')"
        ".filter((e) => e.getBoundingClientRect().height < 24).map((e) => e.outerHTML)"
    )
    assert small == []
    wide = browser.run(
        "return [...document.querySelectorAll('.plot, #wipe')]"
        ".filter((e) => e.getBoundingClientRect().right > 391).map((e) => e.outerHTML.slice(0, 80))"
    )
    assert wide == []


def test_no_canary_sings(browser, tmp_path):
    """The names of one run stand elsewhere in a page than those of two."""
    browser.open(write_page(tmp_path / "report.html", write_strange_run(tmp_path / NAME)))
    hears_no_canary(browser)


def test_what_slipped_through_would_not_run(opened):
    """The page's policy, tried with a script and a handler that are not its own."""
    opened.run(
        "const s = document.createElement('script'); s.textContent = 'window.canary = 1';"
        "document.body.append(s);"
        "const i = document.createElement('div'); i.innerHTML = arguments[0];"
        "document.body.append(i)",
        "<img src='data:,x' onerror='window.canary = 2'>",
    )
    said = opened.complaints()
    assert any("Content Security Policy" in line for line in said)
    assert opened.run("return window.canary === undefined")


def test_the_page_follows_keeps_what_is_open_and_says_when_it_is_lost(browser, tmp_path):
    signals = rows(60)
    folder = write_run(tmp_path / NAME, signals[:40], events=EVENTS[:1], samples=())
    folder.config.write_text("balance: {policy: none}\n")
    curves = Curves()
    source = open_source(folder.path, WatchOptions(begin=curves.begin))

    def shown(step):
        server.look()
        browser.wait_for(
            "return document.querySelector('.progress').textContent.startsWith(arguments[0])",
            f"Step {step}",
        )

    browser.emulate()
    with WatchServer(source, curves, 0) as server:
        port = server.server_address[1]
        browser.open(server.url)
        shown(40)
        assert text_of(browser, "h1") == NAME
        show(browser)
        browser.click("#log")
        browser.click("#findings details summary")
        append(folder.signals, *signals[40:50])
        shown(50)
        show(browser)
        drawn = f"return Math.max(...document.querySelector('{LOSS}').data[0].x.filter(Number))"
        browser.wait_for(f"{drawn} === 50")
        # What was opened and chosen stays so, though it came anew.
        assert browser.run("return document.querySelector('#findings details').open")
        assert axis(browser, "yaxis.type") == "log"
        assert browser.run("return document.querySelector('#samples').hidden")
        write_samples(folder, [20, 50])
        append(folder.signals, *signals[50:])
        append(folder.events, event(60, "closed", CANARY))
        shown(60)
        browser.wait_for("return document.querySelector('#wipe-over').naturalWidth > 0")
        assert text_of(browser, "#sample-step-name") == "50"
        assert "Closed after step 60" in text_of(browser, ".state")
        browser.emulate(width_px=390, height_px=800)
        browser.wait_for("return document.documentElement.scrollWidth <= 390")
        assert browser.run("return document.getElementById('lost').hidden")
        assert browser.run("return document.querySelectorAll('img[src=x]').length") == 0
        assert browser.complaints() == []
    browser.wait_for("return !document.getElementById('lost').hidden")
    write_lines(folder.signals, signals[:30])
    with WatchServer(source, curves, port) as server:
        shown(30)
        assert browser.run("return document.getElementById('lost').hidden")
    assert browser.run("return window.canary === undefined")
    said = [m for m in browser.complaints() if "ERR_CONNECTION_REFUSED" not in m]
    assert said == []
