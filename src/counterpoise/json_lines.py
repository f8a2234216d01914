"""JSONL files: rows appended whole, torn or foreign lines read past and told, and followed."""

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from counterpoise.errors import refusing
from counterpoise.plain_files import AppendedFile, atomic_write

# Made once: `json.dumps` with an option makes one for every row.
_STRICT = json.JSONEncoder(allow_nan=False, separators=(",", ":"))
# Of a file that is followed so much is read at a time, so that whoever does can show how far it is;
# and so many bytes before the place that was read tell whether it is the file that was read.
MOST_BYTES_AT_ONCE, MARK_BYTES = 4 << 20, 1024


def without_non_finite(value: Any) -> Any:
    """A value with null in the place of the numbers that JSON lacks."""
    if isinstance(value, dict):
        return {key: without_non_finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_non_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class JsonLines(AppendedFile):
    """Appends one JSON object per line."""

    def append(self, row: dict[str, Any]) -> None:
        self.append_line(_STRICT.encode(row))


def read_json_lines(path: Path, *, growing: bool = False) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of a JSONL file, and a note for each line that is not a JSON object. Of a `growing`
    file a last line without its end is left alone: it is being written."""
    lines = [(number, row) for number, _, row in iterate_json_lines(path, growing=growing)]
    rows = [row for _, row in lines if row is not None]
    return rows, [_torn(path, number) for number, row in lines if row is None]


def parse_row(line: str) -> dict[str, Any] | None:
    """The row that a line of a JSONL file is; None where it is not a JSON object."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def drop_rows_after(path: Path, step: int) -> list[str]:
    """Remove the rows past `step`, which a resumed training writes again, and lines that are no row
    of a step, with a note on each; the others stay as they are written.

    Raises `UserError` where that cannot be.
    """
    if not path.exists():
        return []
    notes = []
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for number, line, row in iterate_json_lines(path):
            if row is None:
                notes.append(_torn(path, number))
            elif type(row.get("step")) is not int:
                notes.append(f"{path.name} line {number} has no step: left out")
            elif row["step"] <= step:
                file.write(f"{line}\n")
    return notes


def iterate_json_lines(
    path: Path, *, growing: bool = False
) -> Iterator[tuple[int, str, dict[str, Any] | None]]:
    """Number (from 1), text and row of every line of a JSONL file that is not empty; None where it
    is not a JSON object.

    Of a file that does not exist there are none. Raises `UserError` for one that cannot be read.
    """
    with refusing(f"{path}: cannot be read", OSError, instead="replace or remove it"):
        if not path.exists():
            return
        with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
            for number, whole in enumerate(file, start=1):
                if (line := whole.strip()) and not (growing and not whole.endswith("\n")):
                    yield number, line, parse_row(line)


def _torn(path: Path, number: int) -> str:
    return f"{path.name} line {number} is torn or not a JSON object: left out"


class FileTail:
    """Follows a file however often it is cut or replaced; what stands in it comes first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset, self._mark = 0, b""
        self.unread_bytes = 0  # beyond the last look

    def poll(self, *, growing: bool = True) -> tuple[list[str], bool]:
        """The lines since the last look, and whether what was handed on before is no part of the
        file any more. Of a `growing` file a last line without its end waits for it. Raises
        `OSError` where the file is there and cannot be read; the next look may do."""
        data, anew, self.unread_bytes = b"", self._offset > 0, 0
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset - len(self._mark))
                anew = file.read(len(self._mark)) != self._mark
                if anew:
                    self._offset, self._mark = file.seek(0), b""
                data = file.read(MOST_BYTES_AT_ONCE)
                self.unread_bytes = max(0, os.fstat(file.fileno()).st_size - file.tell())
        except (FileNotFoundError, NotADirectoryError):
            self._offset, self._mark = 0, b""
        end = data.rfind(b"\n") + 1
        is_last = not growing and not self.unread_bytes
        if is_last or (self.unread_bytes and not end):  # a part of a line longer than any row
            end = len(data)
        self._offset += end
        self._mark = (self._mark + data[:end])[-MARK_BYTES:]
        return data[:end].decode(errors="replace").split("\n"), anew
