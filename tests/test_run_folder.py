import errno
import math
import os
from importlib import metadata

import pytest

from counterpoise.errors import UserError
from counterpoise.json_lines import JsonLines, drop_rows_after, read_json_lines
from counterpoise.plain_files import AppendedFile, atomic_write
from counterpoise.run_folder import RunFolder, software
from counterpoise.run_writer import RunWriter


def test_atomic_write_replaces_only_on_success(tmp_path):
    path = tmp_path / "sub" / "file.txt"
    with atomic_write(path) as temporary:
        temporary.write_text("first")
        assert temporary.suffix == ".txt"
    assert path.read_text() == "first"
    assert path.stat().st_mode & 0o666 == path.parent.stat().st_mode & 0o666

    with pytest.raises(RuntimeError, match="mid-way"), atomic_write(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("mid-way")
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]


def test_full_disk_is_one_line(tmp_path):
    path = tmp_path / "file.txt"
    with (
        pytest.raises(UserError, match="No space left on device.*free some space"),
        atomic_write(path) as temporary,
    ):
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_file_to_write(tmp_path):
    with (
        pytest.raises(UserError, match="cannot be written .Is a directory"),
        atomic_write(tmp_path / "a") as temporary,
    ):
        (tmp_path / "a").mkdir()
        temporary.write_text("page")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("path", ["pipe", "/dev/null", "/dev/stdout"])
def test_a_device_or_a_pipe_is_refused_and_stays(tmp_path, path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="a device or a pipe"), atomic_write(tmp_path / path):
        pass
    assert (tmp_path / "pipe").is_fifo()


def test_checkpoints_sort_by_step_and_leftovers_go(tmp_path):
    run = RunFolder(tmp_path)
    run.checkpoints.mkdir()
    for step in (1000, 90, 12345678):
        run.checkpoint(step).touch()
    # Of this version, of earlier ones, and of safetensors.
    names = (".step-00000100.77.tmp.safetensors", ".step-00000100.safetensors.77.tmp", ".tmpAb1")
    for name in names:
        (run.checkpoints / name).touch()
    assert run.checkpoint_files() == [run.checkpoint(s) for s in (90, 1000, 12345678)]
    run.remove_leftovers()
    assert sorted(run.checkpoints.iterdir()) == run.checkpoint_files()


def test_source_without_installed_metadata_has_no_version(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert software().startswith("counterpoise unknown, ")


@pytest.mark.parametrize("text", ["", "ab", "\n", "a\nb\n", "a\n" + "b" * 20, "abcd\n" + "b" * 3])
def test_the_last_whole_line_is_found_from_the_end(tmp_path, monkeypatch, text):
    monkeypatch.setattr("counterpoise.plain_files.BLOCK_BYTES", 4)
    path = tmp_path / "rows.jsonl"
    path.write_text(text)
    AppendedFile(path).close()
    assert path.read_text() == text[: text.rfind("\n") + 1]


def test_metrics_that_are_not_finite_are_left_out_and_told(tmp_path):
    run = RunFolder(tmp_path)
    writer = RunWriter(run, metrics=True)
    writer.metrics(3, "train", {"psnr_y": math.inf, "ssim_y": 1.0, "lpips": math.nan})
    writer.close()
    assert read_json_lines(run.metrics)[0] == [{"step": 3, "stage": "train", "ssim_y": 1.0}]
    (event,) = read_json_lines(run.events)[0]
    assert (event["step"], "lpips, psnr_y" in event["message"]) == (3, True)


def test_nan_is_never_written_as_invalid_json(tmp_path):
    rows = JsonLines(tmp_path / "rows.jsonl")
    with pytest.raises(ValueError, match="Out of range float"):
        rows.append({"loss": float("nan")})
    rows.close()


def test_rows_that_stay_are_not_written_anew(tmp_path):
    path = tmp_path / "rows.jsonl"
    kept = ['{"step": 1,  "g_loss": NaN}', '{"step":2,"a":1e0}', '{"step": -3}']
    gone = ['{"step":"x"}', '{"step":null}', '{"a":1}']
    path.write_text("\n".join([*kept, *gone, '{"step":3}']) + "\n")
    notes = drop_rows_after(path, 2)
    assert drop_rows_after(tmp_path / "none.jsonl", 2) == []
    assert path.read_text() == "\n".join(kept) + "\n"
    assert notes == [f"rows.jsonl line {n} has no step: left out" for n in (4, 5, 6)]


def test_text_is_appended_with_the_end_of_its_line(tmp_path):
    file = AppendedFile(tmp_path / "train.log")
    file.append_line("ä\nb")
    file.append_line("\ud800")
    file.close()
    assert file.path.read_bytes() == "ä\nb\n\\ud800\n".encode()
