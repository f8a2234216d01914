"""Writing files whole or not at all, and appending whole lines; a full disk is one line."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from counterpoise.errors import UserError, refusing

BLOCK_BYTES = 1 << 16  # of a file that is read from its end


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which replaces `path` only when the block succeeds.

    The content is synced to disk before the rename, so a crash leaves the old file or the new
    one, never a part. The temporary path has the suffix of `path`. A device or a pipe is refused,
    and an `OSError` inside (disk full, read-only, a folder in the place of `path`) becomes a
    `UserError`.
    """
    if path.is_fifo() or path.is_char_device() or path.parent == Path("/dev"):
        raise UserError(f"{path}: a device or a pipe; give a file to write")
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            # Some writers make private files; ours are as readable as the folder that they are in,
            # where the file system knows of such things.
            with contextlib.suppress(PermissionError):
                temporary.chmod(path.parent.stat().st_mode & 0o666)
            temporary.replace(path)
            # So that a power cut does not undo the rename; where that can be asked.
            with contextlib.suppress(OSError):
                folder = os.open(path.parent, os.O_RDONLY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a file of UTF-8, whole or not at all; see `atomic_write`."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def writing(path: Path) -> contextlib.AbstractContextManager[None]:
    """An `OSError` inside becomes the one line for a file that cannot be written."""
    todo = "choose another place, or free some space"
    return refusing(f"{path}: cannot be written", OSError, instead=todo)


def is_leftover(name: str) -> bool:
    """Whether a file's name is one of `atomic_write`'s, or of safetensors' own temporary files."""
    return name.startswith(".") and ".tmp" in name


def _lines_end(path: Path) -> int:
    """Where the last whole line ends, looked for from the end of the file, which may be long."""
    with path.open("rb") as file:
        blocks = file.seek(0, os.SEEK_END) // BLOCK_BYTES
        for start in range(blocks * BLOCK_BYTES, -1, -BLOCK_BYTES):
            file.seek(start)
            if whole := file.read(BLOCK_BYTES).rfind(b"\n") + 1:
                return start + whole
    return 0


class AppendedFile:
    """A file to which lines are appended: each is in it whole, or not at all.

    A line that a crash has torn is cut off when the file is opened, and told of in `note`. Raises
    `UserError` where something cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.note = path, ""
        with writing(path):
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            whole = _lines_end(path)
            if torn := path.stat().st_size - whole:
                os.ftruncate(self._file, whole)
                self.note = f"{path.name}: an unfinished last line ({torn} bytes) was cut off"

    def append_line(self, line: str) -> None:
        """Append a text and the end of its line."""
        data = (line + "\n").encode(errors="backslashreplace")
        before = os.fstat(self._file).st_size
        with writing(self.path):
            try:
                while data:
                    data = data[os.write(self._file, data) :]
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._file, before)
                raise

    def sync(self) -> None:
        """Bring all lines to the disk, so that a power cut does not take them."""
        with writing(self.path):
            os.fsync(self._file)

    def close(self) -> None:
        """Close the file; nothing is written to it afterwards."""
        os.close(self._file)


def why_no_file(path: Path) -> str:
    """What to say of a path that is no regular file."""
    if path.is_dir():
        return "a folder"
    return "not a regular file" if path.exists() else "no such file"
