"""Replayed passes, with an imitation of CUDA graphs: memory that each replay writes over."""

import weakref

import pytest
import torch

from counterpoise.config import DiscriminatorConfig
from counterpoise.models.discriminator import build_discriminator
from counterpoise.training import setup
from counterpoise.training.cuda_graphs import ReplayedPasses
from training_helpers import events, run, signals, tiny, weights, without_time


def imitation(recorded, samples, allow_unused_input):
    """Like `torch.cuda.make_graphed_callables`: what a replay returns is in the same memory each
    time, and its backward pass is that of the newest replay."""
    assert allow_unused_input
    assert not torch.is_autocast_cache_enabled()
    weights = tuple(recorded.parameters())
    (sample,) = samples
    for _ in range(3):
        recorded(sample)
    newest = {}
    results, static_gradients = [], []

    def into_the_same_memory(memory, tensors):
        if not memory:
            memory.extend(tensor.detach().clone() for tensor in tensors)
        for result, tensor in zip(memory, tensors, strict=True):
            result.copy_(tensor.detach())
        return tuple(result.detach() for result in memory)

    class Replay(torch.autograd.Function):
        @staticmethod
        def forward(ctx, images, *_):
            with torch.no_grad():
                sample.copy_(images)
            with torch.set_grad_enabled(newest["with_graph"]):
                out = recorded(sample)
            names = list(out) if isinstance(out, dict) else None
            newest.update(names=names, out=list(out.values()) if names else [out])
            return into_the_same_memory(results, newest["out"])

        @staticmethod
        def backward(ctx, *gradients):
            inputs = [x for x in (sample, *weights) if x.requires_grad]
            own = torch.autograd.grad(newest["out"], inputs, gradients)
            found = iter(into_the_same_memory(static_gradients, own))
            return tuple(next(found) if x.requires_grad else None for x in (sample, *weights))

    def replay(images):
        newest["with_graph"] = torch.is_grad_enabled()
        out = Replay.apply(images, *weights)
        names = newest["names"]
        return dict(zip(names, out, strict=True)) if names else out[0]

    return replay


@pytest.fixture
def imitated(monkeypatch):
    """Trainings on the CPU whose passes are replayed, by the imitation."""
    made = []

    def replayed(module, name, most_pending, train, device):
        if module is None:
            return None
        made.append(ReplayedPasses(module, name, most_pending))
        return made[-1]

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", imitation)
    monkeypatch.setattr(setup, "accelerated", replayed)
    return made


# Readings in every second step, and one evaluation.
SHORT = [
    "train.pretrain_steps=1", "train.steps=5", "train.sample_every=6", "train.checkpoint_every=6",
    "sensors={every: 2, probes_every: 3}",
]  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        [
            "balance={policy: ratio, options: {d_steps: 2, g_steps: 3}}",
            "loss.adversarial.r1=1",
            "optimizer.d.learning_rate=0.03",
        ],
        [
            "balance.policy=threshold",
            "discriminator.norm=batch",
            "loss.perceptual.layers={pool2: 0.2}",
            "loss.texture.layers={relu1_1: 1}",
            "loss.adversarial.form=relativistic-average",
        ],
        ["balance.policy=ada", "discriminator={name: unet, norm: spectral, width: 2}"],
    ],
)
def test_a_training_is_the_same(tmp_path, imitated, monkeypatch, options):
    config = tiny(*options, *SHORT)
    # Also with networks that are not replayed until a GPU has shown the same.
    monkeypatch.setattr(ReplayedPasses, "_changes_buffers", lambda *_: False)
    record = ReplayedPasses._record

    def record_and_put_back(self, *arguments):
        buffers = [(buffer, buffer.clone()) for buffer in self._module.buffers()]
        recorded = record(self, *arguments)
        for buffer, before in buffers:
            buffer.data.copy_(before)
        return recorded

    monkeypatch.setattr(ReplayedPasses, "_record", record_and_put_back)
    run(config, tmp_path / "replayed")
    assert imitated
    assert all(passes._recorded and not passes.failure for passes in imitated)
    monkeypatch.undo()
    run(config, tmp_path / "plain")
    # Gradients may be summed in another order.
    for replayed, plain in zip(
        *(without_time(signals(tmp_path / name)) for name in ("replayed", "plain")), strict=True
    ):
        assert replayed.keys() == plain.keys()
        for name, value in plain.items():
            if isinstance(value, float):
                # A small spread is the difference of large numbers.
                least = 1e-4 if name.endswith("_std") else 1e-7
                assert replayed[name] == pytest.approx(value, rel=1e-5, abs=least), name
    replayed_weights = weights(tmp_path / "replayed", 6)
    for name, value in weights(tmp_path / "plain", 6).items():
        torch.testing.assert_close(replayed_weights[name], value, rtol=1e-5, atol=1e-6)


