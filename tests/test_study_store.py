"""A study's folder: whole rows only, whatever happens, and one writer."""

import errno
import json
import os

import pytest

from counterpoise.errors import UserError
from counterpoise.study import store
from counterpoise.study.plan import Cell, load_plan
from counterpoise.study.store import StudyFolder, cut_torn_line, plan_of
from study_helpers import PLAN, row_of

CELL, OTHER_CELL = Cell("ring", "none", "auto", 0), Cell("digits", "none", "auto", 1)


def events_of(folder):
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def test_the_plan_is_written_first_and_read_back(tmp_path):
    study = StudyFolder(tmp_path / "new" / "study")
    with study.opened(PLAN):
        assert sorted(os.listdir(study.path)) == [".lock", "study.yaml"]
        assert study.finished() == {}
    assert load_plan(study.path / "study.yaml") == PLAN == plan_of(study.path)
    with study.opened(PLAN):
        assert study.has(PLAN)


def test_another_plan_is_refused_by_the_names_of_what_differs(tmp_path):
    study = StudyFolder(tmp_path)
    with study.opened(PLAN):
        study.add(row_of(CELL))
    before = study.results.read_bytes()
    other = PLAN.model_copy(update={"seeds": (7,), "steps_scale": 2.0})
    with (
        pytest.raises(UserError, match=r"another plan \(other seeds, steps_scale\); give --out"),
        study.opened(other),
    ):
        pass
    assert study.results.read_bytes() == before
    assert plan_of(tmp_path) == PLAN


def test_a_folder_of_something_else_is_refused_untouched(tmp_path):
    (tmp_path / "photo.png").touch()
    with pytest.raises(UserError, match="has files but no study.yaml"):
        StudyFolder(tmp_path).opened(PLAN).__enter__()
    assert os.listdir(tmp_path) == ["photo.png"]
    with pytest.raises(UserError, match="not a study"):
        plan_of(tmp_path)


def test_what_a_crash_left_of_the_first_write_is_no_obstacle(tmp_path):
    (tmp_path / ".study.yaml.77.tmp").write_text("na")
    with StudyFolder(tmp_path).opened(PLAN):
        assert plan_of(tmp_path) == PLAN


def test_a_file_in_the_way_of_the_folder_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match="cannot be written"):
            StudyFolder(path).opened(PLAN).__enter__()


def test_a_second_writer_is_refused_until_the_first_has_ended(tmp_path):
    with (
        StudyFolder(tmp_path).opened(PLAN),
        pytest.raises(UserError, match=r"another process \(pid \d+ on .*\) runs this study"),
        StudyFolder(tmp_path).opened(PLAN),
    ):
        pass
    with StudyFolder(tmp_path).opened(PLAN):
        pass


def test_the_last_row_of_a_cell_counts(tmp_path):
    study = StudyFolder(tmp_path)
    for score in (0.25, 0.5):
        study.add(row_of(CELL, score=score))
    study.add(row_of(OTHER_CELL))
    rows = study.finished()
    assert list(rows) == [CELL.key, OTHER_CELL.key]
    assert rows[CELL.key]["score"] == 0.5


@pytest.mark.parametrize(
    "line",
    [
        "[1]",
        "{}",
        "nonsense",
        '{"task": "ring", "stressor": "none", "strategy": "auto", "seed": 0}',
        '{"task": "ring", "stressor": "none", "strategy": "auto", "seed": 0, "status": "maybe"}',
        "\xff",
    ],
)
def test_a_whole_line_that_is_no_row_is_said_with_its_number(tmp_path, line):
    study = StudyFolder(tmp_path)
    study.add(row_of(CELL))
    with study.results.open("ab") as file:
        file.write(line.encode("latin-1") + b"\n")
    with pytest.raises(UserError, match=r"results.jsonl line 2: not a row of a study; remove"):
        study.finished()


def test_a_torn_line_is_no_row_and_is_cut_off_and_noted(tmp_path):
    study = StudyFolder(tmp_path)
    with study.opened(PLAN):
        study.add(row_of(CELL))
        study.note("start", "for the test")
    whole = study.results.read_bytes()
    with study.results.open("ab") as file:
        file.write(b'{"task": "ring", "stre')
    with study.events.open("ab") as file:
        file.write(b"{")
    assert list(study.finished()) == [CELL.key]
    with study.opened(PLAN):
        assert study.results.read_bytes() == whole
        study.add(row_of(OTHER_CELL))
    assert list(study.finished()) == [CELL.key, OTHER_CELL.key]
    assert [(e["event"], e["message"]) for e in events_of(tmp_path)] == [
        ("start", "for the test"),
        ("torn-line", "events.jsonl: an unfinished 1 bytes were cut off"),
        ("torn-line", "results.jsonl: an unfinished 22 bytes were cut off"),
    ]


def test_cutting_a_file_without_a_whole_line_leaves_nothing(tmp_path):
    file = tmp_path / "rows"
    assert cut_torn_line(file) == 0
    file.write_bytes(b"torn")
    assert cut_torn_line(file) == 4
    assert file.read_bytes() == b""


def full_after(bytes_left):
    """An `os.write` to a disk that has so much room left."""
    real, room = os.write, [bytes_left]

    def write(file, data):
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = real(file, data[: room[0]])
        room[0] -= written
        return written

    return write


def test_a_full_disk_leaves_whole_rows(tmp_path, monkeypatch):
    study = StudyFolder(tmp_path)
    study.add(row_of(CELL))
    before = study.results.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(store.os, "write", full_after(100))
        with pytest.raises(UserError, match=r"results.jsonl: cannot be written \(No space left"):
            study.add(row_of(OTHER_CELL))
    assert study.results.read_bytes() == before
    study.add(row_of(OTHER_CELL))
    assert list(study.finished()) == [CELL.key, OTHER_CELL.key]


def test_a_row_that_is_written_in_pieces_is_whole(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(store.os, "write", lambda file, data: real(file, data[:7]))
    StudyFolder(tmp_path).add(row_of(CELL))
    assert StudyFolder(tmp_path).finished() == {CELL.key: row_of(CELL)}


def test_a_row_is_strict_json(tmp_path):
    study = StudyFolder(tmp_path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        study.add(row_of(CELL, score=float("nan")))
    assert not study.results.exists()
