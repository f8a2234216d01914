"""The examples run, and what is wrong in the question's loop is found."""

import re
import runpy
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from loop_helpers import rows_of

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
    found = run("seed_loop.py", "--steps", 40, "--policy", "none", "--run-dir", tmp_path / "r")
    found["balance"].close()
    assert re.search(r"seed_loop\.py:\d+: stale-g-gradients", caplog.text)
    rows = rows_of(tmp_path / "r")
    assert len(rows) == 40
    # With this policy D is trained in every step: the pair of D(G(z)) differs.
    assert all(row["d_fake_before"] != row["d_fake_after"] for row in rows)


def test_dcgan_on_digits_runs(run, capsys, caplog):
    run("dcgan_digits.py", "--steps", 30, "--policy", "none", "--check")
    assert re.search(
        r"digits that G draws \(share over 0\.02\): \d+ of 10", capsys.readouterr().out
    )
    assert not caplog.records  # nothing found


@pytest.mark.filterwarnings("ignore")  # Lightning's own advice
def test_lightning_example_runs(run):
    pytest.importorskip("lightning", reason="Lightning is not installed (extra lightning)")
    run("lightning_gan.py", "--epochs", 1, "--policy", "none")


def trainer(epochs):
    from lightning.pytorch import Trainer

    return Trainer(
        accelerator="cpu", max_epochs=epochs, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore")
def test_in_lightning_it_is_recorded_acted_on_and_resumed(tmp_path, monkeypatch):
    pytest.importorskip("lightning", reason="Lightning is not installed (extra lightning)")
    monkeypatch.syspath_prepend(EXAMPLES)
    from lightning_gan import DigitsGan

    torch.manual_seed(0)
    batches = DataLoader(TensorDataset(torch.rand(24, 1, 8, 8) * 2 - 1), batch_size=8)
    options = {
        "policy": "threshold",
        "policy_options": {"threshold": 0.01, "measure": "mean-output"},
        "run_dir": tmp_path / "run",
    }
    one, module = trainer(2), DigitsGan(check=True, **options)
    one.fit(module, batches)
    assert module.balance.loop_findings == []
    rows = rows_of(tmp_path / "run")
    assert [row["step"] for row in rows] == list(range(1, 7))
    # With this threshold the policy stops D from the second step on.
    assert [row["d_updated"] for row in rows] == [True] + 5 * [False]
    assert rows[0]["d_learning_rate"] == 2e-4
    one.save_checkpoint(tmp_path / "state.ckpt")
    trainer(3).fit(DigitsGan(**options), batches, ckpt_path=tmp_path / "state.ckpt")
    assert [row["step"] for row in rows_of(tmp_path / "run")] == list(range(1, 10))
