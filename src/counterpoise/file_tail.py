"""What is appended to a text file, however often it is cut, replaced or made anew."""

import codecs
import io
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

# Read at most so much at a time, so that whoever follows a long file can show how far it is.
MOST_BYTES_AT_ONCE = 4 << 20
# So many bytes at the beginning and before the place that was read to tell whether it is the file
# that was read: replacing it, a training that is resumed keeps most of it.
MARK_BYTES = 1024


@dataclass(frozen=True)
class Portion:
    """What a look at a file found."""

    lines: list[str] = field(default_factory=list)  # complete ones, with their ends
    anew: bool = False  # what was handed on before is no part of the file any more
    exists: bool = True
    unread_bytes: int = 0
    changed_at: float = 0.0  # the file's time of modification, in seconds since the epoch
    problem: str = ""  # why it cannot be read


class FileTail:
    """Follows a file by looking at it; what stands in it already comes first."""

    def __init__(self, path: Path, encoding_of: Callable[[bytes], str] = lambda _: "utf-8") -> None:
        """`encoding_of` tells the encoding by how the file begins."""
        self.path, self._encoding_of = path, encoding_of
        self._begin()

    def _begin(self) -> None:
        self._offset = 0
        self.head, self._mark, self._rest = b"", b"", ""
        # Known when there is anything to read.
        self._decoder: codecs.IncrementalDecoder | None = None

    def poll(self) -> Portion:
        """The lines that were completed since the last look.

        Never raises: a file that cannot be read now may be readable at the next look.
        """
        try:
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                anew = self._offset > 0 and not self._is_the_same(file)
                if anew:
                    self._begin()
                file.seek(self._offset)
                lines = self._lines(file.read(MOST_BYTES_AT_ONCE))
        except (FileNotFoundError, NotADirectoryError):
            gone = self._offset > 0
            self._begin()
            return Portion(anew=gone, exists=False)
        except OSError as error:
            return Portion(problem=f"cannot be read ({error.strerror or error})")
        unread = max(0, status.st_size - self._offset)
        return Portion(lines, anew, unread_bytes=unread, changed_at=status.st_mtime)

    def take_rest(self) -> str:
        """What stands after the last line end, for whoever waits for no more of it."""
        rest, self._rest = self._rest, ""
        return rest

    def _is_the_same(self, file: IO[bytes]) -> bool:
        head = file.read(len(self.head))
        file.seek(self._offset - len(self._mark))
        return head == self.head and file.read(len(self._mark)) == self._mark

    def _lines(self, data: bytes) -> list[str]:
        if self._offset < MARK_BYTES:
            self.head = (self.head + data)[:MARK_BYTES]
        self._offset += len(data)
        self._mark = (self._mark + data)[-MARK_BYTES:]
        if self._decoder is None:
            if not data:
                return []
            self._decoder = codecs.getincrementaldecoder(self._encoding_of(data))(errors="replace")
        whole = self._rest + self._decoder.decode(data)
        # A carriage return at the very end may be half of a line end.
        end = max(whole.rfind("\n"), whole.rfind("\r", 0, -1)) + 1
        text, self._rest = whole[:end], whole[end:]
        return list(io.StringIO(text, newline=None))
