"""The TensorFlow V1 parser against a small writer of such files, and against anything else."""

import contextlib
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.errors import UserError
from counterpoise.models.tensorflow_checkpoint import TABLE_MAGIC, read_v1_checkpoint

# A writer of V1 checkpoints, from the format's description: protocol buffers in a sorted table.


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def block_of(entries: Sequence[tuple[bytes, bytes]]) -> bytes:
    out, previous = b"", b""
    for key, value in entries:
        shared = 0
        while shared < min(len(key), len(previous)) and key[shared] == previous[shared]:
            shared += 1
        rest = key[shared:]
        out += varint(shared) + varint(len(rest)) + varint(len(value)) + rest + value
        previous = key
    return out + bytes(4) + b"\1\0\0\0"  # one restart point, at 0


def table_of(blocks: Sequence[bytes]) -> bytes:
    """A file of blocks, their index and footer; after each block its kind and an empty checksum."""
    data, entries = b"", []
    for number, block in enumerate(blocks):
        entries.append((b"key%03d" % number, varint(len(data)) + varint(len(block))))
        data += block + bytes(5)
    metaindex, index = block_of([]), block_of(entries)
    numbers = (len(data), len(metaindex), len(data) + len(metaindex) + 5, len(index))
    data += metaindex + bytes(5) + index + bytes(5)
    return data + b"".join(varint(n) for n in numbers).ljust(40, b"\0") + TABLE_MAGIC


def shape_message(shape: Sequence[int]) -> bytes:
    return b"".join(field(2, field(1, size)) for size in shape)


def meta_entry(shapes: dict[str, Sequence[int]], dtype: int = 1) -> bytes:
    described = b"".join(
        field(1, field(1, name.encode()) + field(2, shape_message(shape)) + field(3, dtype))
        for name, shape in shapes.items()
    )
    return field(1, described + field(2, field(1, 1)))  # with a version, as TensorFlow writes


def data_entry(name: str, values: np.ndarray) -> bytes:
    tensor = field(1, 1) + field(5, values.astype("<f4").tobytes())
    extents = b"".join(field(1, b"") for _ in values.shape)
    return field(2, field(1, name.encode()) + field(2, extents) + field(3, tensor))


def checkpoint_of(tensors: dict[str, np.ndarray], per_block: int = 2) -> bytes:
    entries = [(b"", meta_entry({name: value.shape for name, value in tensors.items()}))]
    entries += [
        (b"\0" + name.encode(), data_entry(name, tensors[name])) for name in sorted(tensors)
    ]
    return table_of(
        [block_of(entries[at : at + per_block]) for at in range(0, len(entries), per_block)]
    )


def tensors_of(*shapes: Sequence[int]) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        f"generator/Conv_{n}/weights": random.standard_normal(shape).astype(np.float32)
        for n, shape in enumerate(shapes)
    }


GOOD = checkpoint_of(tensors_of((3, 3, 2, 4), (4,), (1,), ()))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights"


@pytest.mark.parametrize("per_block", [1, 2, 100])
def test_reads_what_was_written(path, per_block):
    tensors = tensors_of((3, 3, 2, 4), (4,), (1,), ())
    path.write_bytes(checkpoint_of(tensors, per_block))
    found = read_v1_checkpoint(path)
    assert found.keys() == tensors.keys()
    for name, array in tensors.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("kept", [0, 1, 48, len(GOOD) // 2, len(GOOD) - 1])
def test_cut_off_and_missing_files(path, kept):
    path.write_bytes(GOOD[:kept])
    for file in (path, path.with_name("none")):
        with pytest.raises(UserError, match="cut off"):
            read_v1_checkpoint(file)


@settings(max_examples=200)
@given(content=st.binary(max_size=300), data=st.data())
def test_garbage_is_refused_or_read(tmp_path_factory, content, data):
    """Any bytes before a footer; and a few changed ones."""
    path = tmp_path_factory.getbasetemp() / "garbage"
    changed = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(GOOD) - 9))] = data.draw(st.integers(0, 255))
    for garbage in (content + TABLE_MAGIC, changed):
        path.write_bytes(garbage)
        with contextlib.suppress(UserError):
            read_v1_checkpoint(path)
