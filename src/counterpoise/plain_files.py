"""Writing files whole or not at all, and reading and appending without being led astray.

What a path names may be a device, a pipe or a link: no device is replaced, no pipe waited for, and
no link followed out of a run.
"""

import contextlib
import errno
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from counterpoise.errors import UserError

# Files are searched for their last line in blocks of this size.
BLOCK_BYTES = 1 << 16


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which replaces `path` only when the block succeeds.

    The content is synced to disk before the rename, so a crash leaves the old file or the new
    one, never a part. A device or a pipe is never replaced: what was written to the temporary file
    is then written to it. An `OSError` inside (disk full, read-only) becomes a `UserError`, and a
    folder or a disk in the place of `path` is one.
    """
    if _is_stream(path):
        with _streamed(path) as temporary:
            yield temporary
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        # Some writers make private files; ours are as readable as the folder that they are in,
        # where the file system knows of such things.
        with contextlib.suppress(PermissionError):
            temporary.chmod(path.parent.stat().st_mode & 0o666)
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _is_stream(path: Path) -> bool:
    """Whether a path is a device or a pipe; `UserError` where it is a folder, or another thing that
    no file can take the place of.

    A link is replaced wherever it leads, but for the system's own, such as `/dev/stdout`.
    """
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            parent = path.parent.resolve()
            if parent == Path("/dev") or parent.is_relative_to("/proc"):
                return True
            mode = path.stat().st_mode
            if not stat.S_ISDIR(mode):
                return False
    except (OSError, RuntimeError):  # RuntimeError: a link that goes round, until Python 3.13.
        return False  # Whether it can be written, writing tells.
    if stat.S_ISDIR(mode):
        raise UserError(f"{path}: a folder; give a file")
    if stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):
        raise UserError(f"{path}: a disk or a socket, which is not written to; give a file")
    return not stat.S_ISREG(mode)


@contextlib.contextmanager
def _streamed(path: Path) -> Iterator[Path]:
    """Yield a temporary path whose content goes to a device or a pipe."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            temporary = Path(folder) / "content"
            yield temporary
            with temporary.open("rb") as source, open(_stream(path), "wb") as target:
                shutil.copyfileobj(source, target)
    except OSError as error:
        if error.errno == errno.ENXIO and path.is_fifo():
            raise UserError(f"{path}: a pipe that nobody reads; start its reader first") from error
        raise cannot_write(path, error) from error


def _stream(path: Path) -> int:
    """A descriptor that writes to a device or a pipe."""
    status = path.stat()
    for own in (sys.stdout, sys.stderr):
        # What was printed comes first. A second descriptor of a file would begin at its beginning.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            if os.path.samestat(os.fstat(own.fileno()), status):
                own.flush()
                return os.dup(own.fileno())
    # A pipe without a reader would be waited for, maybe for ever.
    no_wait = getattr(os, "O_NONBLOCK", 0)
    file = os.open(path, os.O_WRONLY | no_wait)
    if no_wait:
        os.set_blocking(file, True)
    return file


def _sync_folder(folder: Path) -> None:
    """Bring a rename to the disk, so that a power cut does not undo it; where that can be asked."""
    with contextlib.suppress(OSError):
        file = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def cannot_write(path: Path, error: OSError) -> UserError:
    """The one line for a file that cannot be written."""
    return UserError(
        f"{path}: cannot be written ({error.strerror or error}); "
        "free some space or choose another folder"
    )


def is_leftover(name: str) -> bool:
    """Whether a file's name is one of `atomic_write`'s, or of safetensors' own temporary files."""
    return name.startswith(".") and (name.endswith(".tmp") or name.startswith(".tmp"))


def append_text(path: Path, text: str) -> None:
    """Append a text and the end of its line to a file of a run, whole or not at all.

    Raises `UserError` where that cannot be, and for a link or a pipe: a run of a stranger's may
    lead anywhere.
    """
    file = open_to_append(path)
    try:
        append_line(file, path, text)
    finally:
        os.close(file)


def open_to_append(path: Path) -> int:
    """A descriptor that appends to a file of a run, made where there is none; `UserError` as
    `append_text` raises it."""
    refuse_links(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
    try:
        return os.open(path, flags, 0o644)
    except OSError as error:
        raise cannot_write(path, error) from error


def refuse_links(path: Path) -> None:
    """Raise `UserError` where a file to be changed in its place is a link, which may lead anywhere,
    or a pipe."""
    kind = "a symbolic link" if path.is_symlink() else "a pipe" if path.is_fifo() else ""
    if kind:
        raise UserError(f"{path}: {kind}, which is not written to; put a file in its place")


def append_line(file: int, path: Path, line: str) -> None:
    """Append a line to an open file, or leave it as it was and raise `UserError`."""
    data = (line + "\n").encode(errors="backslashreplace")
    before = os.fstat(file).st_size
    try:
        while data:
            data = data[os.write(file, data) :]
    except OSError as error:
        with contextlib.suppress(OSError):
            os.ftruncate(file, before)
        raise cannot_write(path, error) from error


def cut_torn_line(path: Path) -> int:
    """Remove an unfinished last line, which a crash has left; how many bytes that were.

    Raises `UserError` as `append_text` does.
    """
    refuse_links(path)
    try:
        with path.open("rb+") as file:
            size = file.seek(0, os.SEEK_END)
            whole = _end_of_last_line(file, size)
            if whole < size:
                file.truncate(whole)
            return size - whole
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise cannot_write(path, error) from error


def _end_of_last_line(file: BinaryIO, size: int) -> int:
    """The position after the last newline of a file, 0 where it has none."""
    end = size
    while end > 0:
        start = max(0, end - BLOCK_BYTES)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def open_regular(path: Path) -> BufferedReader:
    """Open a file to read its bytes; `OSError` also where it is none: a pipe might be waited for,
    and a device be read, for ever."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # of a folder the system says it
        raise OSError(errno.EINVAL, "not a regular file")
    return path.open("rb")


def why_no_file(path: Path) -> str:
    """What to say of a path that is no regular file."""
    if path.is_dir():
        return "a folder"
    return "not a regular file" if path.exists() else "no such file"
