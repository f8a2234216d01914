import errno
import os
import signal
import subprocess
import sys

import pytest

from counterpoise.errors import UserError
from counterpoise.folder_lock import LOCK_FILE, FolderLock
from counterpoise.run_folder import RunFolder

HOLD = """
import sys, time
from pathlib import Path
from counterpoise.folder_lock import FolderLock
lock = FolderLock(Path(sys.argv[1]), "works here", "wait")
print("held", flush=True)
time.sleep(600)
"""


def lock(folder):
    return FolderLock(folder, "works here", "wait for it")


def test_a_second_holder_is_refused_in_one_line_that_names_the_first(tmp_path):
    with lock(tmp_path) as held:
        assert held.note == ""
        with pytest.raises(UserError) as refused:
            lock(tmp_path)
    line = str(refused.value)
    assert line.startswith(f"{tmp_path}: another process (pid {os.getpid()} on ")
    assert line.endswith(") works here; wait for it")
    lock(tmp_path).close()


def test_a_holder_that_was_killed_blocks_nobody(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"held\n"
    with pytest.raises(UserError, match=rf"pid {process.pid} on .* works here"):
        lock(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (tmp_path / LOCK_FILE).exists()
    lock(tmp_path).close()


def test_a_forked_child_does_not_hold_it(tmp_path):
    """Else the workers of a training that was killed would keep its resumption out."""
    held = lock(tmp_path)
    (reader, writer), (ready, there) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writer)  # so that it ends however this test does
        os.write(there, b"x")
        os.read(reader, 1)
        os._exit(0)
    os.read(ready, 1)
    held.close()
    lock(tmp_path).close()
    os.close(writer)
    assert os.waitpid(child, 0)[1] == 0
    for end in (reader, ready, there):
        os.close(end)


def test_a_file_system_without_locks_is_told_of(tmp_path, monkeypatch):
    def no_locks(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with lock(tmp_path) as held:
        assert "its file system has no locks (No locks available)" in held.note


def test_a_run_that_is_locked_can_be_used_when_nothing_is_in_it(tmp_path):
    run = RunFolder(tmp_path / "run")
    with run.lock():
        (run.path / ".config.1.tmp.yaml").touch()
        (run.path / ".tmpAbc123").touch()
        run.refuse_if_used()
    run.save_config("a: 1\n")
    with pytest.raises(UserError, match="exists already; continue it with `counterpoise resume"):
        run.refuse_if_used()
