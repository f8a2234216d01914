import contextlib
import errno
import json
import os
import stat
import subprocess
import sys
import threading

import pytest

from counterpoise.errors import UserError
from counterpoise.json_lines import MOST_LINE_BYTES, JsonLines, drop_rows_after, read_json_lines
from counterpoise.plain_files import append_text, atomic_write, cut_torn_line, open_regular
from counterpoise.run_folder import RunFolder

NULL, ZERO = os.makedev(1, 3), os.makedev(1, 5)


@pytest.fixture
def device(tmp_path):
    """Makes a device of one's own, which takes all (`NULL`) or gives for ever (`ZERO`)."""

    def made(number):
        path = tmp_path / f"device{os.minor(number)}"
        try:
            os.mknod(path, stat.S_IFCHR | 0o600, number)
            path.open("rb").close()
        except OSError:
            pytest.skip("makes no devices")
        return path

    return made


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


def test_a_device_is_written_to_and_stays(tmp_path, device):
    null = device(NULL)
    with atomic_write(null) as temporary:
        temporary.write_text("page")
    assert stat.S_ISCHR(null.lstat().st_mode)
    assert list(tmp_path.iterdir()) == [null]


def test_a_pipe_is_written_to_and_stays(tmp_path):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    # A reader that is there, whenever the other thread begins.
    holder = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    with atomic_write(pipe) as temporary:
        temporary.write_bytes(b"page" * 50_000)
    reader.join()
    os.close(holder)
    assert read == [b"page" * 50_000]
    assert pipe.is_fifo()


def test_a_pipe_that_nobody_reads_is_one_line(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with (
        pytest.raises(UserError, match="pipe: a pipe that nobody reads; start its reader first"),
        atomic_write(pipe) as temporary,
    ):
        temporary.write_text("page")
    assert pipe.is_fifo()


@pytest.mark.parametrize("to", ["file", "pipe"])
def test_ones_own_output_is_written_in_its_order(tmp_path, to):
    code = (
        "from pathlib import Path; from counterpoise.run_folder import atomic_write; "
        "print('before')\n"
        "with atomic_write(Path('/proc/self/fd/1')) as file: file.write_text('page\\n')\n"
        "print('after')"
    )
    out = tmp_path / "out"
    with out.open("wb") if to == "file" else contextlib.nullcontext(subprocess.PIPE) as target:
        run = subprocess.run([sys.executable, "-c", code], stdout=target, check=True)
    assert (out.read_bytes() if to == "file" else run.stdout) == b"before\npage\nafter\n"


def test_a_link_is_replaced_wherever_it_leads(tmp_path, device):
    null = device(NULL)
    link = tmp_path / "link"
    link.symlink_to(null)
    with atomic_write(link) as temporary:
        temporary.write_text("page")
    assert stat.S_ISCHR(null.lstat().st_mode)
    assert not link.is_symlink()
    assert link.read_text() == "page"


def test_a_folder_is_no_file_to_write(tmp_path):
    with pytest.raises(UserError, match="a folder; give a file"), atomic_write(tmp_path):
        raise AssertionError("it is said first")


def test_what_never_ends_is_not_read(tmp_path, device):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(device(ZERO))
    for name in ("pipe", "link"):
        with pytest.raises(UserError, match=f"{name}: cannot be read .not a regular file"):
            read_json_lines(tmp_path / name)
        with pytest.raises(OSError, match="not a regular file"):
            open_regular(tmp_path / name)


def test_a_line_that_is_longer_than_any_row_is_left_out(tmp_path):
    path = tmp_path / "rows.jsonl"
    long = b'{"a":"' + b"x" * (2 * MOST_LINE_BYTES) + b'"}'
    path.write_bytes(b'{"step":1}\n' + long + b'\n\n{"step":2}\n')
    rows, notes = read_json_lines(path)
    assert rows == [{"step": 1}, {"step": 2}]
    assert notes == ["rows.jsonl line 2 is torn or not a JSON object: left out"]


@pytest.mark.parametrize("length", [MOST_LINE_BYTES - 1, MOST_LINE_BYTES])
@pytest.mark.parametrize("end", ["", "\n"])
def test_lines_about_as_long_as_the_longest(tmp_path, length, end):
    path = tmp_path / "rows.jsonl"
    row = json.dumps({"a": "x" * (length - len(end) - 9)})
    path.write_text(row + end)
    assert path.stat().st_size == length
    assert len(read_json_lines(path)[0]) == int(length < MOST_LINE_BYTES or end != "")


def test_whole_numbers_beyond_a_float_are_infinite(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"a": {10**400}, "b": -{"9" * 5000}, "c": {2**53}}}\n')
    assert read_json_lines(path)[0] == [{"a": float("inf"), "b": float("-inf"), "c": 2**53}]


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_run_is_not_written_through_links_and_pipes(tmp_path, kind):
    target, path = tmp_path / "target", tmp_path / "events.jsonl"
    target.write_text("a line\nno end")
    path.symlink_to(target) if kind == "link" else os.mkfifo(path)
    for write in (
        JsonLines,
        cut_torn_line,
        lambda path: append_text(path, "text"),
        lambda path: drop_rows_after(path, 0),
    ):
        with pytest.raises(UserError, match=f"events.jsonl: a .*{kind}, which is not written to"):
            write(path)
    assert target.read_text() == "a line\nno end"


def test_text_is_appended_with_the_end_of_its_line(tmp_path):
    path = tmp_path / "train.log"
    append_text(path, "ä\nb")
    append_text(path, "\ud800")
    assert path.read_bytes() == "ä\nb\n\\ud800\n".encode()


def test_rows_that_stay_are_not_written_anew(tmp_path):
    path = tmp_path / "rows.jsonl"
    kept = ['{"step": 1,  "g_loss": NaN}', '{"step":2,"a":1e0}', '{"step": -3}']
    gone = ['{"step":"x"}', '{"step":null}', '{"step":[1]}', '{"step":-Infinity}', '{"a":1}']
    path.write_text("\n".join([*kept, *gone, '{"step":true}', '{"step":3}']) + "\n")
    notes = drop_rows_after(path, 2)
    assert path.read_text() == "\n".join(kept) + "\n"
    assert notes == [f"rows.jsonl line {n} has no step: left out" for n in range(4, 10)]
