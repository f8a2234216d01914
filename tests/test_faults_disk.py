"""`kill -9`, or a disk that gets full, at any write: nothing half-written, and all goes on as if
nothing had been."""

import random
import shutil
from pathlib import Path

import pytest

from fault_helpers import FULL_FROM, FULL_ONCE, KILL_AMID, KILL_BEFORE, Ended, Life, leftovers
from helpers import write_images
from study_helpers import expected_rows, rows_in

KILLED = -9
KILLS, FULL = (KILL_BEFORE, KILL_AMID), (FULL_ONCE, FULL_FROM)


def check(ended: Ended, folder: Path) -> None:
    """The command survived a full disk, or has told of it in one line."""
    assert ended.fired_on
    assert ended.code in (0, 2), ended.err
    assert leftovers(folder) == []
    if ended.code == 2:
        (line,) = ended.err.splitlines()
        assert line.startswith("counterpoise: ")
        # Where safetensors writes, in its own words.
        assert "No space left on device" in line


@pytest.mark.parametrize("every", [250, pytest.param(1, marks=pytest.mark.slow)])
def test_training_on_a_disk_that_is_full_at_any_write(
    fault_server, fault_config, undisturbed, tmp_path, every
):
    """It is told, and resumed; of so many writes one fails."""
    life, (path, ended) = Life(fault_server, fault_config, tmp_path / "run"), undisturbed
    for number, at in enumerate(range(1, ended.count + 1, every)):
        check(life.play(at=at, action=FULL[number % 2]), tmp_path)
        life.check(path)


def test_killed_at_a_few_writes(fault_server, fault_config, undisturbed, tmp_path):
    path, ended = undisturbed
    life = Life(fault_server, fault_config, tmp_path / "run")
    # The last time after the first checkpoint.
    for at in (5, ended.count // 2, ended.count // 4):
        assert life.play(at=at, action=KILL_AMID).code == KILLED
    life.check(path)


@pytest.mark.slow
def test_killed_at_every_write(fault_server, fault_config, undisturbed, tmp_path):
    """Before and in the middle of all that a training asks of the disk.

    Its resumption is killed too, at an operation drawn at random.
    """
    path, ended = undisturbed
    draw = random.Random(0)  # noqa: S311
    for at in range(1, ended.count + 1):
        life = Life(fault_server, fault_config, tmp_path / "run")
        assert life.play(at=at, action=KILLS[at % 2]).code == KILLED
        life.play(at=draw.randint(1, ended.count), action=draw.choice(KILLS))
        life.check(path)


@pytest.mark.slow
def test_killed_at_random_moments(fault_server, fault_config, undisturbed, tmp_path):
    """Of the whole command, its start included; the resumptions are killed alike."""
    path, ended = undisturbed
    draw, kills = random.Random(200), 0  # noqa: S311
    while kills < 100:
        life = Life(fault_server, fault_config, tmp_path / "run")
        while life.play(after_s=draw.uniform(0, ended.seconds)).code == KILLED:
            kills += 1
        life.check(path)


def command(name: str, run: Path, out: Path) -> list:
    """A command that writes below `out`, or in the run."""
    images = out.parent / "images"
    return {
        "upscale": ["upscale", images, out, "--weights", run],
        "evaluate": [*("evaluate", images, "--weights", run), *("--csv", out / "scores.csv")],
        "report": ["report", run],
        "diagnose": ["diagnose", run, "--html", out / "page.html"],
    }[name]


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and "images" not in p.parts
    }


def is_whole(file: str, content: bytes, expected: bytes) -> bool:
    """Whether a file is what the undisturbed command left, but for times in it."""
    if file.endswith(".html"):
        return content.rstrip().endswith(b"</html>")
    return content == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", ["upscale", "evaluate", "report", "diagnose"])
def test_other_commands_on_a_full_disk(fault_server, undisturbed, tmp_path, name):
    write_images(tmp_path / "images", 2)
    run, out = tmp_path / "run", tmp_path / "out"

    def play(**fault) -> Ended:
        shutil.rmtree(run, ignore_errors=True)
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(undisturbed[0], run)
        out.mkdir()
        return fault_server.run(*command(name, run, out), below=tmp_path, **fault)

    ended = play()
    assert ended.code in (0, 1, 3), ended.err  # 1: findings, 3: too little to judge
    assert ended.count
    whole = files_of(tmp_path)
    for at in range(1, ended.count + 1):
        struck = play(at=at, action=FULL[at % 2])
        if struck.code not in (ended.code, 0):
            check(struck, tmp_path)
        for file, content in files_of(tmp_path).items():
            assert is_whole(file, content, whole[file]), (file, struck.fired_on)


# A study, of cells that take no time, in the command's own process; workers are
# `test_study_workers`' part.
QUICK = """
import study_helpers
from counterpoise.commands import study
study.play_cell = study_helpers.play
study.load_plan = lambda source, overrides: study_helpers.PLAN
study.local_workers = study_helpers.InThisProcess
"""


def study(server, path, **fault):
    line = ("study", "run", "--plan", "test", "--out", path, "--workers", "1")
    return server.run(*line, below=path, before=(QUICK,), **fault)


@pytest.mark.parametrize("every", [10, pytest.param(1, marks=pytest.mark.slow)])
def test_a_study_struck_at_its_writes(fault_server, tmp_path, every):
    """It goes on with the same command to the same rows."""
    ended = study(fault_server, tmp_path / "undisturbed")
    assert ended.code == 0, ended.err
    assert rows_in(tmp_path / "undisturbed") == expected_rows()
    path, actions = tmp_path / "study", KILLS + FULL
    for number, at in enumerate(range(2, ended.count + 1, every)):
        for action in actions if every == 1 else [actions[number % 4]]:
            struck = study(fault_server, path, at=at, action=action)
            assert struck.code in ((KILLED,) if action in KILLS else (0, 2))
            if struck.code == 2:
                (line,) = struck.err.splitlines()
                assert "No space left on device" in line
            again = study(fault_server, path)
            assert again.code == 0, again.err
            assert rows_in(path) == expected_rows()
            shutil.rmtree(path)
