"""Means of speed change nothing but the speed, and bits where they must."""

import copy

import pytest
import torch

from counterpoise.game.game import Game
from counterpoise.json_lines import read_json_lines
from counterpoise.run_folder import RunFolder
from counterpoise.training import acceleration, checkpoint
from counterpoise.training.acceleration import accelerated, chosen
from counterpoise.training.setup import adam
from training_helpers import before_step, run, signals, tiny, without_time

FAST = ["train.channels_last=always", "train.fused_adam=always"]


def weights(path, step=8):
    snapshot = checkpoint.load(RunFolder(path).checkpoint(step))
    return snapshot.part("g") | snapshot.part("d")


def defer(monkeypatch):
    """Let games fetch their numbers late, as on a GPU."""
    begin = Game.__init__

    def deferring(self, *arguments, **options):
        begin(self, *arguments, **options)
        self.deferred = True

    monkeypatch.setattr(Game, "__init__", deferring)


def test_auto_is_for_cuda():
    assert chosen("auto", torch.device("cuda", 0))
    assert not chosen("auto", torch.device("cpu"))
    assert chosen("always", torch.device("cpu"))
    assert not chosen("never", torch.device("cuda", 0))


def test_passes_are_compiled_replayed_or_neither(monkeypatch):
    g, d = torch.nn.Conv2d(3, 3, 1), torch.nn.Conv2d(3, 1, 1)
    cpu, cuda = torch.device("cpu"), torch.device("cuda", 0)

    def passes(device, *options):
        return accelerated(g, d, None, tiny(*options).train, device)

    assert passes(cpu)[0] == passes(cuda, "train.cuda_graphs=never")[0]
    assert passes(cpu)[1] == []
    eager, notes = passes(cpu, "train.cuda_graphs=always")
    assert (eager.replayed, notes) == ([], ["train.cuda_graphs is off: there is no GPU"])
    assert len(passes(cuda)[0].replayed) == 2
    monkeypatch.setattr(torch, "compile", lambda module, dynamic: lambda images: module(images))
    compiled, notes = passes(cpu, "train.compile=always")
    assert compiled.run_g is not g
    assert (compiled.replayed, notes) == ([], [])
    monkeypatch.setattr(acceleration, "compiler_is_here", lambda device: False)
    replayed, notes = passes(cuda, "train.compile=auto")
    assert len(replayed.replayed) == 2
    assert "C++ compiler" in notes[0]


UNET = ["discriminator={name: unet, norm: spectral, width: 2}", "data.crop_px=32"]


@pytest.mark.parametrize(
    "options", [[], ["loss.adversarial.form=relativistic-average"], UNET], ids=["", "rel", "maps"]
)
def test_numbers_fetched_late_are_the_same(quick, tmp_path, monkeypatch, options):
    """As on a GPU with a policy that needs none of them; further steps draw batches too, and large
    maps are reduced where they are."""
    config = quick(
        *options, "balance={policy: ratio, options: {d_steps: 2}}",
        "sensors={every: 3, probes_every: 0}", "train.log_every=3",
    )  # fmt: skip
    run(config, tmp_path / "at-once")
    defer(monkeypatch)
    run(config, tmp_path / "late")
    late, at_once = (without_time(signals(tmp_path / name)) for name in ("late", "at-once"))
    assert late == at_once
    for name, value in weights(tmp_path / "at-once").items():
        assert value.equal(weights(tmp_path / "late")[name])


def test_a_training_that_breaks_off_records_what_it_has(quick, tmp_path, monkeypatch):
    def failing(training, step):
        if step == 6:
            raise RuntimeError("the device is gone")

    defer(monkeypatch)
    before_step(monkeypatch, failing)
    with pytest.raises(RuntimeError, match="is gone"):
        run(quick("balance.policy=none", "train.log_every=4"), tmp_path / "run")
    assert [row["step"] for row in signals(tmp_path / "run")] == [1, 2, 3, 4, 5]


def test_channels_last_and_fused_adam_train_alike_and_resume(quick, tmp_path):
    run(quick(), tmp_path / "plain")
    run(quick(*FAST), tmp_path / "fast")
    for plain, fast in zip(signals(tmp_path / "plain"), signals(tmp_path / "fast"), strict=True):
        assert fast["g_loss"] == pytest.approx(plain["g_loss"], rel=1e-3)
    run_folder = RunFolder(tmp_path / "fast")
    whole = weights(tmp_path / "fast")
    run_folder.checkpoint(8).unlink()
    run(quick(*FAST), tmp_path / "fast", resume=True)
    # Checkpoints hold the default memory format; what is loaded is laid out as it was.
    for name, value in weights(tmp_path / "fast").items():
        assert value.equal(whole[name]), name


def test_loaded_moments_are_laid_out_as_their_weights():
    def made(seed):
        torch.manual_seed(seed)
        layer = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
        optimizer = adam(layer.parameters(), tiny().optimizer.g, fused=True)
        images = torch.rand(2, 3, 8, 8).contiguous(memory_format=torch.channels_last)
        layer(images).square().sum().backward()
        optimizer.step()
        return layer, optimizer

    state = copy.deepcopy(made(0)[1].state_dict())
    for moments in state["state"].values():
        for name, value in moments.items():
            moments[name] = value.clone(memory_format=torch.contiguous_format)
    layer, optimizer = made(1)
    optimizer.load_state_dict(state)
    loaded = optimizer.state[layer.weight]["exp_avg"]
    assert loaded.stride() == layer.weight.stride()
    assert loaded.equal(state["state"][0]["exp_avg"])


# The compiler warns of what torch itself does, which differs between versions.
@pytest.mark.filterwarnings("default")
@pytest.mark.slow
def test_compiled_passes_train_alike(quick, tmp_path):
    options = ["loss.perceptual.layers={pool2: 0.2}", "loss.adversarial.r1=1"]
    run(quick(*options), tmp_path / "eager")
    run(quick(*options, "train.compile=always"), tmp_path / "compiled")
    pairs = zip(signals(tmp_path / "eager"), signals(tmp_path / "compiled"), strict=True)
    for eager, compiled in pairs:
        assert compiled["g_loss"] == pytest.approx(eager["g_loss"], rel=1e-3)
    events, _ = read_json_lines(RunFolder(tmp_path / "compiled").events)
    assert not any("compile" in event["message"] for event in events)
