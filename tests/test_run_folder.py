import errno
import json

import pytest

from counterpoise.errors import UserError
from counterpoise.run_folder import (
    JsonLines,
    RunFolder,
    atomic_write,
    drop_rows_after,
    read_json_lines,
)


def test_atomic_write_replaces_only_on_success(tmp_path):
    path = tmp_path / "sub" / "file.txt"
    with atomic_write(path) as temporary:
        temporary.write_text("first")
    assert path.read_text() == "first"
    assert path.stat().st_mode & 0o666 == path.parent.stat().st_mode & 0o666

    with pytest.raises(RuntimeError, match="mid-way"), atomic_write(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("mid-way")
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]


def test_full_disk_is_one_line(tmp_path):
    path = tmp_path / "file.txt"
    with (
        pytest.raises(UserError, match="No space left on device.*free some space"),
        atomic_write(path) as temporary,
    ):
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_full_disk_on_the_real_device():
    from pathlib import Path

    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full on this system")
    rows = JsonLines(full)
    with pytest.raises(UserError, match="/dev/full: cannot be written"):
        rows.append({"step": 1})
    rows.close()


def test_create_writes_the_config_first_and_refuses_a_used_folder(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.create("a: 1\n")
    assert run.config.read_text() == "a: 1\n"
    with pytest.raises(UserError, match="exists already; continue it with `counterpoise resume"):
        run.create("a: 2\n")
    assert run.config.read_text() == "a: 1\n"


def test_open_needs_a_run(tmp_path):
    with pytest.raises(UserError, match="not a run folder"):
        RunFolder.open(tmp_path)


def test_checkpoints_sort_by_step_and_leftovers_go(tmp_path):
    run = RunFolder(tmp_path)
    run.checkpoints.mkdir()
    for step in (1000, 90, 12345678):
        run.checkpoint(step).touch()
    leftover = run.checkpoints / ".step-00000100.safetensors.77.tmp"
    leftover.touch()
    assert run.checkpoint_files() == [run.checkpoint(s) for s in (90, 1000, 12345678)]
    run.remove_leftovers()
    assert not leftover.exists()


def test_json_lines_survive_a_torn_last_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = JsonLines(path)
    rows.append({"step": 1, "ä": "ö"})
    rows.append({"step": 2})
    rows.close()
    with path.open("a") as file:
        file.write('{"step": 3, "los')
    read, notes = read_json_lines(path)
    assert read == [{"step": 1, "ä": "ö"}, {"step": 2}]
    assert notes == ["rows.jsonl line 3 is torn or not a JSON object: left out"]


def test_rows_after_the_checkpoint_are_dropped(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"step": step}) + "\n" for step in range(5)) + "{torn")
    notes = drop_rows_after(path, 2)
    assert [row["step"] for row in read_json_lines(path)[0]] == [0, 1, 2]
    assert len(notes) == 1
    assert drop_rows_after(tmp_path / "none.jsonl", 2) == []


def test_nan_is_never_written_as_invalid_json(tmp_path):
    rows = JsonLines(tmp_path / "rows.jsonl")
    with pytest.raises(ValueError, match="Out of range float"):
        rows.append({"loss": float("nan")})
    rows.close()
