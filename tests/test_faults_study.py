"""A study that is killed, or whose disk gets full, at any write: the same rows in the end."""

import shutil

import pytest

from fault_helpers import FULL_FROM, FULL_ONCE, KILL_AMID, KILL_BEFORE
from study_helpers import expected_rows, rows_in

# Cells that take no time, in the command's own process; workers are `test_study_workers`' part.
QUICK = """
import study_helpers
from counterpoise.commands import study
study.play_cell = study_helpers.play
study.load_plan = lambda source, overrides: study_helpers.PLAN
study.local_workers = study_helpers.InThisProcess
"""


def play(server, path, **fault):
    return server.run(
        *("study", "run", "--plan", "test", "--out", path, "--workers", "1"),
        below=path,
        before=(QUICK,),
        **fault,
    )


def strike(server, folder, places):
    """Strike at each of the operations on files; the study goes on with the same command."""
    path = folder / "study"
    for at in places:
        for action in (KILL_BEFORE, KILL_AMID, FULL_ONCE, FULL_FROM):
            ended = play(server, path, at=at, action=action)
            if action in (KILL_BEFORE, KILL_AMID):
                assert ended.code == -9
            elif ended.code:
                assert ended.code == 2
                (line,) = ended.err.splitlines()
                assert "No space left on device" in line
            again = play(server, path)
            assert again.code == 0, again.err
            assert rows_in(path) == expected_rows()
            shutil.rmtree(path)


def operations(server, folder):
    ended = play(server, folder / "undisturbed")
    assert ended.code == 0, ended.err
    assert rows_in(folder / "undisturbed") == expected_rows()
    return ended.count


def test_a_study_struck_at_a_few_writes(fault_server, tmp_path):
    strike(fault_server, tmp_path, range(2, operations(fault_server, tmp_path), 15))


@pytest.mark.slow
def test_a_study_struck_at_any_write(fault_server, tmp_path):
    strike(fault_server, tmp_path, range(1, operations(fault_server, tmp_path) + 1))
