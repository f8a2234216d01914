"""Means of speed change nothing but the speed, and bits where they must."""

import pytest
import torch

from counterpoise.errors import UserError
from counterpoise.game.game import Game
from counterpoise.run_folder import RunFolder
from counterpoise.training.cuda_graphs import ReplayedPasses, accelerated
from training_helpers import differing_tensors, run, signals, tiny, without_time

FAST = ["train.channels_last=always", "train.fused_adam=always"]
pytestmark = pytest.mark.usefixtures("shown")


def defer(monkeypatch):
    """Let games fetch their numbers late, as on a GPU."""
    begin = Game.__init__

    def deferring(self, *arguments, **options):
        begin(self, *arguments, **options)
        self.deferred = True

    monkeypatch.setattr(Game, "__init__", deferring)


def test_passes_are_replayed_on_a_gpu_alone():
    g = torch.nn.Conv2d(3, 3, 1)

    def passes(device, *options, network=g):
        return accelerated(network, "G", 1, tiny(*options).train, torch.device(device))

    assert passes("cpu") is passes("cuda", "train.cuda_graphs=never") is g
    assert isinstance(passes("cuda"), ReplayedPasses)
    assert passes("cuda", network=None) is None
    with pytest.raises(UserError, match="there is no GPU"):
        passes("cpu", "train.cuda_graphs=always")


def test_numbers_fetched_late_are_the_same(tmp_path, monkeypatch):
    """As on a GPU with a policy that does not read signals; further steps draw batches too, and
    large maps are reduced where they are."""
    options = ["discriminator={name: unet, norm: spectral, width: 2}"]
    options += ["balance={policy: ratio, options: {d_steps: 2}}", "train.log_every=3"]
    config = tiny(*options, "sensors={every: 3, probes_every: 0}")
    run(config, tmp_path / "at-once")
    defer(monkeypatch)
    run(config, tmp_path / "late")
    late, at_once = (without_time(signals(tmp_path / name)) for name in ("late", "at-once"))
    assert late == at_once
    assert differing_tensors(tmp_path / "late", tmp_path / "at-once") == []


def test_channels_last_and_fused_adam_train_alike_and_resume(tmp_path, finished):
    fast, path = tiny(*FAST), tmp_path / "fast"
    run(fast, path)
    for plain, row in zip(signals(finished), signals(path), strict=True):
        assert row["g_loss"] == pytest.approx(plain["g_loss"], rel=1e-3)
    RunFolder(path).checkpoint(8).rename(tmp_path / "whole")
    run(fast, path, resume=True)
    # Checkpoints hold the default memory format; what is loaded is laid out as it was.
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "whole").rename(RunFolder(tmp_path).checkpoint(8))
    assert differing_tensors(tmp_path, path) == []
