"""Writing files whole or not at all, and appending whole lines; a full disk is one line."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from counterpoise.errors import UserError


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which replaces `path` only when the block succeeds.

    The content is synced to disk before the rename, so a crash leaves the old file or the new
    one, never a part. The temporary path has the suffix of `path`. A device or a pipe
    (`/dev/stdout`) is written to, never replaced. An `OSError` inside (disk full, read-only, a
    folder in the place of `path`) becomes a `UserError`.
    """
    if path.is_fifo() or path.is_char_device() or path == Path("/dev/stdout"):
        with _streamed(path) as temporary:
            yield temporary
        return
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
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


@contextlib.contextmanager
def _streamed(path: Path) -> Iterator[Path]:
    """Yield a temporary path whose content goes to a device or a pipe."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            temporary = Path(folder, path.name)
            yield temporary
            sys.stdout.flush()
            # Where output goes to a file, opening it again would begin at its beginning.
            target = os.dup(1) if path == Path("/dev/stdout") else path
            with open(target, "wb") as file:
                file.write(temporary.read_bytes())
    except OSError as error:
        raise cannot_write(path, error) from error


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
    return name.startswith(".") and ".tmp" in name


def append_text(path: Path, text: str) -> None:
    """Append a text and the end of its line to a file, whole or not at all.

    Raises `UserError` where that cannot be.
    """
    file = open_to_append(path)
    try:
        append_line(file, path, text)
    finally:
        os.close(file)


def open_to_append(path: Path) -> int:
    """A descriptor that appends to a file, made where there is none; or `UserError`."""
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as error:
        raise cannot_write(path, error) from error


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

    Raises `UserError` where that cannot be.
    """
    try:
        with path.open("rb+") as file:
            content = file.read()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                file.truncate(whole)
            return len(content) - whole
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise cannot_write(path, error) from error


def why_no_file(path: Path) -> str:
    """What to say of a path that is no regular file."""
    if path.is_dir():
        return "a folder"
    return "not a regular file" if path.exists() else "no such file"
