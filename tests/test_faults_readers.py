"""A run that is being written, or was torn: it is read all the same, and what is amiss is said."""

import os
import re
import shutil

import pytest

from counterpoise.json_lines import read_json_lines
from counterpoise.run_folder import RunFolder

# What each command reads that may be torn; to `watch`, a line may be one that is being written.
READERS = {
    "report": {"signals.jsonl", "metrics.jsonl", "events.jsonl"},
    "diagnose": {"signals.jsonl"},
    "watch": set(),
}


@pytest.fixture
def path(undisturbed, tmp_path):
    shutil.copytree(undisturbed[0], tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture(scope="module")
def codes(fault_server, undisturbed, tmp_path_factory):
    """How the readers end where all is well."""
    path = tmp_path_factory.mktemp("read") / "run"
    shutil.copytree(undisturbed[0], path)
    return {verb: read(fault_server, path, verb).code for verb in READERS}


def read(server, path, verb):
    return server.run(verb, path, *(["--once"] if verb == "watch" else []))


def test_the_second_writer_is_refused_and_readers_are_not(fault_server, fault_config, path, codes):
    new = RunFolder(path.parent / "new")
    with RunFolder(path).lock(), new.lock():
        train = ("train", "--config", fault_config, "--run-dir", new.path)
        for line in (("resume", path), train):
            ended = fault_server.run(*line)
            assert ended.code == 2
            assert f"another process (pid {os.getpid()}" in ended.err
            assert ended.err.count("\n") == 1
        assert [p.name for p in new.path.iterdir()] == [".lock"]
        assert {verb: read(fault_server, path, verb).code for verb in READERS} == codes
    assert fault_server.run("resume", path).code == 0


def test_a_torn_last_line_is_read_past_and_told(fault_server, path, codes):
    names = READERS["report"]
    for name in names:
        with (path / name).open("a") as file:
            file.write('{"step": 9, "sta')
    for verb, expected in READERS.items():
        ended = read(fault_server, path, verb)
        assert ended.code == codes[verb], (verb, ended.err)
        said = ended.out + ended.err
        if verb == "report":
            said += (path / "report.html").read_text()
        assert ("torn or not a JSON object" in said) == bool(expected), verb
        if verb != "diagnose":  # which names the run
            assert set(re.findall(r"(\w+\.jsonl)[^.]* torn or not", said)) == expected, verb
    ended = fault_server.run("resume", path, "--steps", "6")
    assert ended.code == 0
    for name in names:
        assert re.search(rf"{name}.*(torn|unfinished)", ended.out)
        assert read_json_lines(path / name)[1] == []
