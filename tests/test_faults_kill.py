"""`kill -9` at any moment of a training: it goes on as if nothing had been."""

import random
import shutil
from pathlib import Path

import pytest

from counterpoise.json_lines import read_json_lines
from counterpoise.run_folder import RunFolder
from fault_helpers import KILL_AMID, KILL_BEFORE, Ended, differing, leftovers, results

KILLED = -9


def undisturbed(server, config: Path, folder: Path) -> tuple[dict, Ended]:
    """What a training leaves that nothing happens to, and how it ended."""
    path = folder / "undisturbed"
    ended = server.run("train", "--config", config, "--run-dir", path, below=path)
    assert ended.code == 0, ended.err
    return results(path), ended


class Life:
    """One training that is killed again and again until it has ended."""

    def __init__(self, server, config: Path, path: Path) -> None:
        self.server, self.path = server, path
        self._start = ("train", "--config", config, "--run-dir", path)
        self.kills = 0

    def play(self, **fault) -> bool:
        """Start or resume it, with a fault; whether it came to its end."""
        begun = RunFolder(self.path).config.exists()
        line = ("resume", self.path) if begun else self._start
        ended = self.server.run(*line, below=self.path, **fault)
        if ended.code == KILLED:
            self.kills += 1
            return False
        assert ended.code == 0, ended.err
        return True

    def check(self, expected: dict) -> None:
        """Another resume finds nothing to do; what is there is what an undisturbed run leaves."""
        assert self.play()
        found = results(self.path)
        assert differing(found, expected) == []
        assert leftovers(self.path) == []
        run = RunFolder(self.path)
        assert [read_json_lines(f)[1] for f in (run.signals, run.metrics, run.events)] == [[]] * 3


def test_killed_at_a_few_writes(fault_server, fault_config, tmp_path):
    expected, ended = undisturbed(fault_server, fault_config, tmp_path)
    life = Life(fault_server, fault_config, tmp_path / "run")
    # The second time after the first checkpoint.
    for at in (5, ended.count // 2, ended.count // 4):
        assert not life.play(at=at, action=KILL_AMID)
    life.play()
    life.check(expected)
    assert life.kills == 3


@pytest.mark.slow
def test_killed_at_every_write(fault_server, fault_config, tmp_path, capsys):
    """Before and in the middle of all that a training asks of the disk.

    Its resumption is killed too, at an operation drawn at random.
    """
    expected, ended = undisturbed(fault_server, fault_config, tmp_path)
    draw, kills = random.Random(0), 0  # noqa: S311
    for at in range(1, ended.count + 1):
        life = Life(fault_server, fault_config, tmp_path / "run")
        assert not life.play(at=at, action=(KILL_BEFORE, KILL_AMID)[at % 2])
        life.play(at=draw.randint(1, ended.count), action=draw.choice([KILL_BEFORE, KILL_AMID]))
        life.play()
        life.check(expected)
        kills += life.kills
        shutil.rmtree(life.path)
    with capsys.disabled():
        print(f"\n{kills} kills, at each of the {ended.count} operations of a run and after them")  # noqa: T201


@pytest.mark.slow
def test_killed_at_200_random_moments(fault_server, longer_fault_config, tmp_path, capsys):
    """Of the whole command, its start included; the resumptions are killed alike."""
    expected, ended = undisturbed(fault_server, longer_fault_config, tmp_path)
    draw, kills, lives = random.Random(200), 0, 0  # noqa: S311
    while kills < 200:
        life = Life(fault_server, longer_fault_config, tmp_path / "run")
        while not life.play(after_s=draw.uniform(0, ended.seconds)):
            pass
        life.check(expected)
        kills, lives = kills + life.kills, lives + 1
        shutil.rmtree(life.path)
    with capsys.disabled():
        print(f"\n{kills} kills in {lives} trainings")  # noqa: T201