def test_each_kind_of_pass_is_recorded_as_often_as_it_may_be_pending(monkeypatch):
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", imitation)
    network = torch.nn.Conv2d(3, 1, 3)
    passes = ReplayedPasses(network, "D", most_pending=2)
    one, other = torch.rand(2, 1, 3, 8, 8)
    first, second = passes(one), passes(other)
    assert first.equal(network(one))
    assert second.equal(network(other))
    passes(one)
    assert [len(kind) for kind in passes._recorded.values()] == [2]
    with torch.no_grad():
        passes(one)
    passes(one.clone().requires_grad_())
    network.requires_grad_(False)
    passes(one.clone().requires_grad_())
    passes(one[..., :6])
    assert len(passes._recorded) == 5


@pytest.mark.parametrize("norm", ["none", "batch", "spectral"])
def test_a_network_that_changes_its_buffers_is_not_replayed(monkeypatch, norm):
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", imitation)
    d = build_discriminator(DiscriminatorConfig(width=2, norm=norm), 32)
    before = {name: buffer.clone() for name, buffer in d.named_buffers()}
    passes = ReplayedPasses(d, "D", most_pending=2)
    images = torch.rand(4, 3, 32, 32)
    replayed = passes(images)
    for name, buffer in d.named_buffers():
        buffer.data.copy_(before[name])
    torch.testing.assert_close(replayed, d(images))
    assert bool(passes.failure) == (norm != "none")


def test_what_cannot_be_recorded_is_told_and_run_as_it_is(tmp_path, imitated, monkeypatch):
    def refuse(*arguments, **options):
        raise RuntimeError("operation not permitted\nwhen stream is capturing")

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", refuse)
    run(tiny(*SHORT), tmp_path / "run")
    monkeypatch.undo()
    run(tiny(*SHORT), tmp_path / "plain")
    assert without_time(signals(tmp_path / "run")) == without_time(signals(tmp_path / "plain"))
    told = events(tmp_path / "run", "fallback")
    assert [message.partition(" is not")[0] for message in told] == ["step 1: G", "step 2: D"]


def test_a_recording_that_failed_holds_no_memory_when_the_pass_is_run_as_it_is(monkeypatch):
    held = []

    def run_out_of_memory(recorded, samples, allow_unused_input):
        if held:
            warm_up = recorded(samples[0])  # in this frame, which the error keeps
            held.append(weakref.ref(warm_up))
            raise torch.OutOfMemoryError("CUDA out of memory")
        recorded.cycle = recorded  # as a recording is
        held.append(weakref.ref(recorded))
        return recorded

    class Network(torch.nn.Module):
        def forward(self, images):
            if passes.failure:
                alive.append([reference() is not None for reference in held])
            return images + 1

    alive = []
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", run_out_of_memory)
    passes = ReplayedPasses(Network(), "it", most_pending=2)
    image = torch.zeros(1, 3, 4, 4)
    passes(image)
    assert passes(image).equal(image + 1)
    assert "out of memory" in passes.failure
    assert alive == [[False, False]]
