"""One writer per folder: a lock that the system gives back however its holder ends."""

import contextlib
import datetime
import errno
import os
import socket
from pathlib import Path

from counterpoise.errors import UserError
from counterpoise.plain_files import writing

LOCK_FILE = ".lock"
# What a system answers where a file system (some network ones) has no locks.
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP)


class FolderLock(contextlib.ExitStack):
    """Holds a folder from its making until `close`, or the end of this process.

    The lock is the system's, on the file `.lock`: that the file is there says nothing, so nothing
    is stale after a crash, and readers never meet it. Forked children do not hold it.
    """

    def __init__(self, folder: Path, doing: str, instead: str) -> None:
        """Make the folder where it is not there, and take its lock for `doing` ("trains here").

        Raises `UserError` naming the process that holds it, with what to do `instead`, and where
        the folder or the lock file cannot be made.
        """
        from filelock import FileLock, Timeout  # Readers, who take no lock, need not wait for it.

        super().__init__()
        # Says where the file system has no locks, so that a second process is not kept out.
        self.note = ""
        path, who = folder / LOCK_FILE, "another process"
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path, blocking=False, thread_local=False)
            try:
                self.enter_context(lock)
            except Timeout:
                with contextlib.suppress(OSError):
                    who += f" ({path.read_text(encoding='utf-8', errors='replace')})"
                raise UserError(f"{folder}: {who} {doing}; {instead}") from None
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                self.note = (
                    f"{folder}: its file system has no locks ({error.strerror}), so nothing keeps "
                    "a second process from writing here"
                )
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        holder = f"pid {os.getpid()} on {socket.gethostname()}, since {now}"
        # Only a help to whoever is refused: on a full disk the lock holds without.
        with contextlib.suppress(OSError):
            path.write_text(holder, encoding="utf-8")
