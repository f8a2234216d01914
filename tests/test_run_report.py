"""The page of a report as a file: what is in it, what cannot be, and the command that writes it."""

import base64
import hashlib
import html
import json
import re

import pytest

from counterpoise.pages.run_report import MARK, MOST_BYTES, MOST_RUNS, run_report
from counterpoise.run_folder import RunFolder
from report_helpers import EVENTS, event, rows, write_lines, write_run, write_samples
from training_helpers import TINY

CANARY = (
    "</script><script>window.canary=1</script><img src=x onerror='window.canary=2'>\u2028'\"`${1}"
)


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / "run")


def page_of(*folders):
    return run_report([folder.path for folder in folders]).html


def without_library(page):
    """The page without the chart library, which is a third of a million words."""
    longest = max(re.findall(r"<script>(.*?)</script>", page, re.DOTALL), key=len)
    assert len(longest) > 1_000_000
    return page.replace(longest, "")


def data_of(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])


def text_of(page):
    body = re.sub(r"<(script|style).*?</\1>", " ", without_library(page), flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def test_the_verdict_comes_first(folder):
    report = run_report([folder.path])
    text = text_of(report.html)
    ((name, verdict),) = report.verdicts
    assert name == "run"
    start = text.index(verdict)
    for later in ("Finished: step 60 of 60.", "More training is likely to pay.", "Timeline",
                  "Samples over the training", "Held-out images", "The paper's rows: ENet-PA",
                  "Charts", "What happened", "Configuration and versions"):  # fmt: skip
        start = text.index(later, start)
    assert "The training begins, with torch 2." in text


def test_nothing_is_loaded_and_no_script_runs_but_the_pages_own(folder):
    page = page_of(folder)
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1])
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "connect-src" not in policy
    assert "http" not in policy
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashes = {base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts}
    assert hashes == set(re.findall(r"'sha256-([^']*)'", policy))
    assert len(scripts) == 3
    own = without_library(page)
    assert not re.search(r"""(?:src|href)=["']?(?!#|data:)\w""", own)
    assert "@import" not in own
    assert "url(" not in own


def test_what_comes_from_files_is_escaped(tmp_path):
    name = "<script>window.canary=3<" + "\u200bscript>"  # A slash cannot be in a name.
    folder = write_run(
        tmp_path / name,
        [
            row | {"g_terms": {CANARY: 1.0}, "action": {"d_steps": 0, "reason": CANARY}}
            for row in rows()
        ],
        events=[event(0, CANARY, CANARY), *EVENTS],
    )
    write_lines(folder.metrics, [{"step": 5, "stage": CANARY, CANARY: 1.0}])
    folder.config.write_text(folder.config.read_text() + f"{json.dumps(CANARY)}: 1\n")
    page = page_of(folder)
    assert page.count("<script") == 4  # The data's and three of our own; the library has none.
    assert "<img src=x" not in page
    assert "<script>window.canary" not in page
    assert text_of(page).count("window.canary=1") >= 5
    assert CANARY in [s["label"] for chart in data_of(page)["charts"] for s in chart["series"]]


def test_halves_of_characters_make_a_page_all_the_same(tmp_path, counterpoise):
    folder = write_run(tmp_path / "run", events=[event(0, "note", "broken \ud800 half"), *EVENTS])
    assert counterpoise("report", folder.path)[0] == 0
    assert "broken ? half" in folder.report.read_text(encoding="utf-8")


def test_the_data_of_the_page_has_no_spike_lost(folder):
    signals = rows(3000, g_loss=lambda step: 777.0 if step == 1234 else 1.0)
    write_lines(folder.signals, signals)
    curve = data_of(page_of(folder))["runs"][0]["curves"]["g_loss"]
    assert len(curve["x"]) < 2100
    assert curve["y"][curve["x"].index(1234)] == 777.0


def test_a_page_stays_under_its_size_whatever_the_run_holds(tmp_path):
    """Every signal of every step, all different; long texts; samples without end."""
    from counterpoise.trace import COLUMNS

    signals = [
        row
        | {
            name: (row["step"] * 7919 * (place + 1) % 99_991) / 99_991
            for place, name in enumerate(COLUMNS)
        }
        | {"action": {"d_learning_rate_scale": row["step"] % 97 / 97, "reason": "long " * 500}}
        for row in rows(2000, pretrain=0)
    ]
    events = [event(step, "note", "x" * 20_000) for step in range(500)]
    folder = write_run(tmp_path / "run", signals, events=events)
    folder.config.write_text(folder.config.read_text() + "note: " + "y" * 50_000 + "\n")
    write_samples(folder, range(1, 70, 3), crops=10)
    page = page_of(folder)
    assert len(page.encode()) < MOST_BYTES
    assert "events in the middle are not listed" in page


