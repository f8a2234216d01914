"""Reads TensorFlow V1 checkpoints without TensorFlow.

Such a file (Saver V1, TensorSliceWriter) is a LevelDB-style sorted table: data blocks of
prefix-compressed keys, an index block that points at them, and a footer with a magic number. Each
value is a protocol buffer `SavedTensorSlices` with one slice of one tensor. Nothing in the format
can execute. Its checksums are not looked at: who reads a file knows what must be in it.
"""

import struct
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from counterpoise.errors import UserError

# What ends such a table, and how long its footer is.
TABLE_MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
FOOTER_BYTES = 48


def is_tensorflow_checkpoint(path: Path) -> bool:
    """Whether the file ends as a TensorFlow V1 checkpoint does."""
    try:
        with path.open("rb") as file:
            file.seek(-FOOTER_BYTES, 2)
            return file.read().endswith(TABLE_MAGIC)
    except OSError:
        return False


def read_v1_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """All float32 tensors of a TensorFlow V1 checkpoint, by name.

    Raises `UserError` for a file without them. One with damaged values is read.
    """
    if not is_tensorflow_checkpoint(path):
        raise UserError(f"{path}: not a TensorFlow V1 checkpoint, or cut off; fetch it anew")
    try:
        return _read_table(path.read_bytes())
    # Numbers that lead nowhere show as whatever Python says of the place that they lead to.
    except Exception as error:
        detail = " ".join(str(error).split())
        raise UserError(f"{path}: a damaged TensorFlow V1 checkpoint ({detail})") from error


def _read_table(data: bytes) -> dict[str, np.ndarray]:
    values: dict[str, np.ndarray] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    # Offset and size of the metaindex, then of the index.
    _, _, at, size = _varints(data[-FOOTER_BYTES:], 4)
    for _, handle in _entries(data[at : at + size]):
        at, size = _varints(handle, 2)
        for key, value in _entries(data[at : at + size]):
            if key:
                name, array = _saved_slice(value)
                values[name] = array
            else:
                shapes |= _saved_shapes(value)
    return {name: values[name].reshape(shape) for name, shape in shapes.items()}


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The key-value pairs of a block; keys share prefixes with the one before."""
    (restarts,) = struct.unpack_from("<I", block, len(block) - 4)
    end = len(block) - 4 * (restarts + 1)
    position, key = 0, b""
    while position < end:
        shared, position = _varint(block, position)
        unshared, position = _varint(block, position)
        length, position = _varint(block, position)
        key = key[:shared] + block[position : position + unshared]
        position += unshared + length
        yield key, block[position - length : position]


def _saved_shapes(value: bytes) -> dict[str, tuple[int, ...]]:
    """SavedTensorSlices.meta (1): for each tensor (1) its name (1) and shape (2)."""
    shapes = {}
    for message in _fields(_fields(value)[1][0])[1]:
        name, shape = (_fields(message)[number][0] for number in (1, 2))
        sizes = [_fields(dimension)[1] for dimension in _fields(shape)[2]]
        shapes[name.decode()] = tuple(size[0] for size in sizes)
    return shapes


def _saved_slice(value: bytes) -> tuple[str, np.ndarray]:
    """SavedTensorSlices.data (2): name (1), and a TensorProto (3) with packed floats (5)."""
    saved = _fields(_fields(value)[2][0])
    floats = b"".join(_fields(saved[3][0])[5])
    return saved[1][0].decode(), np.frombuffer(floats, "<f4").astype(np.float32)


def _fields(message: bytes) -> dict[int, list[Any]]:
    """The fields of a protocol buffer message by number: integers, or bytes of the other kinds."""
    found: dict[int, list[Any]] = defaultdict(list)
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, position = _varint(message, position)
            found[number].append(value)
            continue
        if wire == 2:
            length, position = _varint(message, position)
        else:
            length = {1: 8, 5: 4}[wire]
        found[number].append(message[position : position + length])
        position += length
    return found


def _varints(data: bytes, count: int) -> list[int]:
    """So many integers, one after another."""
    numbers, position = [], 0
    for _ in range(count):
        number, position = _varint(data, position)
        numbers.append(number)
    return numbers


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """An integer of seven bits per byte, and the position after it."""
    value = shift = 0
    while data[position] >= 0x80:
        value |= (data[position] & 0x7F) << shift
        position, shift = position + 1, shift + 7
    return value | data[position] << shift, position + 1
