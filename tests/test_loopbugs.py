"""The loops of the benchmark of loop bugs run; what is found in them is not looked at here."""

from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]


def test_every_loop_runs(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    from loopbugs import common, run

    for loop in run.load(run.FOLDER / "seen"):
        for name in [None, *(bug.name for bug in loop.bugs)]:
            torch.manual_seed(0)
            played = common.Run(1 if name else 2, balanced=False)
            loop.train(played, name)
            weights = [p for net in played.networks.values() for p in net.parameters()]
            assert all(torch.isfinite(p).all() for p in weights), (loop.name, name)


def test_the_figures_of_one_loop(monkeypatch, capsys):
    monkeypatch.syspath_prepend(ROOT)
    from loopbugs import run

    results = run.main(["--only", "generator_first", "--turns", "2"])
    assert [one.equal for one in results] == [True, None, None, None]
    assert "bugs found" in capsys.readouterr().out
