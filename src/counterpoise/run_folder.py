"""A run is a folder of plain files; everything that reads a run reads only these.

config.yaml        the resolved configuration, written first
signals.jsonl      one line per step
metrics.jsonl      held-out metrics
events.jsonl       what happened: starts, fallbacks, skipped images, checkpoints, interruptions
train.log          the lines that were printed
checkpoints/       step-00001000.safetensors: everything that a resumed training needs
samples/           step-00001000.png: a sheet of `SHEET_COLUMNS`, a row per crop
report.html        `counterpoise report`
tensorboard/       event files
generator.safetensors, generator-pretrained.safetensors   weights to use
best.json, generator-best.safetensors   what `counterpoise best` recommends
.lock              held by the process that writes the run
"""

import contextlib
import errno
import json
import os
import platform
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

from counterpoise.errors import UserError
from counterpoise.folder_lock import LOCK_FILE, FolderLock

# A sheet of samples: columns of square crops with gaps between, under a line of titles.
SHEET_COLUMNS = ("LR (pixels enlarged)", "bicubic", "output", "HR")
SHEET_GAP_PX = 4
SHEET_HEADER_PX = 18

# Kinds of events that say what became of the process that writes a run.
BEGAN, RESUMED = "began", "resumed"
ENDED, INTERRUPTED, DIVERGED, FAILED = "ended", "interrupted", "diverged", "failed"
# A training ended before its time, by `train.stop`.
STOPPED_EARLY = "stopped-early"
# A loop of somebody's let go of its `Balance`: it ended, or broke off.
CLOSED = "closed"
# The policy put a kept state back.
ROLL_BACK = "roll-back"

# Files are searched for their last line in blocks of this size.
BLOCK_BYTES = 1 << 16
# A line of a JSONL file that is longer is none of ours; rows have some kilobytes.
MOST_LINE_BYTES = 1 << 20
# Whole numbers of fewer digits fit into a float.
MOST_INT_DIGITS = 300


def software() -> str:
    """The versions that a run is made with, for its first event and for every resumed one."""
    parts = ["counterpoise", "torch"]
    names = [f"{name} {version(name)}" for name in parts]
    return ", ".join([*names, f"Python {platform.python_version()}"])


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


class RunFolder:
    """The paths of one run, and the few ways in which they are written and read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.signals = path / "signals.jsonl"
        self.metrics = path / "metrics.jsonl"
        self.events = path / "events.jsonl"
        self.log = path / "train.log"
        self.checkpoints = path / "checkpoints"
        self.samples = path / "samples"
        self.tensorboard = path / "tensorboard"
        self.report = path / "report.html"
        self.generator = path / "generator.safetensors"
        self.pretrained_generator = path / "generator-pretrained.safetensors"
        self.best = path / "best.json"
        self.best_generator = path / "generator-best.safetensors"

    def is_used(self) -> bool:
        """Whether the folder has something in it, but for what a crash at the very start leaves.

        Raises `UserError` where it cannot be looked into.
        """
        try:
            names = os.listdir(self.path)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise cannot_write(self.path, error) from error
        return any(name != LOCK_FILE and not is_leftover(name) for name in names)

    def refuse_if_used(self) -> None:
        """Raise `UserError` where the folder has something in it, or cannot be looked into."""
        if self.is_used():
            raise UserError(
                f"{self.path}: exists already; continue it with `counterpoise resume {self.path}`, "
                "or choose another --run-dir"
            )

    def create(self, config_yaml: str) -> None:
        """Make the folder, with its configuration; refuses a folder that has something in it."""
        self.refuse_if_used()
        self.save_config(config_yaml)

    def save_config(self, config_yaml: str) -> None:
        """Write the configuration that the run goes on with."""
        with atomic_write(self.config) as temporary:
            temporary.write_text(config_yaml, encoding="utf-8")

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """An existing run folder; `UserError` where there is none."""
        run = cls(path)
        if not run.config.is_file():
            raise UserError(
                f"{path}: not a run folder (it has no config.yaml); give the folder of a run"
            )
        return run

    def lock(self) -> FolderLock:
        """Make the folder where it is not there, and be the only one that writes in it.

        Raises `UserError` naming the process that does already. Readers are not kept out.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            return FolderLock(
                self.path, "writes this run", "wait for it, stop it, or choose another folder"
            )
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def remove_leftovers(self) -> None:
        """Delete temporary files of writes that a crash interrupted."""
        for folder in (self.path, self.checkpoints, self.samples):
            for file in folder.glob(".*"):
                if is_leftover(file.name):
                    file.unlink(missing_ok=True)

    def checkpoint(self, step: int) -> Path:
        return self.checkpoints / f"step-{step:08d}.safetensors"

    def sample(self, step: int) -> Path:
        return self.samples / f"step-{step:08d}.png"

    def sample_files(self) -> list[Path]:
        """The sheets of samples, oldest first."""
        return sorted(self.samples.glob("step-*.png"))

    def checkpoint_files(self) -> list[Path]:
        """The checkpoints, oldest first."""
        return sorted(self.checkpoints.glob("step-*.safetensors"))