def test_several_runs_on_one_page(folder, tmp_path):
    signals = rows(40, g_loss=lambda step: None if step == 30 else 1.0)
    signals[29]["non_finite"] = ["g_loss"]
    other = write_run(tmp_path / "b" / "run", signals, overrides=["train.seed=5"])
    report = run_report([folder.path, other.path])
    text = text_of(report.html)
    assert "2 runs compared" in text
    assert [name for name, _ in report.verdicts] == [str(folder.path), str(other.path)]
    assert report.verdicts[1][1].startswith("Not healthy")
    assert "train.seed 0 5" in text
    assert text.count("The paper's rows") == 1
    data = data_of(report.html)
    assert [run["name"] for run in data["runs"]] == [str(folder.path), str(other.path)]
    numbers = [band["number"] for run in data["runs"] for band in run["bands"]]
    assert len(set(numbers)) == len(numbers)
    ids = re.findall(r'\bid="([^"]*)"', without_library(report.html))
    assert len(set(ids)) == len(ids)
    targets = re.findall(r'href="#([^"]*)"', without_library(report.html))
    assert set(targets) <= set(ids)


def test_every_link_of_a_page_leads_somewhere(folder, tmp_path):
    for path in (folder.metrics, folder.events, *folder.sample_files()):
        path.unlink()
    empty = write_run(tmp_path / "empty", [], events=[], samples=())
    empty.metrics.unlink()
    for one in (folder, empty):
        page = without_library(page_of(one))
        ids = re.findall(r'\bid="([^"]*)"', page)
        assert len(set(ids)) == len(ids)
        assert set(re.findall(r'href="#([^"]*)"', page)) <= set(ids)
    assert "Not judged: " in text_of(page_of(empty))


# ------------------------------------------------------------------------------ the command


def one_line(result, *parts):
    code, out, err = result
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    for part in parts:
        assert part in err


def test_the_command_writes_the_page_into_the_run(folder, counterpoise):
    code, out, err = counterpoise("report", folder.path)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"report: {folder.report}"
    assert MARK in folder.report.read_text(encoding="utf-8")
    assert counterpoise("report", folder.path)[0] == 0  # Its own page is replaced.
    assert [path.name for path in folder.path.glob(".*")] == []


def test_several_go_beside_the_caller_and_each_has_its_verdict(
    folder, tmp_path, counterpoise, monkeypatch
):
    other = write_run(tmp_path / "other", samples=())
    monkeypatch.chdir(tmp_path)
    code, out, _ = counterpoise("report", folder.path, other.path)
    assert code == 0
    assert [line.split(":")[0] for line in out.splitlines()] == ["run", "other", "report"]
    assert (tmp_path / "report.html").exists()
    code, _, _ = counterpoise("report", folder.path, other.path, "--out", tmp_path / "x" / "y.html")
    assert code == 0
    assert (tmp_path / "x" / "y.html").exists()


def test_mistakes_are_one_line_and_leave_nothing(folder, tmp_path, counterpoise, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one_line(counterpoise("report", tmp_path / "nowhere"), "nowhere", "not a run folder")
    one_line(counterpoise("report", folder.signals), "not a run folder")
    one_line(counterpoise("report", folder.path, folder.path), "given twice")
    one_line(counterpoise("report", folder.path, "--out", tmp_path), "a folder; give a file")
    one_line(counterpoise("report", *[tmp_path / str(k) for k in range(MOST_RUNS + 1)]), "too many")
    one_line(
        counterpoise("report", folder.path, "--out", folder.signals / "report.html"),
        "cannot be written",
    )
    assert not (tmp_path / "report.html").exists()
    folder.report.write_text("my own page")
    one_line(counterpoise("report", folder.path), "is no report of `counterpoise report`")
    assert folder.report.read_text() == "my own page"
    assert counterpoise("report", folder.path, "--out", folder.report)[0] == 0


def test_a_training_that_ends_writes_its_report(tmp_path, counterpoise, monkeypatch):
    arguments = [part for value in TINY for part in ("--set", value)]
    path = tmp_path / "run"
    code, out, _ = counterpoise("train", "--preset", "demo", "--run-dir", path, *arguments)
    assert code == 0
    report = RunFolder(path).report
    assert f"report       {report}" in out
    assert "Finished: step 8 of 8." in text_of(report.read_text(encoding="utf-8"))
    # A page that cannot be made is one line, and the training stands.
    report.write_text("my own page")
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
    assert "training diverged" in err
    page = text_of(RunFolder(path).report.read_text(encoding="utf-8"))
    assert "Diverged: step" in page
    assert "pays is not known" not in page
