"""`Balance` in a LightningModule, kept through Lightning's checkpoints: the example's module."""

from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from loop_helpers import rows_of

# Lightning's own advice and deprecations.
pytestmark = pytest.mark.filterwarnings("ignore")


def trainer(epochs):
    from lightning.pytorch import Trainer

    return Trainer(
        accelerator="cpu", max_epochs=epochs, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip


def test_training_is_recorded_acted_on_and_resumed(tmp_path, monkeypatch):
    pytest.importorskip("lightning", reason="Lightning is not installed (extra lightning)")
    pytest.importorskip("sklearn", reason="scikit-learn is not installed (extra examples)")
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "examples")
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
