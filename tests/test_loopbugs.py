"""The loops of the benchmark of loop bugs: they run, and their bugs are found."""

from pathlib import Path

import pytest
import torch

from counterpoise.diagnosis.loop_bugs import LOOP_BUGS
from loopbugs import common, run
from test_check_loop import CASES

LOOPS = run.load(Path(run.FOLDER) / "seen")
# Bugs that are planted there, each found at its line.
ELSEWHERE = {name for name, *_ in CASES}
BUGS = [(loop, bug) for loop in LOOPS for bug in loop.bugs if not bug.accept & ELSEWHERE]
# Right loops in which a check could err, and that no test of a loop nor a recipe has.
RIGHT = ("one_batch_fake_first", "flipped_labels", "information", "pools", "averaged",
         "relativistic_penalties", "table", "critic_ascends", "decoder", "dictionary",
         "wgan_gp")  # fmt: skip


def test_every_loop_runs():
    for loop in LOOPS:
        torch.manual_seed(0)
        played = common.Run(2, balanced=False)
        loop.train(played, None)
        weights = [p for net in played.networks.values() for p in net.parameters()]
        assert all(torch.isfinite(p).all() for p in weights), loop.name


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("loop", "bug"), BUGS, ids=[f"{one.name}-{bug.name}" for one, bug in BUGS])
def test_a_bug_is_found(loop, bug):
    result = run.judge("seen", loop, bug, None)
    assert result.found_after_turns, (result.checks, result.diagnosis, result.error)


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_loop_has_no_alarm_and_the_same_weights(name):
    (loop,) = [loop for loop in LOOPS if loop.name == name]
    result = run.judge("seen", loop, None, None)
    assert (result.alarms, result.equal, result.error) == ([], True, "")


def test_every_kind_is_planted():
    planted = set().union(*(bug.accept for loop in LOOPS for bug in loop.bugs))
    assert set(LOOP_BUGS) - ELSEWHERE - {"batch-norm-in-penalty"} <= planted


def test_the_figures_of_one_loop(capsys):
    results = run.main(["--only", "generator_first", "--turns", "2"])
    assert [one.equal for one in results] == [True, None, None, None]
    assert "bugs found" in capsys.readouterr().out
