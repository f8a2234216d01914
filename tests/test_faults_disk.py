"""A disk that gets full at any write: one line, exit code 2, and nothing half-written."""

import json
import shutil
from pathlib import Path

import pytest

from counterpoise.run_folder import RunFolder
from fault_helpers import FULL_FROM, FULL_ONCE, Ended, differing, leftovers, results
from helpers import write_images


def check(ended: Ended, folder: Path) -> None:
    """The command survived the fault, or has told of it in one line."""
    assert ended.fired_on
    assert ended.code in (0, 2), ended.err
    assert leftovers(folder) == []
    if ended.code == 2:
        (line,) = ended.err.splitlines()
        assert line.startswith("counterpoise: ")
        # Where safetensors writes, in its own words.
        assert "No space left on device" in line


def train_on_full_disks(server, config: Path, folder: Path, every: int) -> int:
    """Fail every so-many-th operation of a training, and resume it; how many were failed."""
    base = folder / "base"
    ended = server.run("train", "--config", config, "--run-dir", base, below=base)
    assert ended.code == 0, ended.err
    expected, path, faults = results(base), folder / "run", 0
    for at in range(1, ended.count + 1, every):
        action = (FULL_ONCE, FULL_FROM)[faults % 2]
        start = ("train", "--config", config, "--run-dir", path)
        check(server.run(*start, below=path, at=at, action=action), folder)
        begun = RunFolder(path).config.exists()
        again = server.run(*(("resume", path) if begun else start))
        assert again.code == 0, again.err
        assert differing(results(path), expected) == []
        faults += 1
        shutil.rmtree(path)
    return faults


def test_training_on_a_full_disk(fault_server, fault_config, tmp_path):
    train_on_full_disks(fault_server, fault_config, tmp_path, every=80)


@pytest.mark.slow
def test_training_on_a_disk_that_is_full_at_any_write(fault_server, fault_config, tmp_path, capsys):
    faults = train_on_full_disks(fault_server, fault_config, tmp_path, every=1)
    with capsys.disabled():
        print(f"\n{faults} operations failed, each in a training of its own")  # noqa: T201


@pytest.fixture(scope="module")
def finished(fault_server, fault_config, tmp_path_factory):
    """A finished run."""
    path = tmp_path_factory.mktemp("finished") / "run"
    assert fault_server.run("train", "--config", fault_config, "--run-dir", path).code == 0
    return path


def command(name: str, run: Path, out: Path) -> list:
    """A command that writes below `out`, or in the run."""
    images = out.parent / "images"
    return {
        "upscale": ["upscale", images, out, "--weights", run],
        "evaluate": [
            *("evaluate", images, "--weights", run),
            *("--csv", out / "scores.csv", "--figures", out / "figures"),
        ],
        "report": ["report", run],
        "best": ["best", run],
        "diagnose": ["diagnose", run, "--html", out / "page.html"],
    }[name]


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and "images" not in p.parts
    }


def fill_at_every_write(server, name: str, finished: Path, folder: Path) -> int:
    write_images(folder / "images", 2)
    run, out = folder / "run", folder / "out"

    def play(**fault) -> Ended:
        shutil.rmtree(run, ignore_errors=True)
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(finished, run)
        out.mkdir()
        return server.run(*command(name, run, out), **fault)

    ended = play(below=folder)
    assert ended.code in (0, 1), ended.err  # 1: findings
    whole = files_of(folder)
    for at in range(1, ended.count + 1):
        struck = play(below=folder, at=at, action=(FULL_ONCE, FULL_FROM)[at % 2])
        if struck.code not in (ended.code, 0):
            check(struck, folder)
        for file, content in files_of(folder).items():
            assert is_whole(file, content, whole[file]), (file, struck.fired_on)
    return ended.count


def is_whole(file: str, content: bytes, expected: bytes) -> bool:
    """Whether a file is what the undisturbed command left, but for times in it."""
    if file.endswith(".html"):
        return content.rstrip().endswith(b"</html>")
    if file.endswith("best.json"):
        return isinstance(json.loads(content), dict)
    return content == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", ["upscale", "evaluate", "report", "best", "diagnose"])
def test_other_commands_on_a_full_disk(fault_server, finished, tmp_path, name):
    assert fill_at_every_write(fault_server, name, finished, tmp_path) > 0
