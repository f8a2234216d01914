"""The TensorFlow V1 parser against a small writer of such files, and against anything else."""

import struct
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.errors import UserError
from counterpoise.models.tensorflow_checkpoint import TABLE_MAGIC, crc32c, read_v1_checkpoint

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


def with_trailer(block: bytes, kind: int = 0) -> bytes:
    crc = crc32c(block + bytes([kind]))
    masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    return block + bytes([kind]) + struct.pack("<I", masked)


def block_of(entries: Sequence[tuple[bytes, bytes]]) -> bytes:
    out, previous = b"", b""
    for key, value in entries:
        shared = 0
        while shared < min(len(key), len(previous)) and key[shared] == previous[shared]:
            shared += 1
        rest = key[shared:]
        out += varint(shared) + varint(len(rest)) + varint(len(value)) + rest + value
        previous = key
    return out + struct.pack("<II", 0, 1)  # one restart point, at 0


def table_of(blocks: Sequence[bytes], handles: Sequence[tuple[int, int]] | None = None) -> bytes:
    """A file of blocks, their index and footer; `handles` may lie about where the blocks are."""
    data, found = b"", []
    for block in blocks:
        found.append((len(data), len(block)))
        data += with_trailer(block)
    meta_at = (len(data), len(block_of([])))
    data += with_trailer(block_of([]))
    entries = [
        (b"key%03d" % number, varint(offset) + varint(size))
        for number, (offset, size) in enumerate(found if handles is None else handles)
    ]
    index = block_of(entries)
    footer = b"".join(varint(n) for n in (*meta_at, len(data), len(index)))
    return data + with_trailer(index) + footer.ljust(40, b"\0") + TABLE_MAGIC


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


def refusal(path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_v1_checkpoint(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_checksum_is_castagnoli():
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, appendix B.4


@pytest.mark.parametrize("per_block", [1, 2, 100])
def test_reads_what_was_written(path, per_block):
    tensors = tensors_of((3, 3, 2, 4), (4,), (1,), ())
    path.write_bytes(checkpoint_of(tensors, per_block))
    found = read_v1_checkpoint(path)
    assert found.keys() == tensors.keys()
    for name, array in tensors.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], array)


def test_every_flipped_byte_of_a_block_is_noticed(path):
    # The metaindex block, of 8 bytes and its trailer, is not read: nothing in it matters.
    metaindex = GOOD.index(with_trailer(block_of([])))
    for position in range(0, len(GOOD) - 48, 7):
        damaged = bytearray(GOOD)
        damaged[position] ^= 0x10
        if position not in range(metaindex, metaindex + 13):
            assert "damaged" in refusal(path, bytes(damaged))


@pytest.mark.parametrize("kept", [0, 1, 47, 48, len(GOOD) // 2, len(GOOD) - 1])
def test_cut_off_and_missing_files(path, kept):
    assert "cut off" in refusal(path, GOOD[:kept])
    with pytest.raises(UserError):
        read_v1_checkpoint(path.with_name("none"))


def one_tensor(values: np.ndarray, shape: Sequence[int], dtype: int = 1) -> bytes:
    entries = [(b"", meta_entry({"a": shape}, dtype)), (b"\0a", data_entry("a", values))]
    return table_of([block_of(entries)])


META, ENTRY = (b"", meta_entry({"a": (2,)})), (b"\0a", data_entry("a", np.zeros(2)))
COMPRESSED = with_trailer(block_of([]), kind=1)
UNUSABLE = {
    "another shape": one_tensor(np.zeros(4), (5,)),
    "a huge shape": one_tensor(np.zeros(4), (2**62, 2**62)),
    "too many dimensions": one_tensor(np.zeros(1), (1,) * 70),
    "another type": one_tensor(np.zeros(2), (2,), dtype=9),
    "no values": table_of([block_of([META])]),
    "no shapes": table_of([block_of([ENTRY])]),
    "a tensor too many": table_of(
        [block_of([META, ENTRY, (b"\0b", data_entry("b", np.zeros(2)))])]
    ),
    "a block past the end": table_of([block_of([META])], [(0, 2**60)]),
    "a block beyond": table_of([block_of([META])], [(2**63, 1)]),
    "compressed": COMPRESSED
    + (varint(0) * 2 + varint(0) + varint(len(COMPRESSED) - 5)).ljust(40, b"\0")
    + TABLE_MAGIC,
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_what_cannot_be_used_is_one_line(path, kind):
    assert "damaged" in refusal(path, UNUSABLE[kind])


@settings(max_examples=150)
@given(content=st.binary(max_size=300), data=st.data())
def test_garbage_is_refused_or_read(tmp_path_factory, content, data):
    """Any bytes before a footer; and mutations of what the checksums cover, made right again."""
    path = tmp_path_factory.getbasetemp() / "garbage"
    path.write_bytes(content + TABLE_MAGIC)
    with pytest.raises(UserError):
        read_v1_checkpoint(path)
    value = bytearray(block_of([META, ENTRY]))
    for _ in range(data.draw(st.integers(1, 4))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(table_of([bytes(value)]))
    try:
        found = read_v1_checkpoint(path)
    except UserError:
        return
    assert sum(array.size for array in found.values()) == 2
