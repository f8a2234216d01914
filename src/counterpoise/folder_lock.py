"""One writer per folder: a lock that the system gives back however its holder ends."""

import contextlib
import datetime
import errno
import json
import os
import socket
import weakref
from pathlib import Path
from types import TracebackType

from counterpoise.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

LOCK_FILE = ".lock"
# What a system answers where a file system (some network ones) has no locks.
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
# Windows keeps others from reading locked bytes, so that is not where the holder is named.
_LOCKED_BYTE = 1 << 30


class FolderLock:
    """Holds a folder from its making until `release`, or the end of this process.

    The lock is the system's, on the file `.lock`: that the file is there says nothing, so nothing
    is stale after a crash, and readers never meet it. Forked children do not hold it.
    """

    def __init__(self, folder: Path, doing: str, instead: str) -> None:
        """Take the lock of an existing folder, for `doing` ("trains here").

        Raises `UserError` naming the process that holds it, with what to do `instead`, and where
        the lock file is a link; `OSError` where it cannot be made.
        """
        # Says where the file system has no locks, so that a second process is not kept out.
        self.note = ""
        path = folder / LOCK_FILE
        if path.is_symlink():  # of a stranger's folder, it may lead to any file, which is emptied
            raise UserError(f"{path}: a symbolic link, which is not written to; remove it")
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        self._file: int | None = os.open(path, flags, 0o644)
        try:
            _lock(self._file)
        except OSError as error:
            holder = "" if error.errno in _NO_LOCKS else _holder(path)
            self.release()
            if error.errno not in _NO_LOCKS:
                raise UserError(f"{folder}: another process{holder} {doing}; {instead}") from None
            self.note = (
                f"{folder}: its file system has no locks ({error.strerror}), so nothing keeps a "
                "second process from writing here"
            )
            return
        _held.add(self)
        self._name_holder()

    def __enter__(self) -> "FolderLock":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def release(self) -> None:
        """Give the folder back; nothing where that is done already."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def _name_holder(self) -> None:
        assert self._file is not None
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": now}
        # Only a help to whoever is refused: on a full disk the lock holds without.
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, 0)
            os.write(self._file, json.dumps(holder).encode())


# To be let go of in forked children, which would else hold a lock after its owner has died.
_held: "weakref.WeakSet[FolderLock]" = weakref.WeakSet()


def _let_go_in_child() -> None:
    for lock in list(_held):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)


def _lock(file: int) -> None:
    """Take the lock at once, or raise `OSError`."""
    if "fcntl" in globals():
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        os.lseek(file, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        os.lseek(file, 0, os.SEEK_SET)


def _holder(path: Path) -> str:
    """Who holds a lock, in words; nothing where the file does not say."""
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        return f" (pid {int(holder['pid'])} on {holder['host']}, since {holder['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
