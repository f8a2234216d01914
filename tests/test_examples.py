"""The examples run, and what is wrong in the question's loop is found."""

import re
import runpy
import sys
from pathlib import Path

import pytest

from counterpoise.json_lines import read_json_lines

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def run(monkeypatch):
    """Runs an example as a script, in this process, as importing takes longer than it does."""

    def run_example(name, *options):
        monkeypatch.syspath_prepend(EXAMPLES)
        monkeypatch.setattr(sys, "argv", [name, *map(str, options)])
        return runpy.run_path(str(EXAMPLES / name), run_name="__main__")

    return run_example


def test_seed_loop_runs_and_its_missing_zero_grad_is_found(tmp_path, run, caplog):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed (extra examples)")
    found = run("seed_loop.py", "--steps", 40, "--policy", "none", "--run-dir", tmp_path / "r")
    found["balance"].close()
    assert re.search(r"seed_loop\.py:\d+: stale-g-gradients", caplog.text)
    rows, _ = read_json_lines(tmp_path / "r" / "signals.jsonl")
    assert len(rows) == 40
    # With this policy D is trained in every step: the pair of D(G(z)) differs.
    assert all(row["d_fake_before"] != row["d_fake_after"] for row in rows)


def test_dcgan_on_digits_runs(run, capsys, caplog):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed (extra examples)")
    run("dcgan_digits.py", "--steps", 30, "--policy", "none", "--check")
    assert re.search(
        r"digits that G draws \(share over 0\.02\): \d+ of 10", capsys.readouterr().out
    )
    assert not caplog.records  # nothing found


@pytest.mark.filterwarnings("ignore")  # Lightning's own advice
def test_lightning_example_runs(run):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed (extra examples)")
    pytest.importorskip("lightning", reason="Lightning is not installed (extra lightning)")
    run("lightning_gan.py", "--epochs", 1, "--policy", "none")
