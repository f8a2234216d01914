"""A file is followed whatever becomes of it, and only what is new is read."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise import json_lines
from counterpoise.json_lines import FileTail


@pytest.fixture
def path(tmp_path):
    return tmp_path / "signals.jsonl"


def append(path, data):
    with path.open("ab") as file:
        file.write(data)


def poll(follower, **options):
    """The text that is new, and whether it is that of another file."""
    lines, anew = follower.poll(**options)
    return "\n".join(lines), anew


@given(st.lists(st.text("ab\n\u00e9\u6f22", max_size=12).map(str.encode), max_size=8), st.data())
@settings(max_examples=60)
def test_lines_are_those_of_the_whole_file_wherever_its_writes_are_parted(parts, data):
    whole = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "signals.jsonl"
        path.touch()
        follower, text = FileTail(path), ""
        for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
            append(path, whole[start:end])
            new, anew = poll(follower)
            assert not anew
            text += new
        assert text == whole[: whole.rfind(b"\n") + 1].decode()
        assert text + poll(follower, growing=False)[0] == whole.decode()


def test_a_look_hands_on_and_reads_only_what_is_new(path, monkeypatch):
    path.write_bytes(b"line\n" * 5000)
    follower = FileTail(path)
    assert poll(follower)[0] == "line\n" * 5000
    append(path, b"new\n")
    monkeypatch.setattr(json_lines, "MOST_BYTES_AT_ONCE", len(b"new\n"))
    assert (poll(follower)[0], follower.unread_bytes) == ("new\n", 0)
    assert poll(follower)[0] == ""


def test_a_line_without_an_end_that_is_longer_than_a_portion_is_read_past(path, monkeypatch):
    monkeypatch.setattr(json_lines, "MOST_BYTES_AT_ONCE", 10)
    path.write_bytes(b"x" * 25 + b"\none\n")
    follower, text = FileTail(path), ""
    while not text.endswith("one\n"):
        text += poll(follower)[0]
    assert text.encode() == path.read_bytes()


@pytest.mark.parametrize("content", [b"", b"one\nTWO\nthree\n", b"ONE\ntwo\nthree\n", b"o\n"])
def test_a_file_that_is_cut_or_replaced_begins_anew(path, content):
    path.write_bytes(b"one\ntwo\n")
    follower = FileTail(path)
    poll(follower)
    other = path.with_suffix(".tmp")
    other.write_bytes(content)
    other.replace(path)
    assert poll(follower) == (content.decode(), True)
    append(path, b"more\n")
    assert poll(follower) == ("more\n", False)


def test_a_file_that_is_not_there_yet_and_one_that_goes_away(path):
    follower = FileTail(path)
    assert poll(follower) == ("", False)
    path.write_bytes(b"one\n")
    assert poll(follower) == ("one\n", False)
    moved = path.rename(path.with_suffix(".1"))
    assert poll(follower) == ("", True)
    assert poll(follower) == ("", False)  # that is told once
    path.write_bytes(b"two\n")
    assert poll(follower) == ("two\n", False)
    assert moved.read_bytes() == b"one\n"
