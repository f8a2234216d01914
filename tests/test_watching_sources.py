"""What is at a path decides how it is followed."""

import os

import pytest

from counterpoise.errors import UserError
from counterpoise.watching.log_source import EventFilesSource, LogSource
from counterpoise.watching.options import WatchOptions
from counterpoise.watching.run_source import RunSource
from counterpoise.watching.sources import Watcher, open_source
from watching_helpers import append, begin_run, row, seed_lines


def test_each_kind_has_its_source(tmp_path):
    begin_run(tmp_path / "run")
    append(tmp_path / "train.log", *seed_lines())
    append(tmp_path / "balanced" / "signals.jsonl", row(1))
    append(tmp_path / "stylegan" / "stats.jsonl", {"Loss/G/loss": {"mean": 1.0}})
    append(tmp_path / "board" / "events.out.tfevents.1", "")
    expected = {
        "run": RunSource,
        "balanced": RunSource,
        "train.log": LogSource,
        "stylegan": LogSource,
        "board": EventFilesSource,
        "board/events.out.tfevents.1": EventFilesSource,
    }
    options = WatchOptions()
    assert {name: type(open_source(tmp_path / name, options)) for name in expected} == expected


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("missing", "no such file or folder"),
        ("empty", "a folder without config.yaml"),
        ("program", "a binary file"),
        ("pipe", "not a file that can be followed"),
        ("x" * 300, r"cannot be read \(File name too long\)"),
    ],
)
def test_what_cannot_be_watched_is_said(tmp_path, name, why):
    (tmp_path / "empty").mkdir()
    (tmp_path / "program").write_bytes(b"MZ\0\1")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match=f"{name}: {why}"):
        open_source(tmp_path / name, WatchOptions())


def test_names_are_given_for_logs_alone(tmp_path):
    begin_run(tmp_path / "run")
    with pytest.raises(UserError, match="--map is for logs of other programs"):
        open_source(tmp_path / "run", WatchOptions(mapping={"errd": "d_loss"}))


def test_a_watcher_waits_where_it_is_asked_to(tmp_path):
    path = tmp_path / "run"
    with pytest.raises(UserError, match="no such file or folder"):
        Watcher(path, wait=False)
    watcher = Watcher(path, wait=True)
    state = watcher.look()
    assert (state.status.kind, state.status.text) == ("waiting", "waits: no such file or folder")
    path.mkdir()
    assert "a folder without config.yaml" in watcher.look().status.text
    begin_run(path, steps=3)
    assert watcher.look().step == 3
