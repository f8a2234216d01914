"""A small GAN on scikit-learn's digits in PyTorch Lightning, in balance.

    pip install './counterpoise[examples,lightning]'
    python examples/lightning_gan.py

Lightning needs manual optimisation for two optimizers; the two lines with `self.balance` mark where
each network's part begins.
"""

import argparse
import logging
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import counterpoise as cp
from dcgan_digits import NOISE_VALUES, load_images, make_discriminator, make_generator


class DigitsGan(pl.LightningModule):
    """Two networks, two optimizers, one hand-written step."""

    def __init__(self, **options: Any) -> None:
        """`options` are those of `Balance`."""
        super().__init__()
        self.options, self.saved = options, None
        self.automatic_optimization = False
        self.generator = make_generator()
        self.discriminator = make_discriminator()
        self.criterion = nn.BCEWithLogitsLoss()

    def on_train_start(self) -> None:
        """Networks and optimizers are built and restored."""
        networks = self.generator, self.discriminator
        self.balance = cp.Balance(*networks, *self.optimizers(), **self.options)
        if self.saved is not None:
            self.balance.load_state_dict(self.saved)

    def on_train_end(self) -> None:
        """Write what is left."""
        self.balance.close()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """What the policy remembers goes with the weights."""
        checkpoint["balance"] = self.balance.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Taken up when the training starts."""
        self.saved = checkpoint["balance"]

    def training_step(self, batch: list[Tensor]) -> None:
        """One update of D, then one of G."""
        (real,) = batch
        g_optimizer, d_optimizer = self.optimizers()
        fake = self.generator(torch.randn(len(real), NOISE_VALUES, device=self.device))

        self.balance.d_step()
        on_real, on_fake = self.discriminator(real), self.discriminator(fake.detach())
        d_loss = self.criterion(on_real, torch.ones_like(on_real))
        d_loss = d_loss + self.criterion(on_fake, torch.zeros_like(on_fake))
        d_optimizer.zero_grad()
        self.manual_backward(d_loss)
        d_optimizer.step()

        self.balance.g_step()
        on_fake = self.discriminator(fake)
        g_loss = self.criterion(on_fake, torch.ones_like(on_fake))
        g_optimizer.zero_grad()
        self.manual_backward(g_loss)
        g_optimizer.step()

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """G's, then D's."""
        return [
            torch.optim.Adam(network.parameters(), 2e-4, betas=(0.5, 0.999))
            for network in (self.generator, self.discriminator)
        ]


def main() -> None:
    """Train for some epochs of 28 steps."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--policy", default="auto")
    parser.add_argument("--run-dir", help="a new folder for `counterpoise diagnose`")
    options = parser.parse_args()
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    pl.seed_everything(0)
    images, _ = load_images()
    batches = DataLoader(TensorDataset(images), batch_size=64, shuffle=True, drop_last=True)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=options.epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    trainer.fit(DigitsGan(policy=options.policy, run_dir=options.run_dir), batches)


if __name__ == "__main__":
    main()
