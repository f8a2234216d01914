"""Running a study: what is missing is played, every row is kept, and nothing counts twice."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from counterpoise.errors import UserError
from counterpoise.study import run as run_module
from counterpoise.study import store
from counterpoise.study.executors import Outcome, Play, answer_of
from counterpoise.study.plan import StudyPlan, cells_of
from counterpoise.study.run import run_study, selected
from study_helpers import PLAN, TRIES, play, play_and_die_once, play_and_miss, play_and_raise
from test_study_store import events_of, full_after

PATIENCE_SECONDS = 60.0


@dataclass
class InThisProcess:
    """An executor that starts nothing."""

    play: Play
    plan: StudyPlan
    count: int

    def outcomes(self, cells):
        for cell in cells:
            kind, content = answer_of(self.play, cell, self.plan)
            if kind == "user error":
                raise UserError(content)
            yield Outcome(cell, row=content)


@pytest.fixture
def in_this_process(monkeypatch):
    monkeypatch.setattr(run_module, "LocalExecutor", InThisProcess)


def rows_in(folder):
    """The rows on the disk, by key; no good row is there twice."""
    rows = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    keys = ["/".join(str(row[n]) for n in ("task", "stressor", "strategy", "seed")) for row in rows]
    good = Counter(key for key, row in zip(keys, rows, strict=True) if row["status"] == "done")
    assert set(good.values()) <= {1}
    return dict(zip(keys, rows, strict=True))


def expected_rows():
    return {cell.key: play(cell, PLAN) for cell in cells_of(PLAN)}


def test_a_study_in_worker_processes_survives_one_and_is_complete(tmp_path, monkeypatch):
    monkeypatch.setenv(TRIES, str(tmp_path))
    folder, said = tmp_path / "study", []
    progress = run_study(
        PLAN, folder, play_and_die_once, workers=2, watch=lambda p, m: said.append((p.done, m))
    )
    assert rows_in(folder) == expected_rows()
    assert (progress.cells, progress.before, progress.done, progress.errors) == (16, 0, 16, [])
    assert said[0] == (0, "")
    assert [done for done, message in said if not message] == list(range(17))
    events = events_of(folder)
    assert [event["event"] for event in events] == ["start", "lost-worker", "end"]
    assert events[1]["message"].startswith("ring/none/auto/0: its worker died (SIGKILL")
    assert [message for _, message in said if message] == [events[1]["message"]]


@pytest.mark.usefixtures("in_this_process")
def test_a_finished_study_has_nothing_to_do(tmp_path):
    run_study(PLAN, tmp_path, play, workers=1)
    before = (tmp_path / "results.jsonl").read_bytes()
    progress = run_study(PLAN, tmp_path, play_and_raise, workers=1)
    assert (progress.before, progress.done) == (16, 16)
    assert (tmp_path / "results.jsonl").read_bytes() == before


@pytest.mark.usefixtures("in_this_process")
def test_errors_are_tried_again(tmp_path):
    progress = run_study(PLAN, tmp_path, play_and_raise, workers=1)
    assert len(progress.errors) == 8
    assert {row["strategy"] for row in progress.errors} == {"auto"}
    progress = run_study(PLAN, tmp_path, play, workers=1)
    assert (progress.before, progress.done, progress.errors) == (8, 16, [])
    assert rows_in(tmp_path) == expected_rows()


@pytest.mark.usefixtures("in_this_process")
def test_only_some_cells_and_then_the_rest(tmp_path):
    run_study(PLAN, tmp_path, play, workers=1, only=["ring/*/0", "*/auto/1"])
    some = rows_in(tmp_path)
    assert len(some) == 8
    assert all(key.endswith("auto/1") or key.startswith("ring") for key in some)
    progress = run_study(PLAN, tmp_path, play, workers=1)
    assert progress.before == 8
    assert rows_in(tmp_path) == expected_rows()


def test_a_glob_without_a_cell_is_one_line():
    assert selected(PLAN, []) == cells_of(PLAN)
    with pytest.raises(
        UserError, match=r"--only sr/\*: no cell of plan test .*as ring/none/none/0"
    ):
        selected(PLAN, ["ring/*", "sr/*"])


@pytest.mark.usefixtures("in_this_process")
def test_what_a_cell_misses_stops_the_study_without_a_row(tmp_path):
    with pytest.raises(UserError, match="scikit-learn is missing"):
        run_study(PLAN, tmp_path, play_and_miss, workers=1)
    assert not (tmp_path / "results.jsonl").exists()
    run_study(PLAN, tmp_path, play, workers=1)
    assert rows_in(tmp_path) == expected_rows()


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("room_bytes", [0, 500, 1000, 1500, 2000])
def test_a_disk_that_gets_full_keeps_whole_rows_and_the_study_goes_on(
    tmp_path, monkeypatch, room_bytes
):
    with monkeypatch.context() as patch:
        patch.setattr(store.os, "write", full_after(room_bytes))
        with pytest.raises(UserError, match="cannot be written"):
            run_study(PLAN, tmp_path, play, workers=1)
    if (tmp_path / "results.jsonl").exists():
        assert len(rows_in(tmp_path)) < 16
    run_study(PLAN, tmp_path, play, workers=1)
    assert rows_in(tmp_path) == expected_rows()


@pytest.mark.usefixtures("in_this_process")
def test_a_torn_row_is_played_again(tmp_path):
    run_study(PLAN, tmp_path, play, workers=1)
    results = tmp_path / "results.jsonl"
    results.write_bytes(results.read_bytes()[:-9])
    progress = run_study(PLAN, tmp_path, play, workers=1)
    assert progress.before == 15
    assert rows_in(tmp_path) == expected_rows()
    assert "torn-line" in [event["event"] for event in events_of(tmp_path)]


@pytest.mark.usefixtures("in_this_process")
def test_an_interrupted_study_goes_on(tmp_path):
    def interrupted(progress, message):
        if progress.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(PLAN, tmp_path, play, workers=1, watch=interrupted)
    assert len(rows_in(tmp_path)) == 3
    assert events_of(tmp_path)[-1]["message"] == "3 of 16 cells done"
    run_study(PLAN, tmp_path, play, workers=1)
    assert rows_in(tmp_path) == expected_rows()


SCRIPT = """
import sys
from study_helpers import *
from counterpoise import cli
from counterpoise.commands import study

