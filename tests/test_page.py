"""The page as a file: what is in it, what cannot be, and the commands that write it."""

import base64
import hashlib
import html
import json
import re

import numpy as np
import pytest

from counterpoise.commands.curves import LARGEST, sparkline
from counterpoise.pages.page import LISTED_EVENTS, page, page_body, read_runs
from counterpoise.run_folder import RunFolder
from helpers import one_line
from report_helpers import (
    CANARY,
    event,
    rows,
    write_run,
    write_samples,
    write_strange_run,
)
from training_helpers import TINY

MOST_BYTES = 10_000_000


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / "run")


def page_of(*folders):
    return page(read_runs([folder.path for folder in folders]))


def without_library(text):
    """The page without the chart library, which is a third of a million words."""
    longest = max(re.findall(r"<script>(.*?)</script>", text, re.DOTALL), key=len)
    assert len(longest) > 1_000_000
    return text.replace(longest, "")


def data_of(text, name="data"):
    return json.loads(re.search(rf'id="{name}">(.*?)</script>', text, re.DOTALL)[1])


def text_of(text):
    body = re.sub(r"<(script|style).*?</\1>", " ", without_library(text), flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def links_and_ids(text):
    own = without_library(text)
    ids = re.findall(r'\bid="([^"]*)"', own)
    assert len(set(ids)) == len(ids)
    return set(re.findall(r'href="#([^"]*)"', own)), set(ids)


def test_the_verdict_comes_first(folder):
    runs = read_runs([folder.path])
    text = text_of(page(runs))
    start = text.index(runs[0].verdicts[0][0])
    for later in ("Ended after step 60", "Step 60 of 60", "Findings",
                  "Samples over the training", "Held-out images",
                  "Charts", "Events", "Configuration and versions"):  # fmt: skip
        start = text.index(later, start)
    assert "The training begins, with torch 2." in text
    # Metrics stand beside bicubic's.
    assert "PA 60 27.00 (+1.00) 11.00 (-1.00) 0.3000 (-0.1000)" in text


@pytest.mark.parametrize("live", [False, True])
def test_nothing_is_loaded_and_no_script_runs_but_the_pages_own(folder, live):
    text = page(read_runs([folder.path]), live=live)
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1])
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert ("connect-src 'self'" in policy) == live
    assert "http" not in policy
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    hashes = {base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts}
    assert hashes == set(re.findall(r"'sha256-([^']*)'", policy))
    assert len(scripts) == 3 + live
    own = without_library(text)
    assert not re.search(r"""(?:src|href)=["']?(?!#|data:)\w""", own)
    assert "@import" not in own
    assert "url(" not in own
    assert "<script>" not in page_body(read_runs([folder.path]))


def test_what_comes_from_files_is_escaped(tmp_path):
    name = "<script>window.canary=3<" + "\u200bscript>"  # A slash cannot be in a name.
    folder = write_strange_run(tmp_path / name)
    folder.config.write_text(folder.config.read_text() + f"{json.dumps(CANARY)}: 1\n")
    text = page_of(folder)
    assert text.count("<script") == 5  # Of data and of our own; the library has none.
    assert "<img src=x" not in text
    assert "<script>window.canary" not in text
    assert text_of(text).count("window.canary=1") >= 5
    assert CANARY in [s["label"] for chart in data_of(text)["charts"] for s in chart["series"]]


def test_a_page_stays_under_its_size_whatever_the_run_holds(tmp_path):
    """Every signal of every step, all different; many events; samples without end."""
    from counterpoise.trace import COLUMNS

    signals = [
        row
        | {
            name: (row["step"] * 7919 * (place + 1) % 99_991) / 99_991
            for place, name in enumerate(COLUMNS)
        }
        | {"g_loss": 777.0 if row["step"] == 1234 else 1.0}
        | {"action": {"d_learning_rate_scale": row["step"] % 97 / 97, "reason": "long " * 500}}
        for row in rows(2000, pretrain=0)
    ]
    events = [event(step, "note", f"event {step}") for step in range(2 * LISTED_EVENTS)]
    folder = write_run(tmp_path / "run", signals, events=events)
    write_samples(folder, range(1, 70, 3), crops=10)
    text = page_of(folder)
    assert len(text.encode()) < MOST_BYTES
    assert f"{LISTED_EVENTS} earlier events are in" in text
    assert f"event {2 * LISTED_EVENTS - 1}<" in text
    # No spike is lost in what is drawn.
    curve = data_of(text)["runs"][0]["curves"]["g_loss"]
    assert len(curve["x"]) < 2100
    assert curve["y"][curve["x"].index(1234)] == 777.0


