"""What is appended to a text file, however often it is cut, replaced or made anew."""

import codecs
import io
import os
from dataclasses import dataclass, field
from pathlib import Path

# Read at most so much at a time, so that whoever follows a long file can show how far it is.
MOST_BYTES_AT_ONCE = 4 << 20
# So many bytes before the place that was read tell whether it is the file that was read.
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

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begin()

    def _begin(self) -> None:
        self._offset, self._mark, self._rest = 0, b"", ""
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def poll(self) -> Portion:
        """The lines that were completed since the last look. Never raises: the next may do."""
        try:
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                file.seek(self._offset - len(self._mark))
                anew = file.read(len(self._mark)) != self._mark
                if anew:
                    self._begin()
                    file.seek(0)
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

    def _lines(self, data: bytes) -> list[str]:
        self._offset += len(data)
        self._mark = (self._mark + data)[-MARK_BYTES:]
        whole = self._rest + self._decoder.decode(data)
        # A carriage return at the very end may be half of a line end.
        end = max(whole.rfind("\n"), whole.rfind("\r", 0, -1)) + 1
        text, self._rest = whole[:end], whole[end:]
        return list(io.StringIO(text, newline=None))
