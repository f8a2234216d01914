"""Three trainings of the same networks on the same losses: ours, a bare loop, BasicSR's order.

All get their batches from the same pipeline, so that the loops alone are compared. The bare loop is
the question's (one fake, D on real and on fake, then G through the new D), cleaned: logits, no
gate, no `.cuda()` of scalars; like its author it reads the numbers it prints with `.item()`.
BasicSR's is that of its SRGANModel, written down from its description, not copied: G first, with
D's weights frozen; then D on real and on the detached fake with a backward pass each; every loss to
the host in every step; an average of G's weights, parameter by parameter.
"""

import copy
import tempfile
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoise.config_file import load_config
from counterpoise.losses.adversarial import ADVERSARIAL_FORMS
from counterpoise.losses.generator_loss import GeneratorLoss
from counterpoise.run_folder import RunFolder
from counterpoise.run_writer import RunWriter
from counterpoise.training.checks import check_training
from counterpoise.training.fabric import make_fabric
from counterpoise.training.loop import Training
from counterpoise.training.reporting import Reporter
from counterpoise.training.setup import Batches, build_parts

NEVER = [f"train.{means}=never" for means in ("cuda_graphs", "channels_last", "fused_adam")]


def make_training(preset: str, overrides: list[str], folder: Path) -> Training:
    """Our training at its first step, all of it adversarial, recording into `folder`."""
    overrides = ["train.pretrain_steps=0", "train.steps=10000000", *overrides]
    config = load_config(preset, overrides, checks=(check_training,))
    run = RunFolder(folder)
    run.save_config(config.to_yaml())
    training = Training(build_parts(config, make_fabric(config)), run, Reporter())
    training.record_in(RunWriter(run, metrics=True))
    return training


class Contestant(Protocol):
    """A training that can be run for some steps."""

    def steps(self, count: int) -> None:
        """Train for so many steps."""

    def close(self) -> None:
        """Let go of files."""


class Ours:
    """Our loop with its recording and its diagnosis at each log line."""

    def __init__(self, preset: str, overrides: list[str]) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.training = make_training(preset, overrides, Path(self._folder.name) / "run")

    def steps(self, count: int) -> None:
        """Train for so many steps."""
        training = self.training
        for _ in range(count):
            training.state.step += 1
            training.play(training.step)
            is_due = training.step % training.config.train.log_every == 0
            training.record(wait=is_due or not training.state.playing.game.deferred)
            if is_due:
                training.diagnosis.news()

    def close(self) -> None:
        """Close the files and delete them."""
        self.training.writer.close()
        self._folder.cleanup()


class _Plain:
    """Networks, optimizers, losses and batches as ours begin with, in a plain loop's hands."""

    def __init__(self, preset: str, overrides: list[str]) -> None:
        overrides = ["train.pretrain_steps=0", *overrides, "train.precision=32-true", *NEVER]
        config = load_config(preset, overrides, checks=(check_training,))
        parts = build_parts(config, make_fabric(config))
        networks = parts.networks
        assert networks.d is not None, "a game has a D"
        self.g, self.d = networks.g, networks.d
        self.g_optimizer, self.d_optimizer = (
            torch.optim.Adam(net.parameters(), lr=adam.learning_rate, betas=adam.betas)
            for net, adam in ((self.g, config.optimizer.g), (self.d, config.optimizer.d))
        )
        self.g_average, self.decay = copy.deepcopy(self.g), config.train.ema_decay
        self.weight = config.loss.adversarial.weight
        form = ADVERSARIAL_FORMS[config.loss.adversarial.form]
        self._loss = GeneratorLoss(config.loss, form, networks.features)
        self.next_batch = Batches(parts).next
        self.logged: dict[str, float] = {}

    def content(self, fake: Tensor, real: Tensor) -> Tensor:
        """All terms of G's loss but the adversarial one."""
        return torch.stack(list(self._loss.terms(fake, real, None, None).values())).sum()

    def steps(self, count: int) -> None:
        """Train for so many steps."""
        for _ in range(count):
            self.step()

    def step(self) -> None:
        """One step."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is open."""


class Bare(_Plain):
    """The question's loop, cleaned."""

    def step(self) -> None:
        """One step of D, then of G."""
        lr, real = self.next_batch()
        self.d_optimizer.zero_grad()
        on_real = self.d(real)
        fake = self.g(lr)
        on_fake = self.d(fake.detach())
        loss_d = labelled(on_real, 1) + labelled(on_fake, 0)
        loss_d.backward()
        self.d_optimizer.step()

        self.g_optimizer.zero_grad()
        on_fake = self.d(fake)
        loss_g = self.content(fake, real) + self.weight * labelled(on_fake, 1)
        loss_g.backward()
        self.g_optimizer.step()
        self.logged = {
            "d": loss_d.item(),
            "g": loss_g.item(),
            "d_real": on_real.sigmoid().mean().item(),
            "d_fake": on_fake.sigmoid().mean().item(),
        }


class BasicSROrder(_Plain):
    """BasicSR's SRGANModel, from its description."""

    def step(self) -> None:
        """One step of G, then of D."""
        lr, real = self.next_batch()
        self.d.requires_grad_(False)
        self.g_optimizer.zero_grad()
        fake = self.g(lr)
        content = self.content(fake, real)
        g_gan = self.weight * labelled(self.d(fake), 1)
        (content + g_gan).backward()
        self.g_optimizer.step()

        self.d.requires_grad_(True)
        self.d_optimizer.zero_grad()
        on_real = self.d(real)
        loss_real = labelled(on_real, 1)
        loss_real.backward()
        on_fake = self.d(fake.detach())
        loss_fake = labelled(on_fake, 0)
        loss_fake.backward()
        self.d_optimizer.step()
        losses: dict[str, Any] = {
            "l_g_content": content,
            "l_g_gan": g_gan,
            "l_d_real": loss_real,
            "out_d_real": on_real.detach().mean(),
            "l_d_fake": loss_fake,
            "out_d_fake": on_fake.detach().mean(),
        }
        self.logged = {name: value.mean().item() for name, value in losses.items()}
        with torch.no_grad():
            pairs = zip(self.g_average.parameters(), self.g.parameters(), strict=True)
            for average, weight in pairs:
                average.mul_(self.decay).add_(weight, alpha=1 - self.decay)


def labelled(logits: Tensor, label: float) -> Tensor:
    """Cross-entropy of logits against one label."""
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))
