"""The Lightning callback: the same Balance, kept through Lightning's checkpoints."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from counterpoise.errors import UserError
from counterpoise.json_lines import read_json_lines
from loop_helpers import small_networks

pl = pytest.importorskip("lightning.pytorch", reason="Lightning is not installed (extra lightning)")

from counterpoise.anyloop.lightning import BalanceCallback  # noqa: E402

# Lightning's own advice and deprecations.
pytestmark = pytest.mark.filterwarnings("ignore")


class Gan(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.generator, self.discriminator = small_networks()
        self.criterion = nn.BCEWithLogitsLoss()

    def training_step(self, batch):
        g_optimizer, d_optimizer = self.optimizers()
        fake = self.generator(torch.randn(len(batch[0]), 4))
        self.balance.d_step()
        on_real, on_fake = self.discriminator(batch[0]), self.discriminator(fake.detach())
        loss = self.criterion(on_real, torch.ones_like(on_real))
        d_optimizer.zero_grad()
        self.manual_backward(loss + self.criterion(on_fake, torch.zeros_like(on_fake)))
        d_optimizer.step()
        self.balance.g_step()
        on_fake = self.discriminator(fake)
        g_optimizer.zero_grad()
        self.manual_backward(self.criterion(on_fake, torch.ones_like(on_fake)))
        g_optimizer.step()

    def configure_optimizers(self):
        # D's comes first: they are told apart by what they own.
        return [
            torch.optim.Adam(self.discriminator.parameters(), 2e-3),
            torch.optim.Adam(self.generator.parameters(), 1e-3),
        ][::-1]


def trainer(callback, epochs):
    return pl.Trainer(
        accelerator="cpu", max_epochs=epochs, callbacks=[callback], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip


def batches():
    images = torch.rand(24, 1, 8, 8) * 2 - 1
    return DataLoader(TensorDataset(images), batch_size=8)


def test_training_is_recorded_acted_on_and_resumed(tmp_path):
    torch.manual_seed(0)
    model = Gan()
    options = {
        "policy": "threshold",
        "policy_options": {"threshold": 0.01, "measure": "mean-output"},
    }
    callback = BalanceCallback(run_dir=tmp_path / "run", check=True, **options)
    one = trainer(callback, 2)
    one.fit(model, batches())
    assert model.balance.loop_findings == []
    rows, _ = read_json_lines(tmp_path / "run" / "signals.jsonl")
    assert [row["step"] for row in rows] == list(range(1, 7))
    # With this threshold the policy stops D from the second step on.
    assert [row["d_updated"] for row in rows] == [True] + 5 * [False]
    assert rows[0]["d_learning_rate"] == 2e-3
    one.save_checkpoint(tmp_path / "state.ckpt")

    callback = BalanceCallback(run_dir=tmp_path / "run", **options)
    trainer(callback, 3).fit(Gan(), batches(), ckpt_path=tmp_path / "state.ckpt")
    rows, _ = read_json_lines(tmp_path / "run" / "signals.jsonl")
    assert [row["step"] for row in rows] == list(range(1, 10))


class Automatic(Gan):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = True

    def configure_optimizers(self):
        return super().configure_optimizers()[0]

    def training_step(self, batch):
        return self.discriminator(batch[0]).mean()


class Unowned(Gan):
    def configure_optimizers(self):
        return torch.optim.Adam(self.discriminator.parameters())


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (Gan, {"generator": "netG"}, "has no network 'netG'"),
        (Automatic, {}, "must use manual optimisation"),
        (Unowned, {}, "no optimizer owns parameters of generator"),
    ],
)
def test_mistakes_are_one_line(model, options, message):
    with pytest.raises(UserError, match=message):
        trainer(BalanceCallback(policy="none", **options), 1).fit(model(), batches())