study.play_cell = play_slowly
study.load_plan = lambda source, overrides: PLAN
sys.argv[0] = "counterpoise"
cli.main()
"""


def start_in_process(folder, **options):
    """The command line in a process of its own, on cells of 0.3 seconds."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    command = ["study", "run", "--plan", "test", "--out", str(folder), "--workers", "1"]
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


def wait_for_rows(folder, count):
    results = folder / "results.jsonl"
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not results.exists() or results.read_bytes().count(b"\n") < count:
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_command_keeps_its_rows_and_says_how_to_go_on(tmp_path, monkeypatch, number):
    folder = tmp_path / "my study"
    process = start_in_process(folder)
    wait_for_rows(folder, 2)
    if number == signal.SIGINT:
        with pytest.raises(UserError, match="another process.* runs this study"):
            run_study(PLAN, folder, play, workers=1)
        # As a terminal does: to all processes of the group.
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130
        assert err == ""
        again = f"counterpoise study run --plan test --out '{folder}' --workers 1"
        assert f"stopped; finished cells are kept in {folder}. Go on with: {again}" in out
        assert events_of(folder)[-1]["event"] == "interrupted"
    assert 2 <= len(rows_in(folder)) < 16
    monkeypatch.setattr(run_module, "LocalExecutor", InThisProcess)
    run_study(PLAN, folder, play, workers=1)
    assert rows_in(folder) == expected_rows()


def test_a_file_that_must_not_grow_is_exit_2_and_whole_rows(tmp_path, monkeypatch):
    """As a full disk does, the system writes a part of a row and then refuses."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1200, 1200))

    process = start_in_process(tmp_path / "study", preexec_fn=limit)
    _, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 2
    assert len(err.splitlines()) == 1
    assert "results.jsonl: cannot be written (File too large)" in err
    assert len(rows_in(tmp_path / "study")) == 2
    monkeypatch.setattr(run_module, "LocalExecutor", InThisProcess)
    run_study(PLAN, tmp_path / "study", play, workers=1)
    assert rows_in(tmp_path / "study") == expected_rows()
