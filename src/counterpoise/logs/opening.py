"""Tells by its first bytes whether a file is text, and in which encoding."""

import io
from typing import IO

from counterpoise.errors import UserError

# Bytes that tell a text from another file.
LOOK_BYTES = 4096


def text_encoding(file: IO[bytes], name: str) -> str:
    """The encoding of a text file that is open at its beginning, by its first bytes, which are left
    in it; raises `UserError` as `refuse_binary` does. UTF-8 where it cannot be looked into."""
    start = file.peek(LOOK_BYTES)[:LOOK_BYTES] if isinstance(file, io.BufferedReader) else b""
    refuse_binary(start, name)
    return encoding_of(start)


def encoding_of(start: bytes) -> str:
    """The encoding of a text that begins so: UTF-8, or UTF-16 where its mark says so, as Windows'
    PowerShell writes it."""
    return "utf-16" if start.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"


def refuse_binary(start: bytes, name: str) -> None:
    """Raise `UserError` where a file that begins like this is no text that can be read."""
    is_gzip = start.startswith(b"\x1f\x8b")
    if is_gzip or (b"\0" in start and encoding_of(start) != "utf-16"):
        raise UserError(f"{name}: a binary file, not a log; give a text log or a run folder")
