"""A run that is being written, or was torn: it is read all the same, and what is amiss is said."""

import os
import re
import shutil

import pytest

from counterpoise.anyloop.journal import Journal
from counterpoise.errors import UserError
from counterpoise.json_lines import read_json_lines
from counterpoise.run_folder import RunFolder

READERS = ("report", "diagnose", "watch", "best")
# Who reads a file tells of its torn line; to `watch`, it may be one that is being written.
TELLING = {
    "signals.jsonl": {"report", "diagnose"},
    "metrics.jsonl": {"report", "best"},
    "events.jsonl": {"report"},
}


@pytest.fixture(scope="module")
def finished(fault_server, fault_config, tmp_path_factory):
    path = tmp_path_factory.mktemp("finished") / "run"
    assert fault_server.run("train", "--config", fault_config, "--run-dir", path).code == 0
    return path


@pytest.fixture
def path(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def read(server, path, verb):
    return server.run(verb, path, *(["--once"] if verb == "watch" else []))


def test_the_second_writer_is_refused_and_readers_are_not(fault_server, fault_config, path):
    undisturbed = {verb: read(fault_server, path, verb).code for verb in READERS}
    with RunFolder(path).lock():
        ended = fault_server.run("resume", path)
        assert ended.code == 2
        assert ended.err == (
            f"counterpoise: {path}: another process (pid {os.getpid()} on "
            f"{ended.err.split(' on ')[1].split(', ')[0]}, since "
            f"{ended.err.split('since ')[1].split(')')[0]}) writes this run; "
            "wait for it, stop it, or choose another folder\n"
        )
        for verb, code in undisturbed.items():
            assert read(fault_server, path, verb).code == code
    assert fault_server.run("resume", path).code == 0


def test_a_new_training_into_a_folder_that_is_being_made_is_refused(
    fault_server, fault_config, tmp_path
):
    run = RunFolder(tmp_path / "run")
    with run.lock():
        ended = fault_server.run("train", "--config", fault_config, "--run-dir", run.path)
    assert ended.code == 2
    assert "writes this run" in ended.err
    assert [p.name for p in run.path.iterdir()] == [".lock"]


@pytest.mark.parametrize("name", ["signals.jsonl", "metrics.jsonl", "events.jsonl"])
def test_a_torn_last_line_is_read_past_and_told(fault_server, finished, path, name):
    undisturbed = {verb: read(fault_server, path, verb).code for verb in READERS}
    with (path / name).open("a") as file:
        file.write('{"step": 9, "sta')
    told = set()
    for verb, code in undisturbed.items():
        ended = read(fault_server, path, verb)
        assert ended.code == code, (verb, ended.err)
        said = ended.out + ended.err
        if verb == "report":
            said += (path / "report.html").read_text()
        # The folder's name is that of this test.
        if "torn or not a JSON object: left out" in said:
            told.add(verb)
    assert told == TELLING[name]
    ended = fault_server.run("resume", path, "--steps", "6")
    assert ended.code == 0
    assert re.search(rf"{name}.*(torn|unfinished)", ended.out)
    assert read_json_lines(path / name)[1] == []


def test_a_second_balance_in_one_folder_is_refused_until_the_first_is_closed(tmp_path):
    run = RunFolder(tmp_path / "run")
    with run.lock(), pytest.raises(UserError, match=r"pid \d+ .* writes this run"):
        Journal(run.path, "none", {}, 10).begin(0, writes=True)
    first = Journal(run.path, "none", {}, 10)
    first.begin(0, writes=True)
    with pytest.raises(UserError, match="writes this run"):
        Journal(run.path, "none", {}, 10).begin(3, writes=True)
    first.close()
    again = Journal(run.path, "none", {}, 10)
    again.begin(3, writes=True)
    again.close()
