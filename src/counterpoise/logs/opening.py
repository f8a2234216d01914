"""Tells by its first bytes whether a file is text, and in which encoding."""

import io
import re
from typing import IO

from counterpoise.errors import UserError

# Bytes that tell a text from another file.
LOOK_BYTES = 4096
UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
# What a compressed file begins with, and what unpacks it.
_PACKED = {
    b"\x1f\x8b": "gunzip",
    b"PK\x03\x04": "unzip",
    b"\xfd7zXZ\0": "unxz",
    b"BZh": "bunzip2",
    b"\x28\xb5\x2f\xfd": "unzstd",
}
_OF_NUMBERS = re.compile(rb"\.npy|data\.pkl")


def text_encoding(file: IO[bytes], name: str) -> str:
    """The encoding of a text file that is open at its beginning, by its first bytes, which are left
    in it; raises `UserError` as `refuse_binary` does. UTF-8 where it cannot be looked into."""
    start = file.peek(LOOK_BYTES)[:LOOK_BYTES] if isinstance(file, io.BufferedReader) else b""
    refuse_binary(start, name)
    return encoding_of(start)


def encoding_of(start: bytes) -> str:
    """The encoding of a text that begins so: UTF-8, or UTF-16 where its mark says so.

    Windows' PowerShell writes UTF-16 with a mark.
    """
    return "utf-16" if start.startswith(UTF_16_MARKS) else "utf-8-sig"


def refuse_binary(start: bytes, name: str) -> None:
    """Raise `UserError` where a file that begins like this is no text that can be read."""
    for magic, command in _PACKED.items():
        # Weights and arrays are zip files too, which no unpacking makes a log.
        if start.startswith(magic) and not _OF_NUMBERS.search(start[:300]):
            raise UserError(f"{name}: compressed; unpack it first: {command} FILE")
    if b"\0" in start and encoding_of(start) != "utf-16":
        raise UserError(f"{name}: a binary file, not a log; give a text log or a run folder")
