"""The site and its files: every part of the code has its page, every link leads somewhere."""

import os
import re
import subprocess
import sys
import tomllib

import pytest

from counterpoise.logs.read import read_log
from counterpoise.programs import PROGRAMS
from docs_helpers import DOCS, ROOT, dead_links

sys.path.insert(0, str(DOCS / "hooks"))

import loads
import real_run
import write
from generated.real_runs import COLUMNS, RUNS


def test_what_is_made_from_the_code_is_as_the_code_has_it():
    stale = [path.relative_to(ROOT).as_posix() for path in write.out_of_date()]
    assert stale == [], "`make pages` (docs/hooks/write.py) brings them up to date"


def test_a_row_of_a_real_run_is_of_its_second_half(tmp_path):
    lines = [
        f"(epoch: 1, iters: {i}, time: 1) G_GAN: {i} G_L1: 9 D_real: {i} D_fake: 0"
        for i in range(11)
    ]
    (tmp_path / "loss_log.txt").write_text("\n".join(lines))
    (trace,) = read_log(tmp_path / "loss_log.txt")
    row = real_run.row(trace, PROGRAMS[trace.program])
    # Steps 5 to 10; this program's loss of D is the mean of its halves.
    assert tomllib.loads(row) == {
        "lines": 11, "last_step": 10, "d_loss": [3.75, 2.75, 4.75], "g_loss": [7.5, 5.5, 9.5],
    }  # fmt: skip


def test_real_runs_say_where_they_are_and_are_in_order():
    for run in RUNS:
        assert run["program"] in PROGRAMS
        assert "issue" in run or re.fullmatch("[0-9a-f]{40}", run["commit"])
        for median, low, high in (
            run[name] for name in COLUMNS if run["lines"] > 1 and name in run
        ):
            assert low <= median <= high


def test_no_link_is_dead_on_a_code_host():
    folders = ("docs", "corpus", "loopbugs", "studies")
    pages = [
        *ROOT.glob("*.md"),
        *(page for name in folders for page in (ROOT / name).rglob("*.md")),
    ]
    assert len(pages) > 80
    assert [dead for page in pages for dead in dead_links(page)] == []


def test_dead_links_are_seen(tmp_path):
    (tmp_path / "b.md").write_text("# `A` [link](b.md), & more\n\n```sh\n# not one\n```\n")
    page = tmp_path / "a.md"
    page.write_text("[x](b.md#a-link--more) ![x](https://a.org) `[x](c)` [x](b.md#not-one)")
    assert dead_links(page) == ["a.md: b.md#not-one"]
    page.write_text('![x](none.png) <img src="gone.png"> [x](#here)')
    assert dead_links(page) == ["a.md: none.png", "a.md: gone.png", "a.md: #here"]


def test_what_a_page_would_load_from_the_network_is_seen():
    text = """
        <link rel="stylesheet" href="assets/site.css"><link rel="canonical" href="https://a.org/">
        <link rel="preconnect" href="https://fonts.org"><script src="//cdn.org/x.js"></script>
        <img src="images/a.png" alt=""><img src="b.png" srcset="https://c.org/b.png 2x">
        <a href="https://arxiv.org/abs/1612.07919">a link is not loaded</a>
        <style>@import "https://d.org/e.css"; p { background: url(f.png) }</style>
    """
    assert loads.problems_of_page(text) == [
        "loads https://fonts.org",
        "loads //cdn.org/x.js",
        "loads https://c.org/b.png",
        "loads https://d.org/e.css",
        "b.png has no alt",
    ]
    assert loads.problems_of_style("p { background: url('//g.org/h.png') }") == [
        "loads //g.org/h.png"
    ]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("material", reason="the site needs `pip install ./counterpoise[docs]`")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.mark.slow
def test_the_site_builds_strictly_and_reads_without_a_network(site):
    """`make docs`, which CI runs, does the same."""
    pages = {path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md")}
    assert pages - {path.relative_to(site) for path in site.rglob("*.html")} == set()
    assert loads.problems_of_site(site) == []
    assert not (site / "hooks").exists()
    assert not (site / "layers.toml").exists()


@pytest.mark.slow
def test_the_site_is_searched_from_disk(site):
    index = (site / "search" / "search_index.js").read_text(encoding="utf-8")
    assert index.startswith("var __index = ")
    assert "d-saturated" in index
    assert "assets/iframe-worker.js" in (site / "index.html").read_text(encoding="utf-8")
    assert (site / "assets" / "iframe-worker.js").is_file()


def test_docstrings_become_pages():
    pytest.importorskip("griffe", reason="the site needs `pip install ./counterpoise[docs]`")
    from docstrings import as_lists

    text = "What it does: it works.\n\na, b: two\n    lines\nc: one\n\nSource: me."
    assert as_lists(text) == (
        "What it does: it works.\n\n- **a, b**: two\n    lines\n- **c**: one\n\nSource: me."
    )
