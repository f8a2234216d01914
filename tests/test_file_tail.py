"""A file is followed whatever becomes of it, and only what is new is read."""

import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise import file_tail
from counterpoise.file_tail import FileTail


@pytest.fixture
def path(tmp_path):
    return tmp_path / "train.log"


def append(path, data):
    with path.open("ab") as file:
        file.write(data)


@given(st.lists(st.text("ab\r\né漢", max_size=12).map(str.encode), max_size=8), st.data())
@settings(max_examples=60)
def test_lines_are_those_of_the_whole_file_wherever_its_writes_are_parted(parts, data):
    whole = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.log"
        path.touch()
        follower, lines = FileTail(path), []
        for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
            append(path, whole[start:end])
            portion = follower.poll()
            assert not portion.anew
            lines += portion.lines
    # A line without an end may go on; a carriage return at the end may be half of an end.
    end = max(whole.rfind(b"\n"), whole.rfind(b"\r", 0, -1)) + 1
    assert lines == list(io.StringIO(whole[:end].decode(), newline=None))


def test_a_look_hands_on_and_reads_only_what_is_new(path, monkeypatch):
    path.write_bytes(b"line\n" * 5000)
    follower = FileTail(path)
    assert len(follower.poll().lines) == 5000
    append(path, b"new\n")
    monkeypatch.setattr(file_tail, "MOST_BYTES_AT_ONCE", len(b"new\n"))
    portion = follower.poll()
    assert (portion.lines, portion.unread_bytes) == (["new\n"], 0)
    assert follower.poll().lines == []


def test_a_torn_last_line_comes_once_it_is_complete_or_is_taken(path):
    path.write_bytes(b"one\ntw")
    follower = FileTail(path)
    assert follower.poll().lines == ["one\n"]
    append(path, b"o")
    assert follower.poll().lines == []
    append(path, b"\nthree\nfour")
    assert follower.poll().lines == ["two\n", "three\n"]
    assert (follower.take_rest(), follower.take_rest()) == ("four", "")


@pytest.mark.parametrize("content", [b"", b"one\nTWO\nthree\n", b"ONE\ntwo\nthree\n", b"o\n"])
def test_a_file_that_is_cut_or_replaced_begins_anew(path, content):
    path.write_bytes(b"one\ntwo\n")
    follower = FileTail(path)
    follower.poll()
    other = path.with_suffix(".tmp")
    other.write_bytes(content)
    other.replace(path)
    portion = follower.poll()
    assert portion.anew
    assert "".join(portion.lines).encode() == content
    append(path, b"more\n")
    portion = follower.poll()
    assert (portion.anew, portion.lines) == (False, ["more\n"])


def test_a_file_that_is_not_there_yet_and_one_that_goes_away(path):
    follower = FileTail(path)
    portion = follower.poll()
    assert (portion.exists, portion.anew, portion.problem) == (False, False, "")
    path.write_bytes(b"one\n")
    assert follower.poll().lines == ["one\n"]
    moved = path.rename(path.with_suffix(".1"))
    portion = follower.poll()
    assert (portion.exists, portion.anew) == (False, True)
    assert follower.poll().anew is False  # that is told once
    path.write_bytes(b"two\n")
    portion = follower.poll()
    assert (portion.exists, portion.lines) == (True, ["two\n"])
    assert moved.read_bytes() == b"one\n"


def test_what_cannot_be_read_is_said_and_tried_again(path):
    path.mkdir()
    follower = FileTail(path)
    assert follower.poll().problem == "cannot be read (Is a directory)"
    path.rmdir()
    path.write_bytes(b"one\n")
    assert follower.poll().lines == ["one\n"]