def test_several_runs_on_one_page(folder, tmp_path):
    signals = rows(40, g_loss=lambda step: None if step == 30 else 1.0)
    signals[29]["non_finite"] = ["g_loss"]
    other = write_run(tmp_path / "b" / "run", signals, overrides=["train.seed=5"])
    runs = read_runs([folder.path, other.path])
    assert runs[1].verdicts[0][0].startswith("Not healthy")
    whole = page(runs)
    assert [run.name for run in runs] == [str(folder.path), str(other.path)]
    text = text_of(whole)
    assert "2 runs compared" in text
    assert "train.seed 0 5" in text
    numbers = [band[0] for run in data_of(whole)["runs"] for band in run["bands"]]
    assert len(set(numbers)) == len(numbers)
    links, ids = links_and_ids(whole)
    assert links <= ids
    assert "All runs have the same configuration" in text_of(page([runs[0], runs[0]]))
    runs[1].metrics = [row | {"psnr_y": 20.0, "rmse": 1.0} for row in runs[0].metrics]
    by_psnr, by_rmse = page_body(runs).partition("at the last evaluation: ")[2].split("; ")[:2]
    assert [runs[0].name in by_psnr, runs[1].name in by_rmse] == [True, True]


def test_every_link_of_a_page_leads_somewhere(folder, tmp_path):
    for path in (folder.metrics, folder.events, *folder.sample_files()):
        path.unlink()
    empty = write_run(tmp_path / "empty", [], events=[], samples=())
    empty.metrics.unlink()
    for one in (folder, empty):
        links, ids = links_and_ids(page_of(one))
        assert links <= ids
    assert "Not judged: " in text_of(page_of(empty))


def test_sparkline_runs_from_the_least_to_the_largest():
    assert sparkline(np.arange(8.0), 8) == "▁▂▃▄▅▆▇█"
    assert sparkline(np.ones(3), 8) == "▄▄▄"
    assert len(sparkline(np.arange(1000.0), 48)) == 48
    assert sparkline(np.array([-LARGEST, LARGEST]), 8) == "▁█"


def test_mistakes_are_one_line(folder, tmp_path, counterpoise):
    one_line(counterpoise("report", tmp_path / "nowhere"), "nowhere", "not a run folder")
    one_line(counterpoise("report", folder.signals), "not a run folder", "diagnose")
    one_line(counterpoise("report", folder.path, folder.path), "say where, e.g. --out")
    one_line(counterpoise("report", folder.path, "--out", tmp_path), "a folder; give a file")
    one_line(
        counterpoise("report", folder.path, "--out", folder.signals / "report.html"),
        "cannot be written",
    )


def test_a_training_that_ends_writes_its_report(tmp_path, counterpoise):
    arguments = [part for value in TINY for part in ("--set", value)]
    path = tmp_path / "run"
    code, out, _ = counterpoise("train", "--preset", "demo", "--run-dir", path, *arguments)
    assert code == 0
    report = RunFolder(path).report
    assert f"report       {report}" in out
    assert "Step 8 of 8" in text_of(report.read_text(encoding="utf-8"))
    # A page that cannot be made is one line, and the training stands.
    report.unlink()
    report.mkdir()
    code, out, _ = counterpoise("resume", path)
    assert code == 0
    assert "no report: " in out
    assert "try again with: counterpoise report" in out


def test_a_training_that_diverges_writes_its_report(tmp_path, counterpoise):
    broken = [*TINY, "optimizer.g.learning_rate=1.0e+30", "train.pretrain_learning_rate=1.0e+30"]
    arguments = [part for value in broken for part in ("--set", value)]
    path = tmp_path / "run"
    code, _, err = counterpoise("train", "--preset", "demo", "--run-dir", path, *arguments)
    assert code == 1
    assert (err.count("\n"), "training diverged: step" in err) == (1, True)
    text = text_of(RunFolder(path).report.read_text(encoding="utf-8"))
    assert "Diverged: step" in text
    assert "pays is not known" not in text
