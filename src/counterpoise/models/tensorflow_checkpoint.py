"""Reads TensorFlow V1 checkpoints without TensorFlow.

Such a file (Saver V1, TensorSliceWriter) is a LevelDB-style sorted table: data blocks of
prefix-compressed keys, an index block that points at them, and a footer with a magic number. Each
value is a protocol buffer `SavedTensorSlices` with one slice of one tensor. Nothing in the format
can execute; lengths are checked against the file before they are believed.
"""

import math
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from counterpoise.errors import UserError
from counterpoise.models.weights import TABLE_MAGIC

FOOTER_BYTES = 48
BLOCK_TRAILER_BYTES = 5
# ENet-PAT's has 3.4 MB; checksums of this much take some seconds.
MOST_BYTES = 64 << 20
MOST_KEY_BYTES = 4096
MOST_DIMENSIONS = 8
DT_FLOAT = 1


class _MalformedError(Exception):
    """The bytes are not what the format says; the message says where."""


def read_v1_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """All float32 tensors of a TensorFlow V1 checkpoint, by name.

    Raises `UserError` for any other file, a damaged one (blocks are checksummed), or one with
    compressed blocks, sliced tensors or other types than float32.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise _MalformedError(f"it is larger than {MOST_BYTES >> 20} MiB, ENet-PAT is not")
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except _MalformedError as error:
        raise UserError(f"{path}: not a TensorFlow V1 checkpoint: {error}") from error
    try:
        return _read_table(data)
    except _MalformedError as error:
        raise UserError(f"{path}: not a usable TensorFlow V1 checkpoint: {error}") from error


def _read_table(data: bytes) -> dict[str, np.ndarray]:
    if len(data) < FOOTER_BYTES or data[-8:] != TABLE_MAGIC:
        raise _MalformedError("its footer has no table magic (truncated, or another kind of file)")
    footer = data[-FOOTER_BYTES:]
    position = 0
    handles = []
    for _ in range(4):  # offset and size of the metaindex, then of the index
        number, position = _varint(footer, position)
        handles.append(number)
    values: dict[str, np.ndarray] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    blocks_end = 0
    for _, handle in _block_entries(_block(data, handles[2], handles[3])):
        offset, position = _varint(handle, 0)
        size, _ = _varint(handle, position)
        # Blocks are stored in order; one that is pointed at again and again would take forever.
        if offset < blocks_end:
            raise _MalformedError("its blocks overlap")
        blocks_end = offset + size
        for key, value in _block_entries(_block(data, offset, size)):
            if not key:
                shapes |= _saved_shapes(value)
                continue
            name, array = _saved_slice(value)
            if name in values:
                raise _MalformedError(f"tensor {name!r} is stored in several slices")
            values[name] = array
    if not values or set(values) != set(shapes):
        raise _MalformedError(f"it describes {len(shapes)} tensors and holds {len(values)}")
    for name, shape in shapes.items():
        # Without empty dimensions, a shape whose product is right cannot be too large for NumPy.
        if 0 in shape or math.prod(shape) != values[name].size or len(shape) > MOST_DIMENSIONS:
            raise _MalformedError(
                f"tensor {name!r} has {values[name].size} values for shape {shape}"
            )
    return {name: values[name].reshape(shape) for name, shape in shapes.items()}


def _block(data: bytes, offset: int, size: int) -> bytes:
    """The content of a block, its checksum verified."""
    end = offset + size
    if end + BLOCK_TRAILER_BYTES > len(data):
        raise _MalformedError(f"a block at {offset} reaches past the end of the file")
    kind = data[end]
    (stored,) = struct.unpack_from("<I", data, end + 1)
    if stored != _masked(crc32c(data[offset : end + 1])):
        raise _MalformedError(f"the block at {offset} fails its checksum")
    if kind != 0:
        raise _MalformedError("its blocks are compressed, which is not supported")
    return data[offset:end]


def _block_entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The key-value pairs of a block; keys share prefixes with the one before."""
    if len(block) < 4:
        raise _MalformedError("a block is too short")
    (restarts,) = struct.unpack_from("<I", block, len(block) - 4)
    end = len(block) - 4 * (restarts + 1)
    if end < 0:
        raise _MalformedError("a block's restart table is larger than the block")
    position, key = 0, b""
    while position < end:
        shared, position = _varint(block, position)
        unshared, position = _varint(block, position)
        length, position = _varint(block, position)
        value_at = position + unshared
        if shared > len(key) or value_at + length > end:
            raise _MalformedError("an entry reaches past its block")
        if shared + unshared > MOST_KEY_BYTES:
            raise _MalformedError(f"a key is longer than {MOST_KEY_BYTES} bytes")
        key = key[:shared] + block[position:value_at]
        yield key, block[value_at : value_at + length]
        position = value_at + length


def _saved_shapes(value: bytes) -> dict[str, tuple[int, ...]]:
    """SavedTensorSlices.meta (1): for each tensor (1) its name (1), shape (2) and type (3)."""
    shapes = {}
    for message in _messages(_only(value, 1), 1):
        name = _text(_only(message, 1))
        if _numbers(message, 3) != [DT_FLOAT]:
            raise _MalformedError(f"tensor {name!r} is not of type float32")
        sizes = [_numbers(dimension, 1) for dimension in _messages(_only(message, 2), 2)]
        shapes[name] = tuple(size[0] if size else 0 for size in sizes)
    return shapes


def _saved_slice(value: bytes) -> tuple[str, np.ndarray]:
    """SavedTensorSlices.data (2): name (1), and a TensorProto (3) with packed floats (5)."""
    saved = _only(value, 2)
    name = _text(_only(saved, 1))
    floats = b"".join(_messages(_only(saved, 3), 5))
    if len(floats) % 4:
        raise _MalformedError(f"tensor {name!r} has a broken value")
    return name, np.frombuffer(floats, "<f4").astype(np.float32)


def _messages(message: bytes, number: int) -> list[bytes]:
    """The length-delimited fields of that number."""
    return [item for n, item in _fields(message) if n == number and isinstance(item, bytes)]


def _numbers(message: bytes, number: int) -> list[int]:
    """The integer fields of that number."""
    return [item for n, item in _fields(message) if n == number and isinstance(item, int)]


def _only(message: bytes, number: int) -> bytes:
    found = _messages(message, number)
    if len(found) != 1:
        raise _MalformedError(f"expected one field {number}, found {len(found)}")
    return found[0]


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise _MalformedError("a tensor's name is not UTF-8") from None


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The numbered fields of a protocol buffer message: integers, or bytes of the other kinds."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, position = _varint(message, position)
            yield number, value
            continue
        if wire == 2:
            length, position = _varint(message, position)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise _MalformedError(f"unknown wire type {wire}")
        if position + length > len(message):
            raise _MalformedError("a field reaches past its message")
        yield number, message[position : position + length]
        position += length


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """An integer of seven bits per byte, and the position after it."""
    value = shift = 0
    while shift < 64:
        if position >= len(data):
            raise _MalformedError("a number reaches past the end")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise _MalformedError("a number is longer than 64 bits")


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_CRC_TABLE = _crc_table()


def crc32c(data: bytes) -> int:
    """The Castagnoli CRC of `data` (check value: crc32c(b"123456789") is 0xE3069283)."""
    crc, table = 0xFFFFFFFF, _CRC_TABLE
    for byte in data:
        crc = (crc >> 8) ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _masked(crc: int) -> int:
    """LevelDB stores checksums rotated and shifted, so that a CRC of CRCs stays sound."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
