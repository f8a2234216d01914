"""Running a study: what is missing is played, every row is kept, and nothing counts twice."""

import os
import signal
import subprocess
import sys

import pytest

from counterpoise.errors import UserError
from counterpoise.study.plan import cells_of
from counterpoise.study.results import opened_study, plan_of, read_results
from counterpoise.study.run import run_study, selected
from study_helpers import (
    BAD,
    PATIENCE_SECONDS,
    PLAN,
    InThisProcess,
    expected_rows,
    row_of,
    rows_in,
    wait_for,
)


def run(folder, play=None, only=(), **options):
    """Run the test's plan in this process."""
    workers = InThisProcess(play) if play else InThisProcess()
    return run_study(PLAN, selected(PLAN, only), folder, workers, **options)


def goes_on(folder, done=None):
    """Another run plays what is missing, once; what it says. `done`: how many are there before."""
    watched = []
    rows = run(folder, watch=lambda rows, words: watched.append((len(rows), words)))
    assert done in (None, watched[0][0])
    assert {row.key: row.model_dump(mode="json") for row in rows} == expected_rows()
    assert rows_in(folder) == expected_rows()
    return [words for _, words in watched if words]


def test_the_plan_is_written_first_and_the_last_row_of_a_cell_counts(tmp_path):
    folder = tmp_path / "new" / "study"
    with opened_study(folder, PLAN) as (rows, notes):
        assert plan_of(folder) == PLAN
        for row in (row_of(BAD, score=0.25), row_of(BAD, score=0.5)):
            rows.append(row.model_dump(mode="json"))
    assert notes == []
    assert read_results(folder).rows[BAD.key].score == 0.5


def test_another_plan_is_refused_by_the_names_of_what_differs(tmp_path):
    run(tmp_path)
    other = PLAN.model_copy(update={"seeds": (7,), "steps_scale": 2.0})
    with pytest.raises(UserError, match=r"another plan \(other seeds, steps_scale\); give --out"):
        run_study(other, cells_of(other), tmp_path, InThisProcess(plan=other))
    assert plan_of(tmp_path) == PLAN
    assert rows_in(tmp_path) == expected_rows()


def test_a_folder_of_something_else_is_refused_untouched(tmp_path):
    (tmp_path / "photo.png").touch()
    with pytest.raises(UserError, match="has files but no study.yaml"):
        run(tmp_path)
    assert os.listdir(tmp_path) == ["photo.png"]
    for path in (tmp_path / "photo.png", tmp_path / "photo.png" / "below"):
        with pytest.raises(UserError, match="cannot be written"):
            run(path)


def test_a_torn_line_is_no_row_and_is_cut_off_and_told(tmp_path):
    run(tmp_path, only=["ring/*"])
    with (tmp_path / "results.jsonl").open("ab") as file:
        file.write(b'{"task": "ring", "stre')
    assert len(read_results(tmp_path).rows) == 8
    assert "line 9 is torn" in read_results(tmp_path).notes[0]
    (told,) = goes_on(tmp_path, done=8)
    assert told == "results.jsonl: an unfinished last line (22 bytes) was cut off"


def test_only_some_cells_and_then_the_rest(tmp_path):
    run(tmp_path, only=["ring/*/0", "*/auto/1"])
    some = rows_in(tmp_path)
    assert len(some) == 8
    assert all(key.endswith("auto/1") or key.startswith("ring") for key in some)
    goes_on(tmp_path, done=8)


def test_a_glob_without_a_cell_is_one_line():
    assert selected(PLAN, []) == cells_of(PLAN)
    with pytest.raises(UserError, match=r"--only sr/\*: no cell of plan test .*ring/none/none/0"):
        selected(PLAN, ["ring/*", "sr/*"])


def test_an_interrupted_study_goes_on(tmp_path):
    def interrupted(rows, message):
        if len(rows) == 3:
            raise KeyboardInterrupt

    workers = InThisProcess()
    with pytest.raises(KeyboardInterrupt):
        run_study(PLAN, cells_of(PLAN), tmp_path, workers, interrupted)
    assert workers.stopped == 1
    assert len(rows_in(tmp_path)) == 3
    goes_on(tmp_path, done=3)


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


def start_in_process(folder):
    """The command line in a process of its own, on cells of 0.3 seconds."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = ["study", "run", "--plan", "test", "--out", str(folder), "--workers", "1"]
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGINT,
        *(pytest.param(n, marks=pytest.mark.slow) for n in (signal.SIGTERM, signal.SIGKILL)),
    ],
)
def test_a_stopped_command_keeps_its_rows_and_says_how_to_go_on(tmp_path, number):
    folder = tmp_path / "my study"
    process, results = start_in_process(folder), folder / "results.jsonl"
    wait_for(
        lambda: (results.exists() and results.read_bytes().count(b"\n") >= 2) or process.poll()
    )
    if number == signal.SIGINT:
        with pytest.raises(UserError, match="another process.* runs this study"):
            run(folder)
        # As a terminal does: to all processes of the group.
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert (process.returncode, err) == (130, "")
        again = f"counterpoise study run --plan test --out '{folder}' --workers 1"
        assert f"stopped; finished cells are kept in {folder}. Go on with: {again}" in out
    assert len(rows_in(folder)) >= 2
    goes_on(folder)
