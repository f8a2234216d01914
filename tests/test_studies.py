"""The studies run; what they found is in docs/experiments.md."""

import contextlib
import json
import re
import runpy
import sys
from pathlib import Path

import pytest

from helpers import scripts_of

STUDIES = Path(__file__).parents[1] / "studies"


@pytest.fixture
def study(monkeypatch, capsys):
    """Run a study's script: what it printed."""

    def run(script, *arguments):
        monkeypatch.setattr(sys, "argv", [str(script), *map(str, arguments)])
        with scripts_of(script.parent), contextlib.suppress(SystemExit):
            runpy.run_path(str(script), run_name="__main__")
        return capsys.readouterr().out

    return run


QUESTION = STUDIES / "seed_situation.py"
SMALL = ["--steps", 6, "--warm-up", 2, "--set", "batch_size=2", "--set", "d_width=2"]


def test_the_gate_and_auto_start_alike(study, tmp_path):
    out = study(QUESTION, *SMALL, "--log-every", 1, "--json", tmp_path / "r.json")
    assert set(json.loads((tmp_path / "r.json").read_text())) == {"loss-gate", "auto"}
    first = re.findall(r"Step: 1/6 .*(D\(x\).*) /", out)
    assert len(first) == 2
    assert first[0] == first[1]  # the same weights and batch


def test_every_ablation_runs(study):
    out = study(QUESTION, *SMALL, "--ablate")
    for name in ("no gate", "one batch for real and fake", "no batch norm in D"):
        assert name in out


def test_the_untuned_games_are_played_and_reported(study, tmp_path):
    """One of them, in a few steps; what is there already is not played again."""
    folder = STUDIES / "untuned"
    play = [folder / "run.py", "--out", tmp_path, "--games", "ring", "--stressors", "none"]
    play += ["--strategies", "none", "auto", "--seeds", 0, "--steps", 4, "--workers", 1]
    play += ["--data", tmp_path / "none"]
    assert "2 trainings to play, 0 are there" in study(*play)
    assert "0 trainings to play, 2 are there" in study(*play)
    assert "## ring" in study(folder / "report.py", tmp_path)


def test_a_game_and_its_sick_twin_are_trained_and_reported(study, tmp_path):
    """Of tables, which need no data, in a few turns; what is there already is not trained again."""
    folder = STUDIES / "twins"
    train = [folder / "run.py", "--out", tmp_path, "--games", "tables", "tables-sick"]
    train += ["--seeds", 20, "--turns", 2, "--data", tmp_path / "none"]
    study(*train)
    rows = (tmp_path / "rows.jsonl").read_text()
    found = {
        (row["game"], row["policy"], row["seed"]): row["sliced"]
        for row in map(json.loads, rows.splitlines())
    }
    assert len(found) == 4
    assert all(0 < value < 10 for value in found.values())
    study(*train)
    assert (tmp_path / "rows.jsonl").read_text() == rows
    table = study(folder / "report.py", tmp_path)
    assert f"| tables-sick | sliced | {found['tables-sick', 'none', 20]:.3f} |" in table


def test_a_twin_that_failed_is_reported(study, tmp_path):
    """An error and a measure that was not finite are failures, and no ratio comes from them."""
    rows = [
        {"game": "tables", "policy": "none", "seed": 20, "sliced": 0.5},
        {"game": "tables", "policy": "none", "seed": 21, "sliced": 0.5},
        {"game": "tables", "policy": "auto", "seed": 20, "sliced": None},
        {"game": "tables", "policy": "auto", "seed": 21, "error": "ValueError"},
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    out = study(STUDIES / "twins" / "report.py", tmp_path)
    for seed in (20, 21):
        assert f"- tables, auto, seed {seed}" in out
    assert re.search(r"alone: tables$", out, re.MULTILINE)


def test_twins_without_data_are_refused_and_no_row_is_written(study, tmp_path):
    out = tmp_path / "out"
    study(STUDIES / "twins" / "run.py", "--out", out, "--games", "dcgan", "--data", tmp_path)
    assert not out.exists()