def is_leftover(name: str) -> bool:
    """Whether a file's name is one of `atomic_write`'s, or of safetensors' own temporary files."""
    return name.startswith(".") and (name.endswith(".tmp") or name.startswith(".tmp"))


# Made once: `json.dumps` with an option makes one for every row.
_STRICT = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


class JsonLines:
    """Appends one JSON object per line: each is in the file whole, or not at all.

    A line that a crash has torn is cut off when the file is opened, and told of in `note`. Raises
    `UserError` where it cannot be, and for a link or a pipe, as `append_text` does.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        torn = cut_torn_line(path)
        self.note = f"{path.name}: an unfinished last line ({torn} bytes) was cut off" * bool(torn)
        self._file: int | None = open_to_append(path)

    def append(self, row: dict[str, Any]) -> None:
        assert self._file is not None, "it is closed"
        append_line(self._file, self.path, _STRICT.encode(row))

    def sync(self) -> None:
        """Bring all rows to the disk, so that a power cut does not take them."""
        assert self._file is not None, "it is closed"
        try:
            os.fsync(self._file)
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


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


def read_json_lines(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of a JSONL file, and a note for each line that is not a JSON object."""
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    for number, row in iterate_json_lines(path):
        if row is not None:
            rows.append(row)
        else:
            notes.append(f"{path.name} line {number} is torn or not a JSON object: left out")
    return rows, notes


def iterate_json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Number (from 1) and row of every line of a JSONL file; None where it is not a JSON object.

    Empty lines are passed over; of a file that does not exist there are none. A whole number that
    is too large for a float is infinite. Raises `UserError` for a file that cannot be read.
    """
    for number, line in numbered_lines(path):
        yield number, None if line is None else parse_row(line)


def parse_row(line: str) -> dict[str, Any] | None:
    """The row that a line of a JSONL file is; None where it is not a JSON object."""
    try:
        row = _DECODER.decode(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) <= MOST_INT_DIGITS else float(digits)


_DECODER = json.JSONDecoder(parse_int=_whole)


def numbered_lines(path: Path) -> Iterator[tuple[int, str | None]]:
    """Number (from 1) and text of every line that is not empty, without its end; None for one that
    is longer than any row. Of a file that does not exist there are none.

    Raises `UserError` for a file that cannot be read.
    """
    number = 0
    try:
        with open_regular(path) as file:
            while line := file.readline(MOST_LINE_BYTES):
                number += 1
                is_whole = line.endswith(b"\n") or len(line) < MOST_LINE_BYTES
                if not is_whole:
                    while (rest := file.readline(MOST_LINE_BYTES)) and not rest.endswith(b"\n"):
                        pass
                if stripped := line.strip():
                    yield number, stripped.decode(errors="replace") if is_whole else None
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror or error}); replace or remove it"
        ) from error


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


def drop_rows_after(path: Path, step: int) -> list[str]:
    """Remove the rows past `step`, which a resumed training writes again, and lines that are no row
    of a step, with a note on each; the others stay as they are written.

    Raises `UserError` as `append_text` does.
    """
    refuse_links(path)
    if not path.exists():
        return []
    notes = []
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for number, line in numbered_lines(path):
            row = None if line is None else parse_row(line)
            at = None if row is None else row.get("step")
            if row is None:
                notes.append(f"{path.name} line {number} is torn or not a JSON object: left out")
            elif not isinstance(at, int) or isinstance(at, bool):
                notes.append(f"{path.name} line {number} has no step: left out")
            elif at <= step:
                file.write(f"{line}\n")
    return notes
